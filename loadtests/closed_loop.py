"""A closed loop of users: each sends its next request as soon as its last one has been answered.

Alone: ``python -m loadtests.closed_loop http://127.0.0.1:8000/v1 --model small --users 64 --seconds 10 --stream``.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np
import orjson
import typer
from rich.console import Console
from rich.progress import Progress

from loadtests.address import address_of
from loadtests.connection import Connection
from routers.errors import PointsmanError

__all__ = ["Load", "LoadResult", "Quantiles", "measure", "run_load"]

_AFTER_FAILURE_S = 0.05
_TICK_S = 0.25


def _questions(count: int = 256) -> tuple[str, ...]:
    chooser = random.Random(0)
    return tuple(f"What is {chooser.randint(1, 99)} plus {chooser.randint(1, 99)}?" for _ in range(count))


@dataclass(frozen=True, slots=True)
class Load:
    """What to send.

    Attributes:
        url: the endpoint's base URL, ending in ``/v1``. Only this machine may be loaded.
        model: the request's ``model``.
        users: requests under way at any time.
        duration_s: how long to measure.
        stream: ask for server-sent events.
        max_tokens: output tokens of every answer; the model's end of text is ignored, so that all are as long.
        warmup_s: the most to wait, before measuring, for every user's first answer.
        timeout_s: the longest that one request may take.
        prompts: user messages, sent in turn.
        number_header: a response header with a number to collect.
        body: what every request's body has beside the usual.
    """

    url: str
    model: str
    users: int = 1
    duration_s: float = 10.0
    stream: bool = False
    max_tokens: int = 16
    warmup_s: float = 5.0
    timeout_s: float = 60.0
    prompts: tuple[str, ...] = field(default_factory=_questions)
    number_header: str | None = None
    body: Mapping[str, Any] = field(default_factory=dict)

    def address(self) -> tuple[str, int, str]:
        """Host, port and path of the URL.

        Raises:
            LoadTestError: the URL is not plain HTTP on this machine.
        """
        address = address_of(self.url)
        return address.host, address.port, address.path

    def requests(self) -> list[bytes]:
        """One whole HTTP request for each prompt."""
        path = self.address()[2]
        return [self._request(prompt, urlsplit(self.url).netloc, path) for prompt in self.prompts]

    def _request(self, prompt: str, host: str, path: str) -> bytes:
        body = orjson.dumps(
            {
                "model": self.model,
                "messages": [{"role": "user", "content": prompt}],
                "max_tokens": self.max_tokens,
                "ignore_eos": True,
                "temperature": 0,
                "stream": self.stream,
                **self.body,
            }
        )
        head = (
            f"POST {path}/chat/completions HTTP/1.1\r\nhost: {host}\r\naccept: */*\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Median, 99th percentile and mean of some values, in the values' unit."""

    p50: float
    p99: float
    mean: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Quantiles | None:
        """The quantiles of (n_values,) numbers; None of none."""
        if not values:
            return None
        p50, p99 = np.percentile(values, [50, 99])
        return cls(float(p50), float(p99), float(np.mean(values)))


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What came of a load.

    Attributes:
        requests: good answers that ended within the measured time; the times below are theirs.
        requests_per_s: good answers a second; one that lies partly within the measured time counts for that part.
        first_token_ms: from sending a request to the first byte of its text.
        latency_ms: from sending a request to the end of its answer.
        failures: requests without a good answer, warm-up and end included, by kind.
        header: the numbers in the header that was asked for, in its own unit.
        client_cpu: share of one processor that the load generator itself used; near 1, it was the limit.
    """

    requests: int
    requests_per_s: float
    first_token_ms: Quantiles | None
    latency_ms: Quantiles | None
    failures: dict[str, int]
    header: Quantiles | None
    client_cpu: float

    def as_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return asdict(self)


def measure(load: Load, on_progress: Callable[[float], None] | None = None) -> LoadResult:
    """Run a load in this process and wait for what comes of it.

    Args:
        load: what to send.
        on_progress: told the measured seconds now and then.

    Raises:
        LoadTestError: the URL is not one of this machine.
    """
    return asyncio.run(run_load(load, on_progress))


async def run_load(load: Load, on_progress: Callable[[float], None] | None = None) -> LoadResult:
    """As `measure`, on a running event loop."""
    crowd = _Crowd(load)
    users = [asyncio.create_task(crowd.user()) for _ in range(load.users)]
    try:
        await crowd.warm()
        cpu_s, from_s = time.process_time(), time.perf_counter()
        while (measured_s := time.perf_counter() - from_s) < load.duration_s:
            await asyncio.sleep(min(_TICK_S, load.duration_s - measured_s))
            if on_progress is not None:
                on_progress(min(load.duration_s, time.perf_counter() - from_s))
        until_s, cpu_s = time.perf_counter(), time.process_time() - cpu_s
        crowd.go_home()
        await asyncio.wait(users, timeout=load.timeout_s)
    finally:
        for user in users:
            user.cancel()
    await asyncio.gather(*users, return_exceptions=True)
    return crowd.result(from_s, until_s, cpu_s)


class _Seen(NamedTuple):
    """What is kept of a good answer."""

    started_s: float
    ended_s: float
    first_token_ms: float
    number: float | None

    @property
    def latency_ms(self) -> float:
        """From sending the request to the end of its answer."""
        return 1e3 * (self.ended_s - self.started_s)

    def share(self, from_s: float, until_s: float) -> float:
        """The part of the request's own time that lies between two times, from 0 to 1."""
        overlap_s = min(self.ended_s, until_s) - max(self.started_s, from_s)
        return max(0.0, overlap_s) / (self.ended_s - self.started_s)


