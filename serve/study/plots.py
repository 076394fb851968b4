"""The pictures of the study: one line a setup over the number of users."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from serve.reporting.canvas import Curve, axes_of, colour_of, legend_by_height, log_users, new_figure, svg_file
from serve.study.setups import NAMES

__all__ = ["pictures"]

_LATENCIES = {"first-token": ("first_token_ms", "first token"), "latency": ("latency_ms", "whole answer")}


def pictures(setups: Sequence[Mapping[str, Any]], part: str) -> dict[str, bytes]:
    """SVG files by name: throughput, first token, whole answers; none where fewer than two numbers of users are known.

    Args:
        setups: as the part's JSON has them.
        part: begins the files' names.
    """
    users = sorted({step["users"] for setup in setups for step in setup["steps"]})
    if len(users) < 2:
        return {}
    figures = {"throughput": _throughput(setups, users)}
    for name, (quantity, text) in _LATENCIES.items():
        figures[name] = _times(setups, users, quantity, text)
    return {f"{part}-{name}.svg": svg_file(figure, f"{part}-{name}") for name, figure in figures.items()}


def _throughput(setups: Sequence[Mapping[str, Any]], users: Sequence[int]) -> Any:
    figure = new_figure(7.2, 3.4)
    axes = axes_of(figure, (1, 1, 1), x="users", y="good answers a second")
    curves = []
    for setup in setups:
        colour, style = _look(setup)
        rates = {step["users"]: step["requests_per_s"] for step in setup["steps"]}
        axes.plot(list(rates), list(rates.values()), f"o{style}", color=colour, linewidth=1.5, markersize=3.5)
        curves.append(Curve(setup["name"], colour, style, list(rates.values())[-1] if rates else 0.0))
    log_users(axes, users)
    axes.set_yscale("log")
    legend_by_height(axes, curves)
    return figure


def _times(setups: Sequence[Mapping[str, Any]], users: Sequence[int], quantity: str, text: str) -> Any:
    """Median as a line with dots, 99th percentile dotted."""
    figure = new_figure(7.2, 3.4)
    axes = axes_of(figure, (1, 1, 1), x="users", y=f"{text}, ms: median, and 99 % dotted")
    curves = []
    for setup in setups:
        colour, line = _look(setup)
        at = [step["users"] for step in setup["steps"]]
        for percentile, style in (("p99", ":"), ("p50", f"o{line}")):
            values = [step[quantity][percentile] if step[quantity] else np.nan for step in setup["steps"]]
            axes.plot(at, values, style, color=colour, linewidth=1.5, markersize=3.5)
        curves.append(Curve(setup["name"], colour, line, float(values[-1]) if values else 0.0))
    log_users(axes, users)
    axes.set_yscale("log")
    legend_by_height(axes, curves)
    return figure


def _look(setup: Mapping[str, Any]) -> tuple[str, str]:
    """A colour for each kind of setup, the same in all pictures; another form of it is dashed."""
    return colour_of(NAMES.index(setup["kind"])), "-" if setup["name"] == setup["kind"] else "--"
