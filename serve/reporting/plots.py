"""The five plots of an evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve.reporting.canvas import FAINT, GREY, INK, Curve, axes_of, colour_of, legend_by_height, new_figure, short
from serve.reporting.scene import Scene

__all__ = ["PLOTS", "cluster_map", "cost_curve", "deferral", "heat_map", "reliability"]

FloatArray = NDArray[np.float64]

_MOST_PANELS = 6
_PANELS_A_ROW = 3
_MOST_NAMED = 7
_MOST_IN_CELLS = 30
_STEPS = np.linspace(0.1, 1.0, 10)
_BESIDE = {
    "zero-router": ("Zero router (hull)", INK, "-"),
    "random": ("random", GREY, ":"),
    "length": ("length", GREY, "--"),
}
_DOMAIN_ORACLE = {"domain-oracle": ("data-set oracle", INK, "-.")}
_PROMPT_ORACLE = "prompt-oracle"


def cost_curve(scene: Scene) -> Any:
    """Quality against cost: routers with their bands, single experts, hull, random, length and oracles."""
    figure = new_figure()
    axes = axes_of(figure, (1, 1, 1), x="mean cost of 1,000 answers, in the data's currency", y="mean quality, %")
    found = scene.judgement
    curves = []
    for name, (text, colour, style) in (_BESIDE | _DOMAIN_ORACLE).items():
        beside = found.baselines.get(name)
        if beside is not None and name not in found.routers:
            curves.append(_line(axes, beside["curve"], text, colour, style))
    for place, (name, of) in enumerate(found.routers.items()):
        if name in scene.banded:
            grid, low, high = scene.bands[name]
            axes.fill_between(
                1000 * scene.cost_at(grid), 100 * low, 100 * high, color=colour_of(place), alpha=0.16, lw=0
            )
        if name in scene.plans:
            own, colour = of["own_choice"], colour_of(place)
            axes.plot(1000 * own["cost"], 100 * own["quality"], "D", color=colour, markersize=5, clip_on=False)
        if of["curve"] is not None:
            curves.append(_line(axes, of["curve"], name, colour_of(place), "-"))
    limits = axes.get_ylim()
    oracle = found.baselines[_PROMPT_ORACLE]
    axes.plot(*_points(oracle["curve"]), color=GREY, linewidth=1, linestyle="-.")
    axes.set_ylim(limits[0], limits[1] + 0.06 * (limits[1] - limits[0]))
    _say_oracle(axes, 100 * oracle["own_choice"]["quality"])
    for expert, of in found.experts.items():
        axes.plot(1000 * of["cost"], 100 * of["quality"], "o", color=INK, markersize=5, clip_on=False)
        axes.annotate(
            expert,
            (1000 * of["cost"], 100 * of["quality"]),
            (4, -11),
            textcoords="offset points",
            fontsize=7.5,
            color=INK,
        )
    legend_by_height(axes, curves)
    return figure


def deferral(scene: Scene) -> Any | None:
    """Quality against the share of large calls, with RouteLLM's ten points; None for more than two experts."""
    if not scene.two:
        return None
    figure = new_figure()
    axes = axes_of(figure, (1, 1, 1), x="prompts sent to the large expert, %", y="mean quality, %")
    found = scene.judgement
    curves = []
    for name, of in (("random", found.baselines["random"]), ("length", found.baselines["length"])):
        if name not in found.routers:
            colour, style = _BESIDE[name][1:]
            curves.append(_line(axes, of["curve"], name, colour, style, over="x"))
    for place, (name, of) in enumerate(found.routers.items()):
        if name in scene.plans:
            continue
        if name in scene.banded:
            grid, low, high = scene.bands[name]
            axes.fill_between(100 * grid, 100 * low, 100 * high, color=colour_of(place), alpha=0.16, lw=0)
        text = name if of["apgr"] is None else f"{name}, APGR {of['apgr']:.3f}"
        curves.append(_line(axes, of["curve"], text, colour_of(place), "-", over="x"))
        heights = np.interp(_STEPS, of["curve"]["x"], of["curve"]["quality"])
        axes.plot(100 * _STEPS, 100 * heights, "o", color=colour_of(place), markersize=3.5)
    axes.set_xlim(0, 100)
    legend_by_height(axes, curves)
    return figure


