"""Running one setup: its server, its users step by step, and whether anything but the setup was the limit."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from loadtests.locust_process import run_locust
from loadtests.results import Outcome, describe
from loadtests.scenario import Scenario
from loadtests.stacks import Stack, running
from loadtests.watch import watching
from serve.study.setups import Setup

__all__ = ["Step", "measured", "measured_step", "users_said"]

_READY_TOKENS = 4
_START_S = 600.0
_USERS_A_SECOND = 100.0
_ANSWERED_WITHIN_S = 30.0
_TRIES_A_REPLICA = 8
_LOST_SHARE = 0.01
_TIMES = ("first_token_ms", "token_interval_ms", "latency_ms")
_RATES = ("requests_per_s", "tokens_per_s")


@dataclass(frozen=True, slots=True)
class Step:
    """A number of users, and for how long.

    Attributes:
        users: who ask again as soon as they are answered.
        settle_s: that figures leave out after the users have come.
        seconds: that are measured.
    """

    users: int
    settle_s: float
    seconds: float

    @property
    def coming_s(self) -> float:
        """How long it takes until all users have come."""
        return self.users / _USERS_A_SECOND

    @property
    def whole_s(self) -> float:
        """How long it takes from the first user on."""
        return self.coming_s + self.settle_s + self.seconds


def measured(
    setup: Setup,
    stack: Stack,
    steps: Sequence[Step],
    load: Scenario,
    told: Callable[[str], None],
    *,
    slowdown: float | None = None,
) -> list[dict[str, Any]]:
    """Start a setup's server, and put one number of users after the other on it.

    Args:
        setup: what is measured.
        stack: its server.
        steps: the numbers of users.
        load: what all steps have in common.
        told: of what is being done.
        slowdown: how much slower simulated GPUs are than those that they stand for, whose own figures are given;
            None where nothing is simulated.

    Returns:
        The figures of each step, as JSON values.

    Raises:
        LoadTestError: the server did not start, or no request could be made.
    """
    with tempfile.TemporaryDirectory(prefix="pointsman-study-") as folder:
        log = Path(folder) / "log"
        told(f"{setup.name}: starting")
        with running(stack, log, expected_tokens=_READY_TOKENS, timeout_s=_START_S):
            return [measured_step(stack.url, setup, step, load, told, slowdown=slowdown) for step in steps]


def measured_step(
    url: str,
    setup: Setup,
    step: Step,
    load: Scenario,
    told: Callable[[str], None],
    *,
    slowdown: float | None = None,
) -> dict[str, Any]:
    """Put users on a running endpoint; the arguments are those of `measured`, and `url` ends in ``/v1``."""
    simulated = slowdown is not None
    before = _lost_s(url, setup) if simulated else {}
    described = _loaded(_scenario(load, url, setup, step))
    after = _lost_s(url, setup) if simulated else {}
    lost_s = max((after[replica] - before.get(replica, 0.0) for replica in after), default=0.0)
    found = _figures(described, step, slowdown or 1.0, lost_s)
    first = found["first_token_ms"]
    told(
        f"{setup.name}, {users_said(step.users)}: {found['requests_per_s']:.1f} requests/s, first token "
        f"{'–' if first is None else round(first['p50'])} ms, {found['failed']} failures"
    )
    return found


def users_said(users: int) -> str:
    """A number of users in words."""
    return "1 user" if users == 1 else f"{users:,} users"


def _scenario(load: Scenario, url: str, setup: Setup, step: Step) -> Scenario:
    return replace(
        load,
        url=url,
        model=setup.model,
        shape="constant",
        users=step.users,
        seconds=step.whole_s,
        settle_s=step.settle_s,
        spawn_rate=_USERS_A_SECOND,
    )


def _loaded(scenario: Scenario) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="pointsman-study-") as folder, watching(None) as server:
        samples, far = run_locust(scenario, Path(folder))
    return describe(Outcome(scenario, samples, far.started_s, far.at_s, server))


def _lost_s(url: str, setup: Setup) -> dict[str, float]:
    """Seconds that each simulated replica could not catch up with, by replica."""
    found: dict[str, float] = {}
    for engine in setup.engines:
        seen: set[str] = set()
        # Which replica answers is the proxy's choice.
        for _ in range(_TRIES_A_REPLICA * engine.replicas):
            if len(seen) == engine.replicas:
                break
            stats = httpx.get(f"{url}/stats", params={"model": engine.expert}, timeout=_ANSWERED_WITHIN_S).json()
            seen.add(stats["replica"])
            found[stats["replica"]] = float(stats["lost_s"])
    return found


def _figures(described: Mapping[str, Any], step: Step, slowdown: float, lost_s: float) -> dict[str, Any]:
    """The figures of a step, times and rates as those of GPUs that are not slowed down."""
    stage = described["stages"][0]
    summary, client = described["summary"], described["client"]
    reasons = [f"the load's process was late or busy: {'; '.join(client['reasons'])}"] if client["was_limit"] else []
    if lost_s > _LOST_SHARE * step.whole_s:
        reasons.append(f"a simulated expert lost {lost_s:.1f} s of {step.whole_s:.0f}, so that it was the limit")
    return {
        "users": step.users,
        "from_s": stage["from_s"] / slowdown,
        "until_s": stage["until_s"] / slowdown,
        "requests": stage["requests"],
        "failures": summary["failures"],
        "failed": sum(summary["failures"].values()),
        "messages": described["about"]["messages"],
        **{name: stage[name] * slowdown for name in _RATES},
        **{name: _scaled(stage[name], 1 / slowdown) for name in _TIMES},
        "prompt_tokens": stage["prompt_tokens"],
        "output_tokens": stage["output_tokens"],
        "shares": {name: of["share"] for name, of in described["experts"].items()},
        "machine_cpu": client["machine_cpu"],
        "client_cpu": client["cpu_mean"],
        "lost_s": lost_s,
        "limited_by": reasons,
    }


def _scaled(of: Mapping[str, float] | None, factor: float) -> dict[str, float] | None:
    return None if of is None else {name: factor * value for name, value in of.items()}
