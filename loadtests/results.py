"""What came of a load test: as a whole, by stage, by expert, over time; and whether the client was the limit."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadtests.samples import NOTHING, ClientTick, Samples
from loadtests.scenario import Scenario
from loadtests.shapes import Stage
from loadtests.watch import ServerLog

__all__ = ["Outcome", "describe"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_PERCENTILES = (50, 90, 95, 99)
_MOST_BINS = 120
_BUSY_CPU = 0.9
_BUSY_SHARE = 0.05
_LATE_LOOP_S = 0.1
_LATE_REQUEST_S = 0.5


@dataclass(frozen=True)
class Outcome:
    """A load test that has ended.

    Attributes:
        scenario: what was asked for.
        samples: every request.
        started_s: seconds since the epoch.
        ended_s: likewise, when the last answer was there.
        server: what Ray Serve said of itself meanwhile.
    """

    scenario: Scenario
    samples: Samples
    started_s: float
    ended_s: float
    server: ServerLog


class _Table:
    """The samples as columns, on the load test's own clock."""

    def __init__(self, samples: Samples, started_s: float) -> None:
        self.sent_s = samples.column("started_s") - started_s
        self.ended_s = samples.column("ended_s") - started_s
        self.good = samples.texts("failure") == ""
        self.failure = samples.texts("failure")
        self.expert = samples.texts("expert")
        self.late_s = samples.column("late_s")
        self.prompt_tokens = _known(samples.column("prompt_tokens"))
        self.output_tokens = _known(samples.column("output_tokens"))
        self.latency_ms = 1e3 * (self.ended_s - self.sent_s)
        first_s = _known(samples.column("first_token_s")) - started_s
        self.first_token_ms = 1e3 * (first_s - self.sent_s)
        with np.errstate(divide="ignore", invalid="ignore"):
            intervals = 1e3 * (self.ended_s - first_s) / (self.output_tokens - 1)
        self.token_interval_ms = np.where((self.output_tokens > 1) & (self.ended_s > first_s), intervals, np.nan)


def describe(outcome: Outcome) -> dict[str, Any]:
    """Everything that a report says, as JSON values; `None` where nothing is known.

    Times are those of good answers. A part of the test (a stage, a moment) has the answers that ended in it, and its
    rates count an answer that lies partly within for that part.
    """
    table = _Table(outcome.samples, outcome.started_s)
    until_s = min(outcome.scenario.seconds, max(outcome.ended_s - outcome.started_s, 1e-9))
    everything = np.ones(len(table.good), dtype=bool)
    return {
        "about": _about(outcome),
        "summary": _part(table, everything, 0.0, until_s),
        "stages": [
            _stage(table, stage, outcome.scenario) for stage in outcome.scenario.stages if stage.from_s < until_s
        ],
        "experts": _experts(table),
        "over_time": _over_time(table, until_s),
        "client": _client(outcome, table),
        "server": outcome.server.as_json(outcome.started_s),
    }


def _about(outcome: Outcome) -> dict[str, Any]:
    scenario = {
        **asdict(outcome.scenario),
        "data": str(outcome.scenario.data),
        "steps": list(outcome.scenario.steps),
    }
    return {
        "scenario": scenario,
        "started_s": outcome.started_s,
        "plan": [
            {**asdict(stage), "users": None if outcome.scenario.is_trace else stage.users}
            for stage in outcome.scenario.stages
        ],
        "messages": dict(outcome.samples.messages),
        # Answers that do not come through Pointsman name no expert.
        "simulated": sorted(name or outcome.scenario.model for name in outcome.samples.simulated),
    }


def _part(table: _Table, rows: BoolArray, from_s: float, until_s: float) -> dict[str, Any]:
    """The figures of the requests in `rows`, and their rates between two times."""
    good = rows & table.good
    share = _share(table, from_s, until_s) * table.good
    failures = Counter(table.failure[rows & ~table.good].tolist())
    seconds = max(until_s - from_s, 1e-9)
    return {
        "requests": int(rows.sum()),
        "failures": dict(failures.most_common()),
        "requests_per_s": float(share.sum() / seconds),
        "tokens_per_s": float(np.nansum(share * table.output_tokens) / seconds),
        "prompt_tokens": _mean(table.prompt_tokens[good]),
        "output_tokens": _mean(table.output_tokens[good]),
        "first_token_ms": _distribution(table.first_token_ms[good]),
        "token_interval_ms": _distribution(table.token_interval_ms[good]),
        "latency_ms": _distribution(table.latency_ms[good]),
    }


def _stage(table: _Table, stage: Stage, scenario: Scenario) -> dict[str, Any]:
    """A stage without the time in which users come or go."""
    settled_s = 0.0 if scenario.is_trace else min(
        stage.users / scenario.spawn_rate + scenario.settle_s, 0.5 * (stage.until_s - stage.from_s)
    )  # fmt: skip
    from_s = stage.from_s + settled_s
    rows = (table.ended_s >= from_s) & (table.ended_s < stage.until_s)
    return {
        "users": None if scenario.is_trace else stage.users,
        "from_s": from_s,
        "until_s": stage.until_s,
        **_part(table, rows, from_s, stage.until_s),
    }