def reliability(scene: Scene) -> Any | None:
    """What was predicted against what happened, a panel for each of the first six routers."""
    panels = {name: bins for name in scene.predictions if (bins := scene.bins(name)) is not None}
    if not panels:
        return None

    def draw(axes: Any, name: str, place: int) -> None:
        bins = panels[name]
        axes.plot([0, 100], [0, 100], color=GREY, linewidth=0.8)
        axes.errorbar(
            100 * bins.predicted,
            100 * bins.happened,
            yerr=100 * bins.margin,
            fmt="o-",
            color=colour_of(place),
            markersize=3.5,
            linewidth=1,
            elinewidth=0.8,
        )
        axes.set_xlim(0, 100)
        axes.set_ylim(0, 100)
        axes.set_aspect("equal")
        of = scene.judgement.routers[name]
        error = of["ece_quality"] if of["ece_score"] is None else of["ece_score"]
        if error is not None:
            axes.text(4, 94, f"ECE {error:.3f}", fontsize=8, color=INK, va="top")
        axes.set_xlabel(f"predicted: {bins.what}, %", fontsize=8, color=INK)

    return _panels(panels, draw, y="happened, %")


def heat_map(scene: Scene) -> Any | None:
    """Mean quality by domain (rows) and expert or router (columns); None where there are not two domains."""
    domains = scene.domains
    if domains is None:
        return None
    n_rows, n_columns = domains.quality.shape
    figure = new_figure(2.6 + 0.75 * n_columns, 1.6 + 0.24 * n_rows)
    axes = figure.add_subplot(111)
    image = axes.imshow(100 * domains.quality, cmap="cividis", aspect="auto")
    axes.set_xticks(range(n_columns), _columns(scene, domains.columns), rotation=35, ha="left", fontsize=8, color=INK)
    rows = [f"{name} ({size:,})" for name, size in zip(domains.names, domains.sizes, strict=True)]
    axes.set_yticks(range(n_rows), rows, fontsize=7.5, color=INK)
    axes.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False, length=0)
    axes.axvline(len(scene.exam.data.experts) - 0.5, color="#ffffff", linewidth=3)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if n_columns <= _MOST_IN_CELLS:
        middle = 100 * (domains.quality.min() + domains.quality.max()) / 2
        for (row, column), value in np.ndenumerate(100 * domains.quality):
            shade = "#000000" if value > middle else "#ffffff"
            axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=7.5, color=shade)
    bar = figure.colorbar(image, ax=axes, fraction=0.03, pad=0.02)
    bar.set_label("mean quality, %", fontsize=8.5, color=INK)
    bar.ax.tick_params(labelsize=8, colors=INK)
    bar.outline.set_visible(False)
    return figure


def cluster_map(scene: Scene) -> Any | None:
    """Prompts on a plane, a panel for each of the first six routers, coloured by the expert that it chooses.

    Where a router's clusters are known their numbers stand at their middles.
    """
    shown, at = scene.positions
    if len(shown) < 2 or not scene.predictions:
        return None
    experts = scene.exam.data.experts
    chosen = {name: scene.choice(name)[shown] for name in scene.predictions}
    counts = np.sum([np.bincount(of, minlength=len(experts)) for of in chosen.values()], axis=0)
    named = [int(i) for i in np.argsort(-counts, kind="stable")[:_MOST_NAMED] if counts[i]]
    colours = dict(zip(named, map(colour_of, range(len(named))), strict=True))

    def draw(axes: Any, name: str, place: int) -> None:
        of = chosen[name]
        axes.scatter(*at.T, s=5, c=[colours.get(int(i), GREY) for i in of], linewidths=0, alpha=0.75, rasterized=True)
        _number_clusters(axes, at, scene.clusters[name][shown] if name in scene.clusters else None)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.grid(visible=False)
        for side in ("left", "bottom"):
            axes.spines[side].set_color(FAINT)

    figure = _panels(chosen, draw)
    _expert_legend(figure, {experts[i]: colours[i] for i in named}, others=len(named) < (counts > 0).sum())
    return figure


