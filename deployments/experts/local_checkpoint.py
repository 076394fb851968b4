"""Start-up of an expert whose checkpoint lies on the node's own disk."""

from __future__ import annotations

# The base class of what `LLMConfig.callback_config` names has no public home yet.
from ray.llm._internal.common.callbacks.base import CallbackBase

__all__ = ["LocalCheckpoint"]


class LocalCheckpoint(CallbackBase):
    """Skips the download step of `ray.serve.llm`, whose extra process loads the engine only to find nothing to do."""

    async def on_before_node_init(self) -> None:
        """Called before the download step."""
        self.ctx.run_init_node = False