def _experts(table: _Table) -> dict[str, dict[str, Any]]:
    n_good = max(1, int(table.good.sum()))
    found = {}
    for name in np.unique(table.expert[table.good]) if len(table.good) else ():
        rows = table.good & (table.expert == name)
        found[str(name) or "(unnamed)"] = {
            "requests": int(rows.sum()),
            "share": float(rows.sum() / n_good),
            "first_token_ms": _distribution(table.first_token_ms[rows]),
            "latency_ms": _distribution(table.latency_ms[rows]),
        }
    return found


def _over_time(table: _Table, seconds: float) -> dict[str, Any]:
    """The test in equal parts of whole seconds."""
    width_s = max(1.0, math.ceil(seconds / _MOST_BINS))
    edges: FloatArray = np.arange(0.0, seconds + width_s, width_s, dtype=np.float64)
    parts = [_moment(table, from_s, from_s + width_s) for from_s in edges[:-1]]
    return {
        "t_s": [float(edge) for edge in edges[:-1] + width_s / 2],
        **{name: [part[name] for part in parts] for name in (parts[0] if parts else ())},
        "experts": _shares_over_time(table, edges),
    }


def _moment(table: _Table, from_s: float, until_s: float) -> dict[str, float | None]:
    rows = (table.ended_s >= from_s) & (table.ended_s < until_s)
    good = rows & table.good
    share = _share(table, from_s, until_s) * table.good
    overlap_s = np.clip(np.minimum(table.ended_s, until_s) - np.maximum(table.sent_s, from_s), 0.0, None)
    latency, first = (_distribution(values[good]) or {} for values in (table.latency_ms, table.first_token_ms))
    return {
        "requests_per_s": float(share.sum() / (until_s - from_s)),
        "tokens_per_s": float(np.nansum(share * table.output_tokens) / (until_s - from_s)),
        "failures_per_s": float((rows & ~table.good).sum() / (until_s - from_s)),
        "under_way": float(overlap_s.sum() / (until_s - from_s)),
        "latency_p50_ms": latency.get("p50"),
        "latency_p99_ms": latency.get("p99"),
        "first_token_p50_ms": first.get("p50"),
        "first_token_p99_ms": first.get("p99"),
    }


def _shares_over_time(table: _Table, edges: FloatArray) -> dict[str, list[float]]:
    """Good answers a second of each expert."""
    width_s = float(edges[1] - edges[0])
    names = np.unique(table.expert[table.good]) if len(table.good) else ()
    counts = {
        str(name) or "(unnamed)": np.histogram(table.ended_s[table.good & (table.expert == name)], edges)[0]
        for name in names
    }
    return {name: (count / width_s).tolist() for name, count in counts.items()}


def _client(outcome: Outcome, table: _Table) -> dict[str, Any]:
    """How the load's own processes fared, and in words whether they were the limit."""
    ticks = np.array(
        [tick for tick in outcome.samples.ticks if outcome.started_s <= tick.at_s <= outcome.ended_s]
    ).reshape(-1, len(ClientTick._fields))
    cpu, lag_s = ticks[:, 2], ticks[:, 3]
    n_processes = len(np.unique(ticks[:, 1]))
    busy = float((cpu > _BUSY_CPU).mean()) if len(cpu) else 0.0
    lag_p99_s = float(np.percentile(lag_s, 99)) if len(lag_s) else 0.0
    late = int((table.late_s > _LATE_REQUEST_S).sum())
    reasons = []
    if busy > _BUSY_SHARE:
        reasons.append(f"a load process used more than {_BUSY_CPU:.0%} of a processor in {busy:.0%} of the time")
    if lag_p99_s > _LATE_LOOP_S:
        reasons.append(f"its event loop was up to {1e3 * lag_p99_s:.0f} ms late (99th percentile)")
    if late:
        reasons.append(f"{late} requests of the trace were sent more than {_LATE_REQUEST_S:g} s late")
    return {
        "processes": n_processes,
        "cpu_mean": _mean(cpu),
        "cpu_max": float(cpu.max()) if len(cpu) else None,
        "lag_p99_ms": 1e3 * lag_p99_s,
        "late_requests": late,
        "machine_cpu": _machine_cpu(outcome),
        "was_limit": bool(reasons),
        "reasons": reasons,
    }


def _machine_cpu(outcome: Outcome) -> float | None:
    """Mean share of this machine's processors in use while the load ran."""
    within = [p for p in outcome.server.machine_cpu if outcome.started_s <= p.at_s <= outcome.ended_s]
    return _mean(np.array([point.values["machine"] for point in within]))


def _share(table: _Table, from_s: float, until_s: float) -> FloatArray:
    """The part of each request's own time between two times, (n,)."""
    overlap_s = np.minimum(table.ended_s, until_s) - np.maximum(table.sent_s, from_s)
    share: FloatArray = np.clip(overlap_s, 0.0, None) / np.maximum(table.ended_s - table.sent_s, 1e-9)
    return share


def _distribution(values: FloatArray) -> dict[str, float] | None:
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    found = {f"p{percent}": float(value) for percent, value in zip(
        _PERCENTILES, np.percentile(values, _PERCENTILES), strict=True
    )}  # fmt: skip
    return {**found, "mean": float(values.mean()), "max": float(values.max())}


def _mean(values: FloatArray) -> float | None:
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else None


def _known(values: FloatArray) -> FloatArray:
    return np.where(values == NOTHING, np.nan, values)
