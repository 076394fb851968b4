"""The report of a load test: one HTML page that needs nothing else, its plots as PNG, and all figures as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from serve.reporting.canvas import png, svg
from serve.reporting.load_plots import LOAD_PLOTS
from serve.reporting.writing import prepare_folder, render, write_files

__all__ = ["rows_of", "write_load_report"]

_NONE = "–"


def write_load_report(found: Mapping[str, Any], folder: Path) -> Path:
    """Write `index.html`, `report.json` and the plots as PNG into a folder; files of these names are replaced.

    Args:
        found: what `loadtests.results.describe` gives.
        folder: is made where it is not there.

    Returns:
        The path of the page.

    Raises:
        ParameterError: matplotlib or jinja2 is not installed, or the folder cannot be written.
    """
    prepare_folder(folder)
    files = {"report.json": orjson.dumps(found, option=orjson.OPT_INDENT_2)}
    plots = []
    for name, (heading, caption, draw) in LOAD_PLOTS.items():
        figure = draw(found)
        if figure is not None:
            files[f"{name}.png"] = png(figure)
            plots.append({"name": name, "heading": heading, "caption": caption, "svg": svg(figure, name)})
    page = render(
        "load.html",
        title=f"Load test: {found['about']['scenario']['model']}, {found['about']['scenario']['shape']}",
        found=found,
        scenario=found["about"]["scenario"],
        plots=plots,
        parts=rows_of(found),
        experts=[_expert(name, of) for name, of in found["experts"].items()],
    )
    return write_files(folder, {**files, "index.html": page.encode()})


def rows_of(found: Mapping[str, Any]) -> list[dict[str, str]]:
    """The figures of the whole test, and of each stage where there are several, as text."""
    stages = found["stages"] if len(found["stages"]) > 1 else []
    return [_row("all", found["summary"]), *(_row(_stage_name(stage), stage) for stage in stages)]


def _stage_name(stage: Mapping[str, Any]) -> str:
    return f"{stage['users']} users, {stage['from_s']:.0f}–{stage['until_s']:.0f} s"


def _row(name: str, of: Mapping[str, Any]) -> dict[str, str]:
    """One line of the tables, as text."""
    failed = sum(of["failures"].values())
    return {
        "name": name,
        "requests": f"{of['requests']:,}",
        "failures": f"{failed:,}",
        "rate": f"{of['requests_per_s']:,.1f}",
        "tokens": f"{of['tokens_per_s']:,.0f}",
        "first": _times(of["first_token_ms"]),
        "interval": _times(of["token_interval_ms"]),
        "latency": _times(of["latency_ms"]),
    }


def _expert(name: str, of: Mapping[str, Any]) -> dict[str, str]:
    return {
        "name": name,
        "requests": f"{of['requests']:,}",
        "share": f"{100 * of['share']:.1f}",
        "first": _times(of["first_token_ms"]),
        "latency": _times(of["latency_ms"]),
    }


def _times(of: Mapping[str, float] | None) -> str:
    """Median, 95th and 99th percentile."""
    return _NONE if of is None else " / ".join(_number(of[name]) for name in ("p50", "p95", "p99"))


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
