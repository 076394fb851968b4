"""How ``pointsman evaluate`` shows a judgement, in 120 columns."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from routers.evaluation import Difference, Judgement

__all__ = ["show"]

_WIDTH = 120
_NAME_WIDTH = 22
_NONE = "–"
_CURVES_CAPTION = """\
CPT: % of {unit} for 50, 80, 95 % of the gap. Drop: % of quality lost with 10, 20, 40 % kept off the large expert.
AIQ: mean quality over cost. Match: cost, in % of the best single expert's, at which it is as good."""
_CHOICES_CAPTION = """\
Drop: % of quality lost against the large expert. Off large: % of prompts kept off it. ECE: calibration error of
predicted qualities, and of the score. Per s: decisions, one prompt at a time."""
_DIFFERENCES_CAPTION = "p: two-sided, of each comparison alone. Quality: of the own choices."

_Rows = list[tuple[str, dict[str, Any]]]
"""Names in markup, and metrics."""


def show(judgement: Judgement, notes: list[str], protocol: dict[str, Any]) -> None:
    """Print the tables: curves, own choices, differences."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)
    everyone = [(f"[bold]{escape(name)}[/]", of) for name, of in judgement.routers.items()]
    everyone += [(escape(name), of) for name, of in judgement.baselines.items()]
    title = (
        f"{judgement.n_prompts:,} prompts, {protocol['protocol']}; small: {judgement.small}, large: {judgement.large}, "
        f"best single: {judgement.best}"
    )
    console.print(title, markup=False, highlight=False)
    tables = (_curves(judgement, everyone), _choices(everyone), _differences(judgement))
    unit = "large calls" if judgement.axis == "share" else "the cost span"
    captions = (_CURVES_CAPTION.format(unit=unit), _CHOICES_CAPTION, _DIFFERENCES_CAPTION)
    for table, caption in zip(tables, captions, strict=True):
        console.print(table)
        console.print(caption, markup=False, highlight=False, style="dim")
    console.print(
        f"In brackets: 95 % intervals from {protocol['resamples']:,} resamples.", style="dim", highlight=False
    )
    for note in notes:
        console.print(f"Note: {note}", markup=False, highlight=False)


def _curves(judgement: Judgement, everyone: _Rows) -> Table:
    table = _table("Quality against cost", "router or baseline")
    headings = ("APGR", "exact", "CPT 50", "80", "95", "drop 10", "20", "40", "AIQ", "match")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for name, of in everyone:
        if of["curve"] is None:
            continue
        shares = [_percent(of[f"cpt{target}"]) for target in (50, 80, 95)]
        drops = [_percent(of["quality_drop"][share]) for share in ("10", "20", "40")]
        table.add_row(
            name,
            _with_interval(of, "apgr"),
            _plain(of["apgr_exact"]),
            *shares,
            *drops,
            _plain(of["aiq"], 4),
            _percent(of["cost_to_match_best"]),
        )
    return table


def _choices(everyone: _Rows) -> Table:
    table = _table("What each chooses by itself", "router or baseline")
    for heading in ("quality", "cost", "drop", "off large", "ECE", "ECE score", "per s", "training"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, of in everyone:
        own, limits = of["own_choice"], of["ci95"]["own_choice"]
        if own["quality"] is None:
            continue
        table.add_row(
            name,
            _brackets(own["quality"], limits["quality"]),
            f"{own['cost']:.3g}",
            _percent(own["quality_drop"]),
            _percent(own["cost_advantage"]),
            _plain(of["ece_quality"]),
            _plain(of["ece_score"]),
            _NONE if of["decisions_per_s"] is None else f"{of['decisions_per_s']:,.0f}",
            _NONE if of["train_s"] is None else f"{of['train_s']:,.1f} s",
        )
    return table


def _differences(judgement: Judgement) -> Table:
    table = _table("Differences on the same resamples", "router")
    table.add_column("against", max_width=_NAME_WIDTH, overflow="fold")
    for heading in ("metric", "difference", "p"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in judgement.paired:
        if _is_shown(one, judgement):
            difference = _brackets(one.difference, one.ci95, sign="+")
            p = _NONE if one.p is None else f"{one.p:.3f}"
            table.add_row(
                escape(one.first), escape(one.second), "APGR" if one.metric == "apgr" else one.metric, difference, p
            )
    return table


def _is_shown(one: Difference, judgement: Judgement) -> bool:
    """APGR; quality beside the best single expert, and beside everyone where there are more than two experts."""
    if one.metric == "quality":
        return judgement.axis == "cost" or one.second not in judgement.routers
    return one.metric == "apgr" and one.second not in ("random", "zero-router")


def _table(title: str, first: str) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1), title_justify="left")
    table.add_column(first, min_width=_NAME_WIDTH, max_width=_NAME_WIDTH, overflow="fold")
    return table


def _with_interval(of: dict[str, Any], metric: str) -> str:
    return _brackets(of[metric], of["ci95"][metric])


def _brackets(value: float | None, limits: Any, sign: str = "") -> str:
    if value is None:
        return _NONE
    inside = "" if limits is None else f" \\[{limits[0]:{sign}.3f}, {limits[1]:{sign}.3f}]"
    return f"{value:{sign}.3f}{inside}"


def _plain(value: float | None, digits: int = 3) -> str:
    return _NONE if value is None else f"{value:.{digits}f}"


def _percent(value: float | None) -> str:
    # Adding 0 makes a rounded -0.0 plain 0.0.
    return _NONE if value is None else f"{round(100 * value, 1) + 0.0:.1f}"
