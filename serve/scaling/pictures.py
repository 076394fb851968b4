"""Pictures of a load with its replicas and queues, and of growth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from serve.reporting.canvas import GREY, Curve, axes_of, colour_of, legend_by_height, new_figure

__all__ = ["draw_following", "draw_growth"]

_TIME = "seconds from the start"


def draw_following(found: Mapping[str, Any]) -> Any:
    """The load, the replicas of each pool beside what it needs, and who waits, over time.

    Args:
        found: as `serve.scaling.following.judge` gives it.
    """
    pools = list(found["pools"].items())
    rows = len(pools) + 2
    figure = new_figure(7.6, 1.9 * rows)
    over = found["over_time"]
    axes = axes_of(figure, (rows, 1, 1), y="a second")
    curves = [_line(axes, over["t_s"], over["requests_per_s"], "good answers", colour_of(0))]
    if any(over["failures_per_s"]):
        curves.append(_line(axes, over["t_s"], over["failures_per_s"], "failures", colour_of(1)))
    _finish(axes, curves)
    for place, (name, pool) in enumerate(pools):
        axes = axes_of(figure, (rows, 1, place + 2), y="replicas", title=name)
        load, target = pool["load"], pool["bounds"]["target"]
        needs = [value / target for value in load["values"]]
        _finish(
            axes,
            [
                _line(axes, load["t_s"], needs, "needed by the load", GREY, "--"),
                _line(axes, *_both(pool["held"]), "held", colour_of(4), ":", steps=True),
                _line(axes, *_both(pool["replicas"]), "running", colour_of(2), steps=True),
            ],
        )
    axes = axes_of(figure, (rows, 1, rows), x=_TIME, y="requests")
    waiting = {
        name.removeprefix("waiting "): points
        for name, points in found["server"]["queues"].items()
        if name.startswith("waiting ") and max(points["values"], default=0) > 0
    }
    curves = [
        _line(axes, *_both(points), f"waiting in {name}", colour_of(place))
        for place, (name, points) in enumerate(sorted(waiting.items()))
    ]
    curves.append(_line(axes, over["t_s"], over["under_way"], "under way", GREY, "--"))
    _finish(axes, curves)
    return figure


def draw_growth(found: Mapping[str, Any]) -> Any:
    """Requests a second by Routers and by experts, beside linear growth.

    Args:
        found: as `serve.scaling.growth.grow` gives it.
    """
    figure = new_figure(7.6, 3.4)
    for place, (kind, title) in enumerate(
        (("routers", "instant experts, by Routers"), ("experts", "by expert replicas"))
    ):
        points = found[kind]
        counts = [point["count"] for point in points]
        axes = axes_of(figure, (1, 2, place + 1), x=kind, y="requests/s" if not place else "", title=title)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log", base=2)
        axes.set_xticks(counts, [str(count) for count in counts])
        rates = [point["requests_per_s"] for point in points]
        axes.plot(counts, [rates[0] * count / counts[0] for count in counts], "--", color=GREY, linewidth=1.2)
        axes.plot(counts, rates, "o-", color=colour_of(place), markersize=4)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.minorticks_off()
    return figure


def _both(points: Mapping[str, Sequence[float]]) -> tuple[Sequence[float], Sequence[float]]:
    return points["t_s"], points["values"]


def _line(
    axes: Any,
    times: Sequence[float],
    values: Sequence[Any],
    text: str,
    colour: str,
    style: str = "-",
    *,
    steps: bool = False,
) -> Curve:
    heights = np.array([np.nan if value is None else value for value in values], dtype=float)
    drawn = "steps-post" if steps else "default"
    axes.plot(times, heights, color=colour, linestyle=style, linewidth=1.4, drawstyle=drawn)
    known = heights[np.isfinite(heights)]
    return Curve(text, colour, style, float(known.mean()) if len(known) else 0.0)


def _finish(axes: Any, curves: Sequence[Curve]) -> None:
    axes.set_ylim(bottom=0)
    legend_by_height(axes, curves)
