"""The engine in real time: one timer a step, however many streams run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from deployments.experts.simulation.engine import Engine, Sequence

__all__ = ["Driver"]

# Steps that are due are taken at once, so that a busy event loop delays tokens, but loses no time.
_MOST_STEPS_AT_ONCE = 64
_MOST_BEHIND_S = 0.5


class Driver:
    """Steps an engine while it has something to do, and tells those who wait for tokens.

    Args:
        engine: the engine.
        stream_interval: tokens that a stream waits for before it writes again, after the first one (as in vLLM).
        on_step: told now and then that the engine has changed.
        clock: seconds that only go forward.
        sleep: waits for seconds on that clock.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        stream_interval: int = 1,
        on_step: Callable[[Engine], None] = lambda engine: None,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.engine = engine
        self.lost_s = 0.0
        self._stream_interval = stream_interval
        self._on_step = on_step
        self._clock = clock
        self._sleep = sleep
        self._loop: asyncio.Task[None] | None = None
        self._ends: dict[Sequence, asyncio.Future[None]] = {}
        self._streams: dict[Sequence, tuple[int, asyncio.Future[None]]] = {}

    async def finish(self, sequence: Sequence) -> None:
        """Submit a sequence, and wait for its last token.

        Raises:
            QueueFullError: as many wait as may.
        """
        self._submit(sequence)
        self._ends[sequence] = asyncio.get_running_loop().create_future()
        try:
            await self._ends[sequence]
        finally:
            del self._ends[sequence]
            self.engine.cancel(sequence)

    async def stream(self, sequence: Sequence) -> AsyncIterator[int]:
        """Submit a sequence; yields how many tokens there are, whenever there are enough more.

        Raises:
            QueueFullError: as many wait as may.
        """
        self._submit(sequence)
        told = 0
        try:
            while told < sequence.output_tokens:
                future = asyncio.get_running_loop().create_future()
                self._streams[sequence] = (min(told + self._due(told), sequence.output_tokens), future)
                await future
                told = self.engine.generated(sequence)
                yield told
        finally:
            self._streams.pop(sequence, None)
            self.engine.cancel(sequence)

    def _due(self, told: int) -> int:
        return self._stream_interval if told else 1

    def _submit(self, sequence: Sequence) -> None:
        self.engine.submit(sequence, self._clock())
        if self._loop is None or self._loop.done():
            self._loop = asyncio.create_task(self._run())

    async def _run(self) -> None:
        """Step until nothing is left to do.

        Every step ends at its own time on the clock, whenever this task gets to it, so that delays do not add up.
        """
        try:
            await self._step_while_busy()
        except BaseException as error:
            waiting = [*self._ends.values(), *(future for _, future in self._streams.values())]
            for future in waiting:
                if not future.done():
                    future.set_exception(RuntimeError(f"The simulated engine failed: {error!r}"))
            raise

    async def _step_while_busy(self) -> None:
        ends_s, at_once = self._clock(), 0
        while (step := self.engine.start_step()) is not None:
            ends_s += step.duration_s
            wait_s = ends_s - self._clock()
            if wait_s < -_MOST_BEHIND_S:
                self.lost_s -= wait_s + _MOST_BEHIND_S
                ends_s -= wait_s + _MOST_BEHIND_S
            at_once += 1
            if wait_s > 0 or at_once >= _MOST_STEPS_AT_ONCE:
                self._tell_streams()
                at_once = 0
                await self._sleep(max(0.0, wait_s))
            for ended in self.engine.finish_step(step, ends_s):
                self._tell_end(ended)
            self._on_step(self.engine)
        self._tell_streams()
        self._loop = None
        self._on_step(self.engine)

    def _tell_end(self, sequence: Sequence) -> None:
        future = self._ends.get(sequence)
        if future is not None and not future.done():
            future.set_result(None)

    def _tell_streams(self) -> None:
        for sequence, (due, future) in self._streams.items():
            if self.engine.generated(sequence) >= due and not future.done():
                future.set_result(None)
