"""Routers and baselines on the same prompts: every metric with its interval, and how sure the differences are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routers.base import Progress
from routers.evaluation.exam import Entrant, Exam, baselines, of_plan, of_router
from routers.evaluation.folds import Predictions
from routers.evaluation.metrics import (
    ADVANTAGES,
    TARGETS,
    apgr_exact,
    apgr_steps,
    average_quality,
    call_share_for,
    cost_to_match,
    quality_drop_at,
)
from routers.evaluation.plans import PlanRun
from routers.evaluation.resampling import draws, interval, p_value

__all__ = ["Difference", "Judgement", "judge"]

FloatArray = NDArray[np.float64]

_CURVE_POINTS = 101
_COMPARED = ("apgr", "aiq", "quality")
_BESIDE = ("random", "length", "zero-router")


@dataclass(frozen=True)
class Difference:
    """How much more one entrant has of a metric than another, on the same resamples.

    Attributes:
        first: name of a router.
        second: name of another, or of a baseline.
        metric: "apgr", "aiq", or "quality" of its own choice.
        difference: of first minus second.
        ci95: its 95 % interval; None where it has none.
        p: two-sided p-value of no difference, of this comparison alone; None where there is none.
    """

    first: str
    second: str
    metric: str
    difference: float
    ci95: tuple[float, float] | None
    p: float | None


@dataclass(frozen=True)
class _Measured:
    """An entrant's metrics on the prompts as they are, and in every resample, (n_resamples,) each."""

    entrant: Entrant
    point: dict[str, float]
    resampled: dict[str, FloatArray]


@dataclass(frozen=True)
class Judgement:
    """Everything that is reported.

    Attributes:
        n_prompts: judged prompts.
        experts: mean quality and cost of each expert.
        small: expert where PGR is 0.
        large: expert where PGR is 1.
        best: best single expert.
        axis: what the amount spent is: "share" of large calls, or "cost".
        routers: by name its metrics, their `ci95` in the same form, and points of its `curve`; None: not defined.
        baselines: likewise.
        paired: differences between routers, and between routers and baselines, except a baseline that a router has
            the name of.
    """

    n_prompts: int
    experts: dict[str, dict[str, float]]
    small: str
    large: str
    best: str
    axis: str
    routers: dict[str, dict[str, Any]]
    baselines: dict[str, dict[str, Any]]
    paired: list[Difference]


def judge(
    exam: Exam,
    predictions: Mapping[str, Predictions],
    plans: Mapping[str, PlanRun] | None = None,
    *,
    n_resamples: int = 1000,
    seed: int = 0,
    progress: Progress | None = None,
) -> Judgement:
    """Measure routers and baselines on the prompts of an exam.

    Intervals are those of the bootstrap over prompts. They tell how far a figure moves with the prompts that happened
    to be judged, with these trained routers; not how far it moves with other training data or another seed.

    Args:
        exam: the judged prompts.
        predictions: of each router for these prompts, by name.
        plans: what each plan would have done with these prompts, by name; they come after the routers, among them.
        n_resamples: bootstrap resamples.
        seed: of the resamples.
        progress: told of every batch of resamples.

    Raises:
        ParameterError: there are fewer than 2 resamples.
    """
    routers = [of_router(name, exam, predicted) for name, predicted in predictions.items()]
    routers += [of_plan(name, exam, run) for name, run in (plans or {}).items()]
    beside = baselines(exam)
    measured = _everything(exam, [*routers, *beside], n_resamples, seed, progress)
    of_routers, of_baselines = measured[: len(routers)], measured[len(routers) :]
    experts = exam.data.experts
    return Judgement(
        n_prompts=len(exam.quality),
        experts={
            expert: {"quality": float(exam.quality[:, i].mean()), "cost": float(exam.cost[:, i].mean())}
            for i, expert in enumerate(experts)
        },
        small=experts[exam.small],
        large=experts[exam.large],
        best=experts[exam.best],
        axis="share" if exam.shares else "cost",
        routers={of.entrant.name: _described(exam, of) for of in of_routers},
        baselines={of.entrant.name: _described(exam, of) for of in of_baselines},
        paired=_differences(of_routers, of_baselines, f"expert:{experts[exam.best]}"),
    )


