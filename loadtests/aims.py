"""What Pointsman is meant to reach beside its peers, and whether it did in one comparison."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from loadtests.comparison import Comparison, Point

__all__ = ["Aim", "Rows", "aims_of", "aims_table"]

_MANY = (256, 1000)
_STREAMING = (False, True)
_MOST = 1000.0


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a comparison that aims speak of; None where it has no such row.

    Attributes:
        ours: Pointsman with a decision for each request.
        ray: ``ray.serve.llm``'s own ingress.
        litellm: a LiteLLM proxy on as many workers.
        bare: the engine's own server.
    """

    ours: str
    ray: str | None = None
    litellm: str | None = None
    bare: str | None = None


@dataclass(frozen=True, slots=True)
class Aim:
    """One aim.

    Attributes:
        what: what is compared, and under which load.
        limit: the ratio or the time that is wanted.
        at_least: whether more is better.
        reached: what was measured; None if it was not.
        unit: of both, ``×`` for ratios.
    """

    what: str
    limit: float
    at_least: bool
    reached: float | None
    unit: str = "×"

    @property
    def met(self) -> bool | None:
        """Whether it was reached; None if it was not measured."""
        if self.reached is None:
            return None
        return self.reached >= self.limit if self.at_least else self.reached <= self.limit

    def as_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {**asdict(self), "met": self.met}


def aims_of(comparison: Comparison, rows: Rows) -> list[Aim]:
    """Every aim that the rows of a comparison allow to check."""
    found: list[Aim] = []
    for stream in _STREAMING:
        for other, factor in ((rows.ray, 3.0), (rows.litellm, 10.0)):
            points = [] if other is None else [Point(users, stream) for users in _MANY]
            found += [_throughput(comparison, rows.ours, str(other), point, factor) for point in points]
        if rows.bare is not None:
            one, many = Point(1, stream), Point(256, stream)
            ratio = comparison.ratio(rows.ours, one, "latency_p50_ms", against=rows.bare)
            found.append(Aim(f"end-to-end latency, {rows.bare}, {_named(one)}", 1.15, at_least=False, reached=ratio))
            found.append(_throughput(comparison, rows.ours, rows.bare, many, 0.85))
        for quantity, limit_ms in (("decision_us", 1.0), ("decision_p99_us", 5.0)):
            decision_us = comparison.median(rows.ours, Point(1000, stream), quantity)
            name = f"decision {'p99' if 'p99' in quantity else 'p50'}, {_named(Point(1000, stream))}"
            reached_ms = None if decision_us is None else decision_us / 1e3
            found.append(Aim(name, limit_ms, at_least=False, reached=reached_ms, unit="ms"))
    return found


def aims_table(aims: list[Aim]) -> RenderableType:
    """Aims beside what was reached."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("aim")
    for name in ("wanted", "reached", "met"):
        table.add_column(name, justify="right")
    for aim in aims:
        wanted = f"{'≥' if aim.at_least else '≤'} {aim.limit:g} {aim.unit}"
        table.add_row(aim.what, wanted, _reached(aim), {True: "yes", False: "no", None: ""}[aim.met])
    return Group(Text("Aims: Pointsman's figure, divided by the named server's or by itself", "bold"), table)


def _reached(aim: Aim) -> str:
    if aim.reached is None:
        return "not measured"
    # Beside a server that hardly answered at all.
    return f"> {_MOST:g} {aim.unit}" if aim.reached > _MOST else f"{aim.reached:.2f} {aim.unit}"


def _throughput(comparison: Comparison, ours: str, other: str, point: Point, factor: float) -> Aim:
    ratio = comparison.ratio(ours, point, "requests_per_s", against=other)
    return Aim(f"requests/s, {other}, {_named(point)}", factor, at_least=True, reached=ratio)


def _named(point: Point) -> str:
    users = "1 user" if point.users == 1 else f"{point.users:,} users"
    return f"{users}{', streaming' if point.stream else ''}"
