"""A vLLM engine as an expert: Ray Serve's own LLM server, its native OpenAI API, behind the internal token."""

from __future__ import annotations

from typing import Any

from ray import serve
from ray.serve.llm import LLMConfig, LLMServer

from deployments.disconnects import this_process_watches
from deployments.experts.guard import TokenGuard
from deployments.experts.nodelay import send_at_once
from deployments.garbage import collect_seldom

__all__ = ["VLLMExpert"]


class VLLMExpert(LLMServer):
    """``LLMServer`` that serves under the expert's id and asks for the internal token.

    Args:
        llm_config: as for ``LLMServer``. Without a model id the expert is called as its Serve application is.
        token: the deployment's internal token.
        named_by_application: take the application's name as the model id.
    """

    async def __init__(  # type: ignore[misc]
        self, llm_config: LLMConfig, *, token: str, named_by_application: bool, **kwargs: Any
    ) -> None:
        this_process_watches()
        collect_seldom()
        send_at_once()
        self._token = token
        if named_by_application:
            llm_config = _renamed(llm_config, serve.get_replica_context().app_name)
        await super().__init__(llm_config, **kwargs)

    async def __serve_build_asgi_app__(self) -> Any:
        app = await super().__serve_build_asgi_app__()
        # vLLM has built its middleware stack by now; without it Starlette builds a new one around ours.
        app.middleware_stack = None
        app.add_middleware(TokenGuard, token=self._token)
        return app


def _renamed(llm_config: LLMConfig, model_id: str) -> LLMConfig:
    """A copy under another model id. Engine settings are derived from the id once, so a copy is made from scratch."""
    fields = llm_config.model_dump(exclude_unset=True)
    fields["model_loading_config"] = {**fields["model_loading_config"], "model_id": model_id}
    return LLMConfig(**fields)
