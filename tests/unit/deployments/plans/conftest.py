"""Plans over real sockets: experts that answer as told, a judge that scores as told, and a client."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import orjson
import pytest
from aiohttp import web
from numpy.typing import NDArray

from deployments.asgi import Request, run_while_connected
from deployments.breaker import Breaker
from deployments.openai import ApiError
from deployments.plans import run
from deployments.plans.exchange import Arm, Exchange, Pool
from deployments.plans.plan import Plan, Steps
from deployments.request_body import read_body
from deployments.scoring import Scoring
from deployments.upstream import ExpertTarget, Upstream
from routers import AnswerJudge
from routers.base import Progress, RouterState
from tests.unit.deployments.network import Client

JUDGE = "judges/told"
PRICES = {"small": (1.0, 2.0), "large": (10.0, 20.0), "spare": (5.0, 5.0)}
CHAT = "/v1/chat/completions"


@dataclass
class Scripted:
    """What an expert does: its texts in turn, after a delay; or a status and no answer; or it hangs."""

    texts: Sequence[str] = ("an answer",)
    delay_s: float = 0.0
    status: int = 200
    hangs_after_headers: bool = False
    bodies: list[Any] = field(default_factory=list)
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.bodies.append(body)
        try:
            return await self._answer(request, body)
        except asyncio.CancelledError:
            self.gone.set()
            raise

    async def _answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        await asyncio.sleep(self.delay_s)
        if self.status != 200:
            error = {"error": {"message": "told to", "type": "x", "param": None, "code": None}}
            return web.json_response(error, status=self.status)
        start = len(self.bodies) - 1 if body.get("n") is None else 0
        texts = [self.texts[(start + i) % len(self.texts)] for i in range(body.get("n") or 1)]
        usage = {"prompt_tokens": 10, "completion_tokens": 3 * len(texts), "total_tokens": 10 + 3 * len(texts)}
        if not body.get("stream"):
            choices = [{"index": i, "message": {"role": "assistant", "content": text}} for i, text in enumerate(texts)]
            return web.json_response({"id": "1", "model": body["model"], "choices": choices, "usage": usage})
        return await self._stream(request, body, texts, usage)

    async def _stream(
        self, request: web.Request, body: dict[str, Any], texts: list[str], usage: dict[str, int]
    ) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await answer.prepare(request)
        if self.hangs_after_headers:
            await asyncio.sleep(30)
        for index, text in enumerate(texts):
            for word in text.split(" "):
                choice = {"index": index, "delta": {"content": word + " "}, "finish_reason": None}
                await answer.write(
                    b"data: " + orjson.dumps({"id": "1", "model": body["model"], "choices": [choice]}) + b"\n\n"
                )
        if (body.get("stream_options") or {}).get("include_usage"):
            await answer.write(b"data: " + orjson.dumps({"id": "1", "choices": [], "usage": usage}) + b"\n\n")
        await answer.write(b"data: [DONE]\n\n")
        return answer


class ToldJudge(AnswerJudge):
    """Scores answers by a table, slowly or not at all where it is told to."""

    name: ClassVar[str] = "told"
    paper: ClassVar[str] = ""
    describes: ClassVar[str] = ""

    def __init__(self) -> None:
        self.experts_ = ("small", "large")
        self.scores: dict[str, float] = {}
        self.delay_s: float | None = None
        self.fails = False
        self.asked: list[tuple[str, tuple[str, ...]]] = []

    @property
    def slow(self) -> bool:
        return self.delay_s is not None

    def _rank(self, prompts: Sequence[str], candidates: Sequence[Sequence[str]]) -> list[NDArray[np.float32]]:
        self.asked += [(prompt, tuple(answers)) for prompt, answers in zip(prompts, candidates, strict=True)]
        time.sleep(self.delay_s or 0.0)
        if self.fails:
            raise RuntimeError("told to")
        return [np.array([self.scores[text.strip()] for text in answers], np.float32) for answers in candidates]

    def _fit(self, data: object, progress: Progress) -> None: ...

    def state(self) -> RouterState:
        raise NotImplementedError

    def restore(self, state: RouterState) -> None:
        raise NotImplementedError


@dataclass
class Answered:
    """What the client got, and the exchange that led to it."""

    client: Client
    exchange: Exchange

    @property
    def status(self) -> int:
        return self.client.status

    @property
    def header(self) -> dict[str, str]:
        return {k.decode(): v.decode() for k, v in self.client.headers.items()}

    @property
    def text(self) -> str:
        """The text of the first choice, put together from a stream or not."""
        if not self.client.headers[b"content-type"].startswith(b"text/event-stream"):
            return str(orjson.loads(self.client.body)["choices"][0]["message"]["content"])
        events = [event.removeprefix(b"data: ") for event in self.client.body.split(b"\n\n") if event]
        parts = [orjson.loads(event) for event in events if event.startswith(b"{")]
        return "".join(c["delta"]["content"] for part in parts for c in part["choices"]).strip()

    @property
    def outcomes(self) -> list[tuple[str, str]]:
        return [(attempt.expert, attempt.outcome) for attempt in self.exchange.ledger.attempts]


class Bench:
    """Experts, a judge and the way to ask them by a plan."""

    def __init__(self, start: Callable[..., Awaitable[ExpertTarget]]) -> None:
        self._start = start
        self.experts = {name: Scripted([f"{name} says"]) for name in PRICES}
        self.judge = ToldJudge()
        self.judge.scores = {f"{name} says": score for name, score in (("small", 0.3), ("large", 0.9), ("spare", 0.6))}
        self.arms: dict[str, Arm] = {"small-x3": Arm("small", 3, JUDGE)}
        self.scoring_timeout_s = 2.0
        self.breaker = Breaker()
        self.exchange: Exchange | None = None

    async def ask(
        self,
        steps: Steps,
        *,
        timeout_s: float = 5.0,
        path: str = CHAT,
        leaves_after_s: float | None = None,
        headers: dict[str, str] | None = None,
        **fields: Any,
    ) -> Answered:
        """Ask by a plan, as the Router does; an error raises ApiError."""
        targets = {name: await self._start(scripted.handle, name=name) for name, scripted in self.experts.items()}
        body = {"messages": [{"role": "user", "content": "a question"}]} if path == CHAT else {}
        request = Request("POST", path, b"", headers or {}, orjson.dumps({**body, **fields}))
        client = Client()
        async with Upstream(connect_timeout_s=10.0) as upstream:
            scoring = Scoring({JUDGE: self.judge})
            pool = Pool(targets, PRICES, self.arms, upstream, scoring, self.scoring_timeout_s, self.breaker)
            deadline_s = asyncio.get_running_loop().time() + timeout_s
            plan = Plan(steps, "route", "router")
            self.exchange = Exchange(pool, request, await read_body(request), plan, client.response, deadline_s)
            if leaves_after_s is None:
                await run(self.exchange)
            else:
                await self._until_the_client_leaves(self.exchange, leaves_after_s)
        return Answered(client, self.exchange)

    @staticmethod
    async def _until_the_client_leaves(exchange: Exchange, after_s: float) -> None:
        async def receive() -> dict[str, str]:
            await asyncio.sleep(after_s)
            return {"type": "http.disconnect"}

        async def work() -> None:
            await run(exchange)

        await run_while_connected(work(), receive)
        # The experts notice a closed connection at their next turn.
        await asyncio.sleep(0.1)


@pytest.fixture
async def bench(expert: Callable[..., Awaitable[ExpertTarget]]) -> Bench:
    return Bench(expert)


__all__ = ["ApiError", "Bench", "Scripted"]
