"""An expert at zero replicas: what a request to it waits for, and when it sleeps again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx

from loadtests.errors import LoadTestError
from loadtests.prompts import conversations
from loadtests.stacks import Stack, running
from loadtests.watch import Counts, find_dashboard, replica_counts
from serve.scaling.settings import find_pool, served

__all__ = ["Episode", "Rest", "sleep_and_wake"]

_PROBE_TOKENS = 8
_MAX_TOKENS = 16
_MOST_PROMPTS = 200
_BURST = 8
_HURRY_S = 3.0
_TIMEOUT_S = 130.0
_POLL_S = 0.1
_PATIENCE_S = 120.0


@dataclass(frozen=True)
class Episode:
    """One request, or the slowest of several at once.

    Attributes:
        what: when it was sent.
        requests: how many were sent at once.
        lost: of them without a good answer.
        waited_s: from sending to the end of the slowest answer.
        experts: who answered.
        tried: of a request that more than one expert was asked for, what came of each.
        running: replicas that ran when it was sent.
        held: replicas that existed then.
    """

    what: str
    requests: int
    lost: int
    waited_s: float
    experts: tuple[str, ...]
    tried: str
    running: int
    held: int


@dataclass(frozen=True)
class Rest:
    """From the last answer on: seconds until no replica was wanted, and until none was left."""

    unwanted_s: float
    gone_s: float


class _Sleeper:
    """A running endpoint, and an expert of it that may sleep."""

    def __init__(self, stack: Stack, dashboard: str, pool: str, expert: str) -> None:
        self._url = stack.url
        self._dashboard = dashboard
        self._pool = pool
        self._expert = expert

    def counts(self) -> Counts:
        return replica_counts(self._dashboard)[self._pool]

    def wait(self, until: Callable[[Counts], bool], what: str) -> float:
        """Seconds until the replicas are as wanted."""
        from_s = time.monotonic()
        while not until(self.counts()):
            if time.monotonic() - from_s > _PATIENCE_S:
                raise LoadTestError(
                    f"{self._expert} {what} within {_PATIENCE_S:g} s: see Serve's log of its controller."
                )
            time.sleep(_POLL_S)
        return time.monotonic() - from_s

    def find_question(self, routes: list[str]) -> dict[str, Any]:
        """A body whose route leads to the expert.

        Raises:
            LoadTestError: no route leads there.
        """
        asked = conversations("exam", folder=Path(), prompt_tokens=100, seed=0)
        for _, messages in zip(range(_MOST_PROMPTS), asked, strict=False):
            for route in routes:
                body = {"model": route, "messages": messages, "max_tokens": _MAX_TOKENS, "ignore_eos": True}
                decided = httpx.post(f"{self._url}/route", json=body, timeout=_TIMEOUT_S).raise_for_status().json()
                if decided["expert"] == self._expert:
                    return body
        raise LoadTestError(
            f"No route leads to {self._expert} in {_MOST_PROMPTS} questions of the exam: name another one."
        )

    def ask(self, what: str, body: Mapping[str, Any], *, times: int = 1, hurry_s: float | None = None) -> Episode:
        """Send a request so many times at once."""
        before = self.counts()
        headers = {} if hurry_s is None else {"x-request-timeout-seconds": f"{hurry_s:g}"}
        from_s = time.monotonic()

        def send(_: int) -> httpx.Response | None:
            try:
                return httpx.post(f"{self._url}/chat/completions", json=body, headers=headers, timeout=_TIMEOUT_S)
            except httpx.HTTPError:
                return None

        with ThreadPoolExecutor(times) as pool:
            answers = list(pool.map(send, range(times)))
        waited_s = time.monotonic() - from_s
        good = [answer for answer in answers if answer is not None and answer.status_code == 200]
        return Episode(
            what,
            times,
            times - len(good),
            waited_s,
            tuple(sorted({answer.headers["x-pointsman-expert"] for answer in good})),
            next((answer.headers["x-pointsman-tried"] for answer in good if "x-pointsman-tried" in answer.headers), ""),
            before.running,
            before.held,
        )

    def rest(self) -> Rest:
        """Wait until it sleeps."""
        unwanted_s = self.wait(lambda counts: counts.wanted == 0, "did not begin to sleep")
        return Rest(unwanted_s, unwanted_s + self.wait(lambda counts: counts.held == 0, "did not fall asleep"))


def sleep_and_wake(settings: Mapping[str, Any], expert: str, folder: Path, factor: float) -> dict[str, Any]:
    """Let an expert wake and sleep, with requests at the awkward moments.

    Args:
        settings: the configuration, its delays as in production.
        expert: one that may have no replica.
        folder: where logs go.
        factor: what delays are divided by.

    Returns:
        The episodes, the rests between them, and whether any request was lost, as JSON values.

    Raises:
        LoadTestError: it does not start, or does not wake or sleep.
    """
    pool = find_pool(settings, expert)
    stack = served(settings, folder, factor=factor)
    with running(stack, folder / "pointsman.log", expected_tokens=_PROBE_TOKENS):
        port = httpx.URL(stack.url).port
        dashboard = None if port is None else find_dashboard(port)
        if dashboard is None:
            raise LoadTestError("Ray's dashboard was not found, which knows the replicas: see whether it runs.")
        sleeper = _Sleeper(stack, dashboard, pool.name, expert)
        endpoint = next(app for app in settings["applications"] if app["import_path"] == "serve.app:build")
        body = sleeper.find_question(list(endpoint["args"]["routes"]))
        episodes, rests = _nights(sleeper, body)
    return {
        "expert": expert,
        "route": body["model"],
        "compression": factor,
        "episodes": [asdict(episode) for episode in episodes],
        "rests": [asdict(rest) for rest in rests],
        "lost": sum(episode.lost for episode in episodes),
    }


def _nights(sleeper: _Sleeper, body: Mapping[str, Any]) -> tuple[list[Episode], list[Rest]]:
    """Three times asleep: woken by one, by several, and by one that cannot wait."""
    sleeper.wait(lambda counts: counts.held == 0, "did not fall asleep")
    episodes = [sleeper.ask("asleep", body), sleeper.ask("awake", body)]
    rests = [sleeper.rest()]
    episodes.append(sleeper.ask("asleep, several at once", body, times=_BURST))
    sleeper.wait(lambda counts: counts.wanted == 0, "did not begin to sleep")
    episodes.append(sleeper.ask("while it falls asleep", body))
    # Its rest began before that request, so its times would say nothing.
    sleeper.rest()
    episodes.append(sleeper.ask(f"asleep, with a deadline of {_HURRY_S:g} s", body, hurry_s=_HURRY_S))
    return episodes, rests