def _everything(
    exam: Exam, entrants: list[Entrant], n_resamples: int, seed: int, progress: Progress | None
) -> list[_Measured]:
    """Every metric of every entrant, on the prompts as they are and in every resample."""
    parts: list[list[dict[str, FloatArray]]] = [[] for _ in entrants]
    done = 0
    for weights in draws(exam.data.texts, n_resamples, seed):
        for place, entrant in enumerate(entrants):
            parts[place].append(_measure(exam, entrant, weights))
            if progress is not None:
                progress("resamples", (done + len(weights) * (place + 1) / len(entrants)) / n_resamples)
        done += len(weights)
    once = np.ones((1, len(exam.quality)))
    measured = []
    for entrant, of in zip(entrants, parts, strict=True):
        point = {metric: float(values[0]) for metric, values in _measure(exam, entrant, once).items()}
        resampled = {metric: np.concatenate([part[metric] for part in of]) for metric in point}
        measured.append(_Measured(entrant, point, resampled))
    return measured


def _measure(exam: Exam, entrant: Entrant, weights: FloatArray) -> dict[str, FloatArray]:
    """Metrics of one entrant, (n_resamples,) each."""
    qualities, costs = exam.means(weights)
    found = {name: measure(weights) for name, measure in entrant.errors.items()}
    if entrant.choice is not None:
        total = weights.sum(axis=1)
        large = qualities[:, exam.large]
        quality = weights @ entrant.choice.quality / total
        found["quality"] = quality
        found["cost"] = weights @ entrant.choice.cost / total
        found["cost_advantage"] = weights @ (1 - entrant.choice.large) / total
        found["own_drop"] = np.divide(large - quality, large, out=np.full(len(large), np.nan), where=large > 0)
    if entrant.curves is None:
        return found
    curves = entrant.curves(weights)
    found |= {"apgr": apgr_steps(curves), "apgr_exact": apgr_exact(curves)}
    found |= {f"cpt{target}": call_share_for(curves, target / 100) for target in TARGETS}
    found |= {f"quality_drop.{share}": quality_drop_at(curves, share / 100) for share in ADVANTAGES}
    found["aiq"] = average_quality(curves, costs.min(axis=1), costs.max(axis=1))
    found["cost_to_match_best"] = cost_to_match(curves, qualities[:, exam.best], costs[:, exam.best])
    return found


def _described(exam: Exam, of: _Measured) -> dict[str, Any]:
    """One entrant as JSON values, with the same keys for everyone; None where something is not defined for it."""
    point = {metric: _number(value) for metric, value in of.point.items()}
    limits = {metric: interval(values) for metric, values in of.resampled.items()}
    ci95 = {m: list(held) for m, held in limits.items() if held is not None and point[m] is not None}
    facts = {"decisions_per_s": None, "train_s": None} | of.entrant.facts
    return {**_nested(point), **facts, "ci95": _nested(ci95), "curve": _curve(exam, of.entrant)}


def _curve(exam: Exam, entrant: Entrant) -> dict[str, list[float]] | None:
    """About a hundred points of the curve, evenly along the sweep."""
    if entrant.curves is None:
        return None
    curves = entrant.curves(np.ones((1, len(exam.quality))))
    n_points = curves.x.shape[1]
    taken = np.unique(np.linspace(0, n_points - 1, min(n_points, _CURVE_POINTS)).astype(np.int64))
    return {name: getattr(curves, name)[0, taken].tolist() for name in ("x", "quality", "cost")}


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    names = ["apgr", "apgr_exact", *(f"cpt{target}" for target in TARGETS), "aiq", "cost_to_match_best"]
    nested = {name: flat.get(name) for name in names}
    nested["quality_drop"] = {str(share): flat.get(f"quality_drop.{share}") for share in ADVANTAGES}
    own = {"quality": "quality", "cost": "cost", "quality_drop": "own_drop", "cost_advantage": "cost_advantage"}
    nested["own_choice"] = {name: flat.get(key) for name, key in own.items()}
    return nested | {name: flat.get(name) for name in ("ece_quality", "ece_score")}


def _differences(routers: list[_Measured], beside: list[_Measured], best: str) -> list[Difference]:
    names = {router.entrant.name for router in routers}
    compared = [of for of in beside if of.entrant.name in {*_BESIDE, best} - names]
    pairs = [*combinations(routers, 2), *((router, other) for router in routers for other in compared)]
    found = []
    for first, second in pairs:
        for metric in _COMPARED:
            if metric not in first.point or metric not in second.point:
                continue
            difference = _number(first.point[metric] - second.point[metric])
            if difference is not None:
                moved = first.resampled[metric] - second.resampled[metric]
                two = (first.entrant.name, second.entrant.name)
                found.append(Difference(*two, metric, difference, interval(moved), p_value(moved)))
    return found


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
