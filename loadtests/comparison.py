"""Several servers under the same loads: medians, spreads and ratios of what was measured."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from loadtests.closed_loop import LoadResult, Quantiles
from loadtests.stacks import Memory

__all__ = ["Comparison", "Point", "Spread", "Summary"]

_BUSY_CLIENT = 0.8


@dataclass(frozen=True, slots=True, order=True)
class Point:
    """What a server is measured under."""

    users: int
    stream: bool


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some rounds, with the lowest and the highest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Spread | None:
        """The spread of what was measured; None if nothing was."""
        known = [value for value in values if value is not None]
        return cls(statistics.median(known), min(known), max(known)) if known else None


@dataclass(frozen=True, slots=True)
class Summary:
    """All rounds of one server under one load.

    Attributes:
        rounds: how many there were.
        requests_per_s: good answers a second.
        first_token_p50_ms: median over the rounds of each round's median.
        first_token_p99_ms: the same of the 99th percentile.
        latency_p50_ms: the whole answer.
        latency_p99_ms: its 99th percentile.
        decision_us: the decision, where the server says how long it took.
        decision_p99_us: its 99th percentile.
        failures: of all rounds together, by kind.
        client_cpu: the highest share of one processor that the load generator used.
    """

    rounds: int
    requests_per_s: Spread | None
    first_token_p50_ms: Spread | None
    first_token_p99_ms: Spread | None
    latency_p50_ms: Spread | None
    latency_p99_ms: Spread | None
    decision_us: Spread | None
    decision_p99_us: Spread | None
    failures: dict[str, int]
    client_cpu: float

    @classmethod
    def of(cls, results: Sequence[LoadResult]) -> Summary:
        """The summary of at least one round."""

        def spread(quantiles: Callable[[LoadResult], Quantiles | None], name: str = "p50") -> Spread | None:
            found = (quantiles(result) for result in results)
            return Spread.of(None if one is None else float(getattr(one, name)) for one in found)

        failures: Counter[str] = Counter()
        for result in results:
            failures.update(result.failures)
        return cls(
            rounds=len(results),
            requests_per_s=Spread.of(result.requests_per_s for result in results),
            first_token_p50_ms=spread(lambda result: result.first_token_ms),
            first_token_p99_ms=spread(lambda result: result.first_token_ms, "p99"),
            latency_p50_ms=spread(lambda result: result.latency_ms),
            latency_p99_ms=spread(lambda result: result.latency_ms, "p99"),
            decision_us=spread(lambda result: result.header),
            decision_p99_us=spread(lambda result: result.header, "p99"),
            failures=dict(failures),
            client_cpu=max(result.client_cpu for result in results),
        )


@dataclass(slots=True)
class Comparison:
    """Measurements of several rows (a server, or one of its models) and what they say beside each other.

    Args:
        baseline: the row that ratios are taken against.
        floor: the row whose latency all others are said to add to, if there is one.
    """

    baseline: str
    floor: str | None = None
    results: dict[tuple[str, Point], list[LoadResult]] = field(default_factory=dict)
    memory: dict[str, Memory] = field(default_factory=dict)

    def add(self, row: str, point: Point, result: LoadResult) -> None:
        """Take one round's result."""
        self.results.setdefault((row, point), []).append(result)

    @property
    def rows(self) -> list[str]:
        """The rows, in the order in which they came."""
        return list(dict.fromkeys(row for row, _ in self.results))

    @property
    def points(self) -> list[Point]:
        """The loads, streaming behind not streaming, few users first."""
        return sorted({point for _, point in self.results}, key=lambda point: (point.stream, point.users))

    def summary(self, row: str, point: Point) -> Summary | None:
        """One row under one load; None if it was not measured."""
        results = self.results.get((row, point))
        return Summary.of(results) if results else None

    def median(self, row: str, point: Point, quantity: str) -> float | None:
        """A row's median of a quantity of `Summary`; None where there is none."""
        summary = self.summary(row, point)
        spread = None if summary is None else getattr(summary, quantity)
        return None if spread is None else float(spread.median)

    def ratio(self, row: str, point: Point, quantity: str, *, against: str | None = None) -> float | None:
        """A row's median of a quantity, divided by the baseline's or another row's; None where there is none."""
        above = self.median(row, point, quantity)
        below = self.median(against or self.baseline, point, quantity)
        return None if above is None or not below else above / below

    def added_ms(self, row: str, point: Point, quantity: str = "latency_p50_ms") -> float | None:
        """What a row's whole answers take longer than the floor's; None where there is none."""
        if self.floor is None or row == self.floor:
            return None
        ours, least = self.median(row, point, quantity), self.median(self.floor, point, quantity)
        return None if ours is None or least is None else ours - least

    @property
    def client_was_busy(self) -> bool:
        """Whether the load generator itself may have been the limit somewhere."""
        return any(result.client_cpu > _BUSY_CLIENT for results in self.results.values() for result in results)

    def table(self) -> RenderableType:
        """Everything, for people."""
        parts = [self._table(point) for point in self.points]
        if self.memory:
            parts.append(_memory_table(self.memory))
        if self.client_was_busy:
            parts.append(Text("The load generator used most of a processor somewhere: faster rows may be held back."))
        return Group(*parts)

    def as_json(self) -> dict[str, Any]:
        """Everything, for programs."""
        return {
            "baseline": self.baseline,
            "floor": self.floor,
            "points": [
                {
                    "row": row,
                    "users": point.users,
                    "stream": point.stream,
                    "summary": self.summary(row, point),
                    "requests_per_s_ratio": self.ratio(row, point, "requests_per_s"),
                    "first_token_ratio": self.ratio(row, point, "first_token_p50_ms"),
                    "added_p50_ms": self.added_ms(row, point),
                    "added_p99_ms": self.added_ms(row, point, "latency_p99_ms"),
                    "rounds": [result.as_json() for result in self.results[row, point]],
                }
                for point in self.points
                for row in self.rows
                if (row, point) in self.results
            ],
            "memory": {
                stack: {"pss_bytes": held.pss_bytes, "processes": held.processes} for stack, held in self.memory.items()
            },
        }

    def _table(self, point: Point) -> RenderableType:
        users = "1 user" if point.users == 1 else f"{point.users:,} users"
        added = () if self.floor is None else ("added ms p50", "p99")
        ratios = ("× requests/s", "× first token")
        table = _new_table(
            ("requests/s", "first token ms", "p99 ms", *added, "decision µs", "failures", "client", *ratios)
        )
        for row in self.rows:
            summary = self.summary(row, point)
            if summary is not None:
                extra = () if self.floor is None else self._added_cells(row, point)
                table.add_row(row, *_cells(summary, extra), *self._ratio_cells(row, point))
        return Group(Text(f"{users}, {'streaming' if point.stream else 'not streaming'}", "bold"), table)

    def _added_cells(self, row: str, point: Point) -> list[str]:
        if row == self.floor:
            return ["", ""]
        added = [self.added_ms(row, point, quantity) for quantity in ("latency_p50_ms", "latency_p99_ms")]
        return ["–" if value is None else _number(value) for value in added]

    def _ratio_cells(self, row: str, point: Point) -> list[str]:
        if row == self.baseline:
            return ["", ""]
        ratios = [self.ratio(row, point, quantity) for quantity in ("requests_per_s", "first_token_p50_ms")]
        return ["–" if ratio is None else f"{ratio:.2f}" for ratio in ratios]


