"""A load on the configuration, and how its pools followed: the day and the spike."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from loadtests.checking import check
from loadtests.errors import LoadTestError
from loadtests.results import Outcome, describe
from loadtests.scenario import Scenario
from loadtests.stacks import Stack, running
from loadtests.watch import counter_sums, find_dashboard
from serve.commands.loadtest import run_shown
from serve.scaling.judging import Series, follow, offered
from serve.scaling.settings import ROUTER, Pool, compressed, pools_of, served

__all__ = ["Run", "judge", "lost", "run_load"]

MAX_TOKENS = 256
_PROBE_TOKENS = 8
_ALONE_PERCENT = 10
# Ray exports a worker's counters every ten seconds.
_EXPORT_S = 12.0
_ANSWERED = ("answered", "accepted", "rejected")


@dataclass(frozen=True)
class Run:
    """What a load test on a scaling configuration gave.

    Attributes:
        outcome: all that was seen.
        attempts: requests of Routers to experts by what came of them.
        settings: the configuration as it ran.
    """

    outcome: Outcome
    attempts: Mapping[str, float]
    settings: Mapping[str, Any]


def run_load(settings: Mapping[str, Any], scenario: Scenario, folder: Path, factor: float) -> Run:
    """Serve the configuration, put a load on it, and stop it.

    Args:
        settings: the configuration, its delays as in production.
        scenario: the load; its URL is replaced.
        folder: where logs go.
        factor: what delays are divided by.

    Raises:
        LoadTestError: it does not start, or the load cannot be made.
    """
    stack = served(settings, folder, factor=factor)
    with running(stack, folder / "pointsman.log", expected_tokens=_PROBE_TOKENS):
        scenario = _at(scenario, stack)
        check(scenario)
        dashboard = find_dashboard(scenario.address.port)
        if dashboard is None:
            raise LoadTestError("Ray's dashboard was not found, which knows the replicas: see whether it runs.")
        before = _attempts(dashboard)
        outcome = run_shown(scenario, dashboard)
        attempts = {kind: count - before.get(kind, 0.0) for kind, count in _attempts(dashboard).items()}
    return Run(outcome, attempts, compressed(settings, factor))


def _attempts(dashboard: str) -> dict[str, float]:
    """Requests of Routers to experts until now, by what came of them."""
    time.sleep(_EXPORT_S)
    return counter_sums(dashboard, "pointsman_attempts", "outcome")


def _at(scenario: Scenario, stack: Stack) -> Scenario:
    return replace(scenario, url=stack.url, model=next(iter(stack.models.values())))


def judge(run: Run) -> dict[str, Any]:
    """The load test's figures, and of each pool its series and how it followed, as JSON values."""
    found = describe(run.outcome)
    pools = {}
    for pool in pools_of(run.settings):
        series = {kind: _series(found["server"][kind], pool.name) for kind in ("replicas", "wanted", "held")}
        load = _load_of(pool, run.outcome)
        if load is None or not len(series["replicas"].t_s):
            continue
        judged = follow(load, series["replicas"], series["wanted"], series["held"], pool.bounds)
        pools[pool.name] = {
            "gpus": pool.gpus,
            "bounds": asdict(pool.bounds),
            "load": _as_json(load),
            **{kind: _as_json(values) for kind, values in series.items()},
            "judged": {**asdict(judged), "excess_turns": judged.excess_turns, "saved": judged.saved},
        }
    del found["server"]["replicas"], found["server"]["wanted"], found["server"]["held"]
    return {**found, "pools": pools, "attempts": dict(run.attempts), "lost": lost(found, run.attempts)}


def lost(found: Mapping[str, Any], attempts: Mapping[str, float]) -> dict[str, int]:
    """Requests that failed for a client, and those that an expert failed, so that another one had to answer."""
    return {
        "failed": sum(found["summary"]["failures"].values()),
        "given_to_another": round(sum(count for outcome, count in attempts.items() if outcome not in _ANSWERED)),
    }


def _load_of(pool: Pool, outcome: Outcome) -> Series | None:
    """Requests under way at a pool if none had to wait; None where it had none."""
    samples = outcome.samples
    good = samples.texts("failure") == ""
    if pool.name != ROUTER:
        good &= samples.texts("expert") == pool.expert
    if not good.any():
        return None
    sent_s = samples.column("started_s")[good] - outcome.started_s
    latency_s = samples.column("ended_s")[good] - samples.column("started_s")[good]
    # A Router has under way what its experts have: for it the usual answer counts, for an expert the undisturbed one.
    alone_s = float(np.median(latency_s) if pool.name == ROUTER else np.percentile(latency_s, _ALONE_PERCENT))
    return offered(sent_s, alone_s, seconds=outcome.scenario.seconds, window_s=pool.bounds.look_back_s)


def _series(named: Mapping[str, Mapping[str, Any]], name: str) -> Series:
    points = named.get(name) or {"t_s": (), "values": ()}
    return Series.of(points["t_s"], points["values"])


def _as_json(series: Series) -> dict[str, list[float]]:
    return {"t_s": np.round(series.t_s, 1).tolist(), "values": np.round(series.values, 2).tolist()}
