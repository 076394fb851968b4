"""An expert that only pretends to think: for tests, planning, and load beyond one machine. Always labelled as such."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray import serve
from ray.serve import metrics

from deployments.asgi import Application, ASGIApp, Request, Response
from deployments.disconnects import this_process_watches
from deployments.experts.guard import TokenGuard
from deployments.experts.simulation.answers import Answers, Template
from deployments.experts.simulation.driver import Driver
from deployments.experts.simulation.engine import Engine, QueueFullError, Sequence
from deployments.experts.simulation.recordings import read_recordings
from deployments.experts.simulation.timing import Capacity, Timing
from deployments.experts.simulation.wire import LABEL, Choice, Wanted, Writer, parse, plan
from deployments.garbage import collect_seldom
from deployments.openai import ApiError, model_card

__all__ = ["Script", "SimulatedExpert"]

_MAX_BODY_BYTES = 64 * 1024 * 1024
_MAX_OPEN_REQUESTS = 1_000_000
_GAUGES_EVERY_S = 0.5
_FULL = "As many requests wait for the simulated engine as may: try again later, or raise its capacity.max_waiting."


@dataclass(frozen=True, slots=True)
class Script:
    """What a simulated expert says.

    Attributes:
        template: its answer to everything; ``{prompt}`` is replaced by the last message.
        recorded: file of recorded answers instead, as `read_recordings` takes it.
        expert: whose answers to take of that file.
    """

    template: str
    recorded: Path | None = None
    expert: str | None = None

    def answers(self) -> Answers:
        """Read what there is to read.

        Raises:
            DataError: the file of recorded answers cannot be used.
        """
        return Template(self.template) if self.recorded is None else read_recordings(self.recorded, self.expert)


class SimulatedExpert:
    """Speaks enough of the OpenAI API to stand in for an engine: chat, completions, models, health.

    Args:
        script: what it says.
        timing: how long a step of the pretended engine takes.
        capacity: what the pretended engine holds.
        stream_interval: tokens of a stream that are sent together.
        token: the deployment's internal token.
    """

    def __init__(self, script: Script, timing: Timing, capacity: Capacity, *, stream_interval: int, token: str) -> None:
        this_process_watches()
        collect_seldom()
        self._answers = script.answers()
        self._capacity = capacity
        self._token = token
        context = serve.get_replica_context()
        self._name, self._replica = context.app_name, context.replica_id.unique_id
        self._gauges = _Gauges()
        self._driver = Driver(Engine(timing, capacity), stream_interval=stream_interval, on_step=self._gauges.update)

    def __serve_build_asgi_app__(self) -> ASGIApp:
        app = Application(self._dispatch, max_body_bytes=_MAX_BODY_BYTES, max_open_requests=_MAX_OPEN_REQUESTS)
        return TokenGuard(app, token=self._token)

    async def _dispatch(self, request: Request, response: Response) -> None:
        if request.path == "/health":
            await response.whole(200, [], b"")
        elif request.path == "/v1/stats":
            await response.json(self._stats())
        elif request.path == "/v1/models":
            card = model_card(self._name, 0, simulated=True, max_model_len=self._capacity.max_model_tokens)
            await response.json({"object": "list", "data": [card]})
        elif request.path in ("/v1/chat/completions", "/v1/completions"):
            await self._complete(parse(request.body, chat=request.path == "/v1/chat/completions"), response)
        else:
            raise ApiError(404, f"A simulated expert has no {request.path}.", code="not_found")

    def _stats(self) -> dict[str, Any]:
        engine = self._driver.engine
        return {
            LABEL: True,
            "replica": self._replica,
            "running": engine.running,
            "waiting": engine.waiting,
            "kv_tokens": engine.kv_tokens,
            "steps": engine.steps,
            "lost_s": self._driver.lost_s,
        }

    async def _complete(self, wanted: Wanted, response: Response) -> None:
        choices = plan(wanted, self._answers, self._capacity.max_model_tokens)
        writer = Writer(wanted, choices, self._name)
        try:
            if wanted.stream:
                await self._stream(writer, choices, response)
                return
            async with asyncio.TaskGroup() as group:
                for choice in choices:
                    group.create_task(self._driver.finish(_sequence(choice)))
        except* QueueFullError:
            raise ApiError(503, _FULL, code="engine_overloaded", retry_after_s=1) from None
        await response.json(writer.whole())

    async def _stream(self, writer: Writer, choices: list[Choice], response: Response) -> None:
        """Send every choice's tokens as they come; the response starts with the first one."""
        parts = _interleaved([self._events(writer, choice) for choice in choices])
        first = await anext(parts)
        await response.start(200, [("content-type", "text/event-stream; charset=utf-8")])
        await response.write(writer.opening() + first)
        async for part in parts:
            await response.write(part)
        await response.write(writer.closing(), more=False)

    async def _events(self, writer: Writer, choice: Choice) -> AsyncIterator[bytes]:
        told = 0
        async for made in self._driver.stream(_sequence(choice)):
            yield writer.tokens(choice, told, made)
            told = made


def _sequence(choice: Choice) -> Sequence:
    return Sequence(choice.prompt_tokens, choice.answer.tokens)


async def _interleaved(streams: list[AsyncIterator[bytes]]) -> AsyncIterator[bytes]:
    """The parts of several streams in the order in which they come."""
    if len(streams) == 1:
        async for part in streams[0]:
            yield part
        return
    parts: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def forward(stream: AsyncIterator[bytes]) -> None:
        async for part in stream:
            parts.put_nowait(part)
        parts.put_nowait(None)

    async with asyncio.TaskGroup() as group:
        for stream in streams:
            group.create_task(forward(stream))
        left = len(streams)
        while left:
            waited = await parts.get()
            if waited is None:
                left -= 1
            else:
                yield waited


class _Gauges:
    """How many sequences run and wait, among Ray's metrics."""

    def __init__(self) -> None:
        self._running = metrics.Gauge("simulated_num_requests_running", description="Sequences that run.")
        self._waiting = metrics.Gauge("simulated_num_requests_waiting", description="Sequences that wait.")
        self._next_s = 0.0

    def update(self, engine: Engine) -> None:
        """Set them, at most twice a second while the engine is busy."""
        now_s = time.monotonic()
        idle = not engine.running and not engine.waiting
        if now_s < self._next_s and not idle:
            return
        self._next_s = now_s + _GAUGES_EVERY_S
        self._running.set(engine.running)
        self._waiting.set(engine.waiting)