def _new_table(names: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("", no_wrap=True)
    for name in names:
        table.add_column(name, justify="right")
    return table


def _cells(summary: Summary, added: Sequence[str]) -> list[str]:
    p99, decision, decision_p99 = summary.first_token_p99_ms, summary.decision_us, summary.decision_p99_us
    return [
        _spread_cell(summary.requests_per_s),
        _spread_cell(summary.first_token_p50_ms),
        "–" if p99 is None else _number(p99.median),
        *added,
        "" if decision is None or decision_p99 is None else f"{decision.median:.0f}/{decision_p99.median:.0f}",
        ", ".join(f"{count} {kind}" for kind, count in summary.failures.items()) or "0",
        f"{summary.client_cpu:.0%}",
    ]


def _spread_cell(spread: Spread | None) -> str:
    if spread is None:
        return "–"
    if spread.low == spread.high:
        return _number(spread.median)
    return f"{_number(spread.median)} ({_number(spread.low)}–{_number(spread.high)})"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def _memory_table(memory: dict[str, Memory]) -> RenderableType:
    table = _new_table(("GiB", "processes"))
    for stack, held in memory.items():
        table.add_row(stack, f"{held.pss_bytes / 2**30:.2f}", str(held.processes))
    return Group(Text("Memory of all processes after the load (PSS)", "bold"), table)
