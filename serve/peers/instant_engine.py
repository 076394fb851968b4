"""An engine without a model for ``ray.serve.llm``, which answers as `loadtests.instant_expert` does. It is simulated.

``ray.serve.llm``'s ingress hands requests to replicas of its own and to no URL, so the instant expert cannot stand
behind it: this engine, in such a replica, takes its place, and spares it one HTTP hop that the others have.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from ray.llm._internal.serve.core.engine.protocol import LLMEngine
from ray.serve.llm import LLMConfig
from ray.serve.llm.openai_api_models import ChatCompletionRequest, ChatCompletionResponse

from loadtests.instant_expert import chat_answer, chat_events

__all__ = ["InstantEngine"]

_DEFAULT_TOKENS = 16


class InstantEngine(LLMEngine):
    """Answers chats at once; everything else is refused."""

    def __init__(self, llm_config: LLMConfig) -> None:
        self._model = str(llm_config.model_id)

    async def start(self) -> None:
        """Nothing has to be loaded."""

    async def check_health(self) -> None:
        """It is always well."""

    def routing_stats(self) -> dict[str, Any]:
        """It has no cache to tell of."""
        return {}

    async def resolve_lora(self, lora_model: Any) -> None:
        """It has no adapters."""
        raise NotImplementedError

    async def chat(self, request: ChatCompletionRequest, raw_request_info: Any = None) -> AsyncIterator[Any]:
        """The answer, or its events, one in each turn of the event loop."""
        # Reading the attribute warns that newer clients use another name for it.
        tokens = int(vars(request)["max_tokens"] or _DEFAULT_TOKENS)
        if not request.stream:
            yield ChatCompletionResponse.model_validate(chat_answer(self._model, tokens))
            return
        for event in chat_events(self._model, tokens):
            yield event.decode()
            await asyncio.sleep(0)

    async def completions(self, request: Any, raw_request_info: Any = None) -> AsyncIterator[Any]:
        """Not needed here."""
        raise NotImplementedError
        yield

    embeddings = transcriptions = tokenize = detokenize = completions

    async def reset_prefix_cache(self) -> None:
        """It has no cache."""
