"""The plots of a load test."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from serve.reporting.canvas import GREY, Curve, axes_of, colour_of, legend_by_height, log_users, new_figure

__all__ = ["LOAD_PLOTS", "answer_times", "by_users", "experts", "machine", "memory", "queues", "replicas", "throughput"]

_TIME = "seconds from the start"


def throughput(found: Mapping[str, Any]) -> Any:
    """Good answers and failures a second, and requests under way, over time."""
    over = found["over_time"]
    figure = new_figure(7.2, 4.6)
    axes = axes_of(figure, (2, 1, 1), y="a second")
    curves = [_line(axes, over["t_s"], over["requests_per_s"], "good answers", colour_of(0))]
    if any(over["failures_per_s"]):
        curves.append(_line(axes, over["t_s"], over["failures_per_s"], "failures", colour_of(1)))
    legend_by_height(axes, curves)
    axes.set_ylim(bottom=0)
    axes = axes_of(figure, (2, 1, 2), x=_TIME, y="requests, users")
    curves = [_line(axes, over["t_s"], over["under_way"], "under way", colour_of(2))]
    stages = [stage for stage in found["about"]["plan"] if stage["users"] is not None]
    if stages:
        times = [time for stage in stages for time in (stage["from_s"], stage["until_s"])]
        users = [stage["users"] for stage in stages for _ in range(2)]
        curves.append(_line(axes, times, users, "users", GREY, "--"))
    legend_by_height(axes, curves)
    axes.set_ylim(bottom=0)
    return figure


def answer_times(found: Mapping[str, Any]) -> Any | None:
    """Whole answers and first tokens over time, median and 99th percentile, on a logarithmic axis."""
    over = found["over_time"]
    if not any(over["latency_p50_ms"]):
        return None
    figure = new_figure()
    axes = axes_of(figure, (1, 1, 1), x=_TIME, y="ms")
    axes.set_yscale("log")
    rows = [
        ("latency_p99_ms", "whole answer, 99 %", colour_of(0), ":"),
        ("latency_p50_ms", "median", colour_of(0), "-"),
    ]
    if found["about"]["scenario"]["stream"]:
        rows.append(("first_token_p99_ms", "first token, 99 %", colour_of(1), ":"))
        rows.append(("first_token_p50_ms", "median", colour_of(1), "-"))
    legend_by_height(axes, [_line(axes, over["t_s"], over[name], *look) for name, *look in rows])
    return figure


def by_users(found: Mapping[str, Any]) -> Any | None:
    """Throughput and times of each stage by its users; None where there are fewer than three numbers of users."""
    stages = sorted(
        (stage for stage in found["stages"] if stage["users"] and stage["latency_ms"]), key=lambda stage: stage["users"]
    )
    users = [stage["users"] for stage in stages]
    if len(set(users)) < 3:
        return None
    figure = new_figure(7.6, 3.2)
    axes = axes_of(figure, (1, 2, 1), x="users", title="good answers a second")
    axes.plot(users, [stage["requests_per_s"] for stage in stages], "o-", color=colour_of(0), markersize=4)
    log_users(axes, users)
    axes.set_ylim(bottom=0)
    axes = axes_of(figure, (1, 2, 2), x="users", title="ms: median, and 99 % dotted")
    log_users(axes, users)
    axes.set_yscale("log")
    curves = []
    for place, (name, text) in enumerate((("latency_ms", "whole answer"), ("first_token_ms", "first token"))):
        for percentile, style in (("p50", "o-"), ("p99", ":")):
            values = [stage[name][percentile] if stage[name] else np.nan for stage in stages]
            axes.plot(users, values, style, color=colour_of(place), markersize=4)
        curves.append(Curve(text, colour_of(place), "-", float(np.nanmean(values))))
    legend_by_height(axes, curves)
    return figure


def experts(found: Mapping[str, Any]) -> Any | None:
    """Good answers a second of each expert, one above the other; None where there is one expert only."""
    over = found["over_time"]
    names = sorted(over["experts"], key=lambda name: -sum(over["experts"][name]))
    if len(names) < 2:
        return None
    figure = new_figure(7.2, 3.2)
    axes = axes_of(figure, (1, 1, 1), x=_TIME, y="good answers a second")
    heights = np.cumsum([over["experts"][name] for name in names], axis=0)
    bottom = np.zeros(heights.shape[1])
    curves = []
    for place, name in enumerate(names):
        axes.fill_between(over["t_s"], bottom, heights[place], color=colour_of(place), alpha=0.8, lw=0)
        bottom = heights[place]
        share = found["experts"][name]["share"]
        curves.append(Curve(f"{name}, {100 * share:.0f} %", colour_of(place), "-", float(place)))
    legend_by_height(axes, curves)
    return figure


def replicas(found: Mapping[str, Any]) -> Any | None:
    """Running replicas over time; None where Serve was not reached."""
    series = found["server"]["replicas"]
    return _steps(series, "running replicas") if series else None


def queues(found: Mapping[str, Any]) -> Any | None:
    """Requests in queues and under way, by application; None where no metric was reached."""
    series = {
        name: points for name, points in found["server"]["queues"].items() if max(points["values"], default=0) > 0
    }
    return _steps(series, "requests") if series else None


def memory(found: Mapping[str, Any]) -> Any | None:
    """Memory of whatever answers; None where it was not seen."""
    series = found["server"]["memory"]
    return _steps(series, "GiB") if series else None


def machine(found: Mapping[str, Any]) -> Any | None:
    """How busy this machine was."""
    series = found["server"]["machine_cpu"].get("machine")
    if not series:
        return None
    figure = new_figure(7.2, 2.4)
    axes = axes_of(figure, (1, 1, 1), x=_TIME, y="processors in use, %")
    axes.plot(series["t_s"], 100 * np.array(series["values"]), color=colour_of(0), linewidth=1.4)
    axes.set_ylim(0, 100)
    return figure


LOAD_PLOTS: Mapping[str, tuple[str, str, Callable[[Mapping[str, Any]], Any | None]]] = {
    "throughput": ("Throughput", "A request that lies partly within a moment counts for that part.", throughput),
    "times": ("How long users wait", "Of the good answers that ended in each moment.", answer_times),
    "users": ("By the number of users", "Each stage without the time in which users come.", by_users),
    "experts": ("Who answered", "By the header x-pointsman-expert.", experts),
    "replicas": ("Replicas", "Running ones, as Ray Serve's REST API says.", replicas),
    "queues": (
        "Queues",
        "By Ray's metrics, some seconds late: under_way in replicas, queued before, running and waiting in engines.",
        queues,
    ),
    "memory": (
        "Memory",
        "Proportional set size of replicas, engines and proxies here; a model's weights are in the engines'.",
        memory,
    ),
    "machine": ("This machine", "The load, and all else that runs here.", machine),
}
"""Each plot's heading, caption and drawing; a drawing is None where the test lacks what it shows."""


def _line(axes: Any, times: Sequence[float], values: Sequence[Any], text: str, colour: str, style: str = "-") -> Curve:
    heights = np.array([np.nan if value is None else value for value in values], dtype=float)
    axes.plot(times, heights, color=colour, linestyle=style, linewidth=1.5)
    known = heights[np.isfinite(heights)]
    return Curve(text, colour, style, float(known.mean()) if len(known) else 0.0)


def _steps(series: Mapping[str, Mapping[str, Sequence[float]]], y: str) -> Any:
    figure = new_figure(7.2, 3.2)
    axes = axes_of(figure, (1, 1, 1), x=_TIME, y=y)
    curves = []
    for place, (name, points) in enumerate(sorted(series.items())):
        axes.plot(points["t_s"], points["values"], drawstyle="steps-post", color=colour_of(place), linewidth=1.5)
        curves.append(Curve(name, colour_of(place), "-", float(np.mean(points["values"]))))
    axes.set_ylim(bottom=0)
    legend_by_height(axes, curves)
    return figure
