"""An expert that only pretends to think: for tests, planning, and load beyond one machine. Always labelled as such."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import orjson
from ray import serve

from deployments.asgi import Application, ASGIApp, Request, Response
from deployments.experts.guard import TokenGuard
from deployments.openai import ApiError, model_card

__all__ = ["SimulatedExpert", "Timing"]

LABEL = "simulated"
_MAX_BODY_BYTES = 64 * 1024 * 1024
_MAX_OPEN_REQUESTS = 1_000_000


@dataclass(frozen=True, slots=True)
class Timing:
    """How long an engine with continuous batching would take.

    Attributes:
        prefill_tokens_per_s: prompt tokens processed per second.
        token_s: seconds per output token of a request that runs alone.
        token_per_running_s: seconds that each other running request adds to an output token.
        max_running: requests that run at a time; the others wait.
    """

    prefill_tokens_per_s: float
    token_s: float
    token_per_running_s: float
    max_running: int

    def prefill_s(self, prompt_tokens: int) -> float:
        """Time to the first token."""
        return prompt_tokens / self.prefill_tokens_per_s

    def step_s(self, running: int) -> float:
        """Time of one output token while ``running`` requests run."""
        return self.token_s + self.token_per_running_s * max(0, running - 1)


class SimulatedExpert:
    """Speaks enough of the OpenAI API to stand in for an engine: chat, completions, models, health.

    Words count as tokens.

    Args:
        answer: template of every answer; ``{prompt}`` is replaced by the last user message.
        timing: the timing model.
        token: the deployment's internal token.
    """

    def __init__(self, answer: str, timing: Timing, token: str) -> None:
        self._answer = answer
        self._timing = timing
        self._token = token
        self._name = serve.get_replica_context().app_name
        self._places = asyncio.Semaphore(timing.max_running)
        self._running = 0

    def __serve_build_asgi_app__(self) -> ASGIApp:
        app = Application(self._dispatch, max_body_bytes=_MAX_BODY_BYTES, max_open_requests=_MAX_OPEN_REQUESTS)
        return TokenGuard(app, token=self._token)

    async def _dispatch(self, request: Request, response: Response) -> None:
        if request.path == "/health":
            await response.whole(200, [], b"")
        elif request.path == "/v1/stats":
            await response.json({"running": self._running})
        elif request.path == "/v1/models":
            await response.json({"object": "list", "data": [model_card(self._name, 0, simulated=True)]})
        elif request.path in ("/v1/chat/completions", "/v1/completions"):
            await self._complete(orjson.loads(request.body), request.path == "/v1/chat/completions", response)
        else:
            raise ApiError(404, f"A simulated expert has no {request.path}.", code="not_found")

    async def _complete(self, body: dict[str, Any], chat: bool, response: Response) -> None:
        prompt = body["messages"][-1].get("content") or "" if chat else body["prompt"]
        words = self._answer.replace("{prompt}", str(prompt)).split(" ")[: body.get("max_tokens") or None]
        usage = {"prompt_tokens": len(str(prompt).split()), "completion_tokens": len(words)}
        usage["total_tokens"] = sum(usage.values())
        kind = "chat.completion" if chat else "text_completion"
        head = {
            "id": f"simulated-{uuid.uuid4().hex}",
            "object": kind + (".chunk" if chat and body.get("stream") else ""),
            "created": int(time.time()),
            "model": body.get("model", self._name),
            "system_fingerprint": LABEL,
        }
        paced = self._paced(words, usage["prompt_tokens"])
        if not body.get("stream"):
            text = "".join([word async for word in paced])
            part: dict[str, Any] = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
            choice = {"index": 0, **part, "logprobs": None, "finish_reason": "stop"}
            await response.json({**head, "choices": [choice], "usage": usage})
            return
        await response.start(200, [("content-type", "text/event-stream; charset=utf-8")])
        async for word in paced:
            part = {"delta": {"role": "assistant", "content": word}} if chat else {"text": word}
            event = {**head, "choices": [{"index": 0, **part, "finish_reason": None}]}
            await response.write(b"data: " + orjson.dumps(event) + b"\n\n")
        part = {"delta": {}} if chat else {"text": ""}
        last = {**head, "choices": [{"index": 0, **part, "finish_reason": "stop"}]}
        await response.write(b"data: " + orjson.dumps(last) + b"\n\ndata: [DONE]\n\n", more=False)

    async def _paced(self, words: list[str], prompt_tokens: int) -> AsyncIterator[str]:
        """The answer's words, each when the timing model says."""
        async with self._places:
            self._running += 1
            try:
                await asyncio.sleep(self._timing.prefill_s(prompt_tokens))
                for position, word in enumerate(words):
                    await asyncio.sleep(self._timing.step_s(self._running))
                    yield word if position == 0 else " " + word
            finally:
                self._running -= 1