PLOTS: Mapping[str, tuple[str, Callable[[Scene], Any]]] = {
    "quality-cost": ("Quality against cost", cost_curve),
    "deferral": ("Quality against the share of large calls", deferral),
    "reliability": ("Predicted against what happened", reliability),
    "domains": ("Quality by domain", heat_map),
    "map": ("Map of the prompts", cluster_map),
}
"""By file name: heading and drawing; a drawing is None where the evaluation lacks what it shows."""


def _points(curve: Mapping[str, Any], over: str = "cost") -> tuple[FloatArray, FloatArray]:
    scale = 1000 if over == "cost" else 100
    return scale * np.array(curve[over]), 100 * np.array(curve["quality"])


def _line(axes: Any, curve: Mapping[str, Any], text: str, colour: str, style: str, over: str = "cost") -> Curve:
    x, y = _points(curve, over)
    axes.plot(x, y, color=colour, linestyle=style, linewidth=1.6 if style == "-" else 1.2)
    height = np.interp(np.linspace(0, 1, 21), curve["x"], curve["quality"]).mean()
    return Curve(text, colour, style, float(height))


def _say_oracle(axes: Any, quality: float) -> None:
    if quality <= axes.get_ylim()[1]:
        return
    axes.text(
        0.01, 0.985, f"per-prompt oracle: {quality:.1f} %, above this picture ↑", transform=axes.transAxes,
        ha="left", va="top", fontsize=8, color=GREY,
    )  # fmt: skip


def _panels(names: Mapping[str, Any], draw: Callable[[Any, str, int], None], y: str = "") -> Any:
    """A grid of small axes, one for each of the first names; `draw` gets the name's place among all."""
    first = list(names)[:_MOST_PANELS]
    n_columns = min(len(first), _PANELS_A_ROW)
    n_rows = -(-len(first) // n_columns)
    figure = new_figure(max(2.7 * n_columns, 3.6), 2.75 * n_rows + 0.3)
    for place, name in enumerate(first):
        axes = axes_of(
            figure, (n_rows, n_columns, place + 1), title=short(name, 30), y=y if place % n_columns == 0 else ""
        )
        draw(axes, name, place)
    return figure


def _columns(scene: Scene, columns: list[str]) -> list[str]:
    halved = scene.predictions if scene.two else ()
    n_experts = len(scene.exam.data.experts)
    return [
        f"{short(name)}, 50 % large" if i >= n_experts and name in halved else short(name)
        for i, name in enumerate(columns)
    ]


def _number_clusters(axes: Any, at: FloatArray, clusters: NDArray[np.int64] | None) -> None:
    if clusters is None:
        return
    for number in np.unique(clusters):
        x, y = np.median(at[clusters == number], axis=0)
        axes.text(
            x, y, str(number), fontsize=7.5, weight="bold", color="#000000", ha="center", va="center",
            bbox={"boxstyle": "round,pad=0.15", "facecolor": "#ffffff", "edgecolor": "none", "alpha": 0.75},
        )  # fmt: skip


def _expert_legend(figure: Any, colours: Mapping[str, str], *, others: bool) -> None:
    from matplotlib.lines import Line2D

    entries = [*colours.items(), *([("another expert", GREY)] if others else [])]
    handles = [Line2D([], [], marker="o", linestyle="", color=colour, label=short(name)) for name, colour in entries]
    figure.legend(
        handles=handles, loc="outside lower left", ncols=2, fontsize=8, frameon=False, labelcolor=INK, handletextpad=0.2
    )