class _Crowd:
    """The users of one load, and what they saw."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._host, self._port, _ = load.address()
        self._requests: Iterator[bytes] = itertools.cycle(load.requests())
        self._seen: list[_Seen] = []
        self._failures: Counter[str] = Counter()
        self._not_answered = load.users
        self._all_answered = asyncio.Event()
        self._leaving = False

    async def warm(self) -> None:
        """Wait until every user has had an answer, or for the warm-up's time."""
        try:
            await asyncio.wait_for(self._all_answered.wait(), self._load.warmup_s)
        except TimeoutError:
            return

    def go_home(self) -> None:
        """Let every user end with the answer that it waits for."""
        self._leaving = True

    async def user(self) -> None:
        """Ask until it is time to go home."""
        connection = Connection(self._host, self._port)
        waits_for_first = True
        try:
            while not self._leaving:
                failure = await self._ask(connection)
                if failure is not None:
                    self._failures[failure] += 1
                    await asyncio.sleep(_AFTER_FAILURE_S)
                elif waits_for_first:
                    waits_for_first = False
                    self._first_answer()
        finally:
            connection.close()

    def _first_answer(self) -> None:
        self._not_answered -= 1
        if self._not_answered == 0:
            self._all_answered.set()

    async def _ask(self, connection: Connection) -> str | None:
        """Ask once; returns what kind of failure it was, if it was one."""
        try:
            async with asyncio.timeout(self._load.timeout_s):
                answer = await connection.ask(next(self._requests))
        except TimeoutError:
            return "timeout"
        except OSError:
            return "connection"
        if answer.status != 200:
            return f"status {answer.status}"
        if self._load.stream and b"data: [DONE]" not in answer.raw_body:
            return "incomplete stream"
        if answer.first_content_s is None:
            return "no content"
        number = answer.headers.get(self._load.number_header or "")
        self._seen.append(
            _Seen(
                started_s=answer.started_s,
                ended_s=answer.ended_s,
                first_token_ms=1e3 * (answer.first_content_s - answer.started_s),
                number=None if number is None else float(number),
            )
        )
        return None

    def result(self, from_s: float, until_s: float, cpu_s: float) -> LoadResult:
        """What was seen between two times.

        Users who started together are answered in bursts, and counting whole answers would depend on how many bursts
        happen to end in time. So the rate takes requests at the edges for the part that lies within.
        """
        seen = [answer for answer in self._seen if from_s < answer.ended_s <= until_s]
        return LoadResult(
            requests=len(seen),
            requests_per_s=sum(answer.share(from_s, until_s) for answer in self._seen) / (until_s - from_s),
            first_token_ms=Quantiles.of([answer.first_token_ms for answer in seen]),
            latency_ms=Quantiles.of([answer.latency_ms for answer in seen]),
            failures=dict(self._failures),
            header=Quantiles.of([answer.number for answer in seen if answer.number is not None]),
            client_cpu=cpu_s / (until_s - from_s),
        )


def main(
    url: Annotated[str, typer.Argument(help="Base URL of an endpoint on this machine, ending in /v1.")],
    model: Annotated[str, typer.Option(help="The request's model.")],
    users: Annotated[int, typer.Option(min=1, help="Requests under way at any time.")] = 64,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long to measure.")] = 10.0,
    stream: Annotated[bool, typer.Option("--stream", help="Ask for server-sent events.")] = False,
    max_tokens: Annotated[int, typer.Option(min=1, help="Output tokens of every answer.")] = 16,
    header: Annotated[str | None, typer.Option(help="Response header with a number to collect.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Load an endpoint on this machine with a closed loop of users, and say what came of it."""
    load = Load(url, model, users, seconds, stream, max_tokens, number_header=header)
    errors = Console(stderr=True, soft_wrap=True)
    try:
        with Progress(console=errors) as progress:
            task = progress.add_task(f"{users} users", total=seconds)
            result = measure(load, lambda measured_s: progress.update(task, completed=measured_s))
    except PointsmanError as error:
        errors.print(f"[bold red]Error:[/] {error}", highlight=False)
        raise typer.Exit(2) from error
    if as_json:
        sys.stdout.write(orjson.dumps(result.as_json(), option=orjson.OPT_INDENT_2).decode() + "\n")
        return
    console = Console(soft_wrap=True)
    console.print(f"{result.requests} answers, {result.requests_per_s:.1f} a second; failures: {result.failures or 0}")
    for name, quantiles in (("first token", result.first_token_ms), ("whole answer", result.latency_ms)):
        if quantiles is not None:
            console.print(f"{name}: median {quantiles.p50:.1f} ms, 99 % within {quantiles.p99:.1f} ms")
    if result.header is not None:
        console.print(f"{header}: median {result.header.p50:g}, 99 % within {result.header.p99:g}")
    console.print(f"The load generator used {result.client_cpu:.0%} of one processor.")


if __name__ == "__main__":
    typer.run(main)
