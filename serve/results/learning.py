"""Learning curves: how many labelled prompts a router needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routers import RoutingData
from routers.evaluation import Fold, by_fold, predict, rows_of
from serve.importing.routellm import EXPERTS
from serve.reporting.canvas import GREY, Curve, axes_of, colour_of, legend_by_height, new_figure
from serve.reporting.tables_in_docs import table
from serve.results.line_up import FAST_N, FAST_TWO, Entry
from serve.results.pools import POOLS
from serve.results.study import Section, Study, Told

__all__ = ["learning"]

SIZES = (100, 300, 1000, 3000, 9000)
DRAWS = 3


def learning(study: Study, sizes: Sequence[int] = SIZES) -> Section:
    """APGR on MMLU and quality on a pool, by the number of labelled prompts."""
    section = Section()
    section.say(
        f"Routers that learned from some prompts of four fifths of the set, drawn {DRAWS} times up to 1,000 and once "
        "beyond (mean, and in brackets the least and the most), judged on the other fifth."
    )
    mmlu = study.load("routellm-mmlu", "contaminated").select(EXPERTS)
    rows, at = _grown(study, mmlu, FAST_TWO, sizes, EXPERTS, study.within(0, 2))
    section.say("### APGR on RouteLLM's MMLU", rows)
    section.show("learning-mmlu", "APGR on MMLU by labelled prompts", _drawn(at, "APGR", 1.0, "a coin", 0.5))
    pool = POOLS["pool-small"]
    data = study.load(pool.source, experts=pool.experts)
    cost = data.cost().mean(axis=0)
    pair = (data.experts[int(cost.argmin())], data.experts[int(cost.argmax())])
    rows, at = _grown(study, data, FAST_N, sizes, pair, study.within(1, 2), quality=True)
    best = float(rows_of(data, by_fold(data, 5)[0].test).quality().mean(axis=0).max())
    section.say(f"### Quality in % on {pool.title} (best single expert: {100 * best:.1f})", rows)
    picture = _drawn(at, "mean quality, %", 100.0, "best single expert", 100 * best)
    section.show("learning-pool", f"Quality on {pool.title} by labelled prompts", picture)
    return section


def _grown(
    study: Study,
    data: RoutingData,
    entries: Sequence[Entry],
    sizes: Sequence[int],
    pair: tuple[str, str],
    told: Told,
    *,
    quality: bool = False,
) -> tuple[str, dict[str, dict[int, list[float]]]]:
    """A table, and by router and size the figures of all draws."""
    fold = by_fold(data, 5)[0]
    possible = [size for size in sizes if size <= len(fold.train)]
    judged = rows_of(data, fold.test)
    found: dict[str, dict[int, list[float]]] = {entry.label: {} for entry in entries}
    for place, size in enumerate(possible):
        for draw in range(DRAWS if size <= 1000 else 1):
            part = rows_of(data, _drawn_places(fold, size, study.seed + draw))
            for entry in entries:
                told(f"{entry.label}, {size:,} prompts", place / len(possible))
                router = entry.make(pair, study.seed).fit(part)
                said = predict(router, judged, timed=False)
                of = study.quick(judged, {entry.label: said}, pair).judgement.routers[entry.label]
                figure = of["own_choice"]["quality"] if quality else of["apgr"]
                found[entry.label].setdefault(size, []).append(figure)
    scale, digits = (100, 1) if quality else (1, 3)
    rows = [[name, *(_cell(of[size], scale, digits) for size in possible)] for name, of in found.items()]
    return table(["router", *(f"{size:,} prompts" for size in possible)], rows), found


def _drawn_places(fold: Fold, size: int, seed: int) -> NDArray[np.int64]:
    drawn: NDArray[np.int64] = np.sort(np.random.default_rng(seed).choice(fold.train, size=size, replace=False))
    return drawn


def _cell(values: Sequence[float], scale: float, digits: int) -> str:
    shown = f"{scale * float(np.mean(values)):.{digits}f}"
    if len(values) == 1:
        return shown
    return f"{shown} ({scale * min(values):.{digits}f}–{scale * max(values):.{digits}f})"


def _drawn(at: dict[str, dict[int, list[float]]], y: str, scale: float, line: str, height: float) -> Any:
    figure = new_figure(6.4, 3.6)
    axes = axes_of(figure, (1, 1, 1), x="labelled prompts", y=y)
    curves = [Curve(line, GREY, "--", height)]
    axes.axhline(height, color=GREY, linestyle="--", linewidth=1.2)
    for place, (name, of) in enumerate(at.items()):
        sizes, means = list(of), [scale * float(np.mean(values)) for values in of.values()]
        low, high = ([scale * pick(values) for values in of.values()] for pick in (min, max))
        axes.fill_between(sizes, low, high, color=colour_of(place), alpha=0.16, lw=0)
        axes.plot(sizes, means, "o-", color=colour_of(place), linewidth=1.6, markersize=3.5)
        curves.append(Curve(name, colour_of(place), "-", means[-1] if means else 0.0))
    axes.set_xscale("log")
    legend_by_height(axes, curves)
    return figure
