"""How good and how dear a router's choices are on labelled prompts, and which threshold to ship."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from routers.base import Router, TwoModelRouter, check_complete
from routers.errors import ParameterError
from routers.policy import Policy, check_policy, choose

if TYPE_CHECKING:
    from routers.data import RoutingData

__all__ = ["Outcome", "ThresholdPoint", "choose_threshold", "evaluate", "sweep_thresholds"]

FloatArray = NDArray[np.float64]

_MOST_THRESHOLDS = 200


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a policy did on labelled prompts.

    Attributes:
        n_prompts: number of prompts.
        quality: mean quality of the chosen experts' answers, over all their samples.
        cost: mean cost of an answer.
        reference: the expert that everything is compared with.
        quality_drop: relative loss of quality against sending everything to the reference.
        cost_advantage: share of prompts kept off the reference.
        shares: share of prompts by expert.
    """

    n_prompts: int
    quality: float
    cost: float
    reference: str
    quality_drop: float
    cost_advantage: float
    shares: dict[str, float]


@dataclass(frozen=True, slots=True)
class ThresholdPoint:
    """What one threshold of a two-model router did on labelled prompts.

    Attributes:
        threshold: prompts with at least this score went to the large expert.
        quality: mean quality.
        cost: mean cost of an answer.
        quality_drop: relative loss of quality against all-large.
        quality_drop_bound: one-sided upper confidence bound of that loss, from a bootstrap over prompts.
        cost_advantage: share of prompts kept off the large expert.
    """

    threshold: float
    quality: float
    cost: float
    quality_drop: float
    quality_drop_bound: float
    cost_advantage: float


def evaluate(
    router: Router, data: RoutingData, policy: Policy | None = None, *, reference: str | None = None
) -> Outcome:
    """Let the router choose for every prompt of the data, under the policy.

    Args:
        router: a trained router; the data needs an answer of each of its experts to every prompt.
        data: labelled prompts.
        policy: what to make of the predictions.
        reference: expert to compare with; None: the large one of a two-model router, else the dearest.

    Raises:
        DataError: an answer is missing.
        ParameterError: the policy cannot be followed with this router, or it does not know the reference.
    """
    policy = policy or Policy()
    check_policy(router, policy)
    if reference is None:
        large = isinstance(router, TwoModelRouter)
        reference = router.fallback_ if large else router.experts_[int(router.cost_.argmax())]
    if reference not in router.experts_:
        known = ", ".join(router.experts_)
        raise ParameterError(f"The reference {reference!r} is unknown to the router: it knows {known}.")
    quality, cost = _labels(router, data)
    prediction = router.predict(_inputs(router, data))
    chosen = [choose(router, prediction, row, policy).expert for row in range(len(quality))]
    column = np.array([router.experts_.index(expert) for expert in chosen])
    rows = np.arange(len(column))
    compared = router.experts_.index(reference)
    return Outcome(
        n_prompts=len(column),
        quality=float(quality[rows, column].mean()),
        cost=float(cost[rows, column].mean()),
        reference=reference,
        quality_drop=float(_drop(quality[rows, column].mean(), quality[:, compared].mean())),
        cost_advantage=float((column != compared).mean()),
        shares={expert: float((column == i).mean()) for i, expert in enumerate(router.experts_)},
    )


def sweep_thresholds(
    router: TwoModelRouter,
    data: RoutingData,
    *,
    confidence: float = 0.95,
    n_resamples: int = 1000,
    seed: int = 0,
) -> list[ThresholdPoint]:
    """What thresholds from 0 (all to the large expert) to 1 would do, at most about 200, rising.

    Raises:
        DataError: an answer is missing.
        ParameterError: the confidence or the number of resamples is out of range.
    """
    if not 0 < confidence < 1 or n_resamples < 1:
        raise ParameterError("Bounds need a confidence between 0 and 1, and at least 1 resample.")
    quality, cost = _labels(router, data)
    score = router.predict_large_needed(_inputs(router, data))
    steps = np.quantile(score, np.linspace(0, 1, _MOST_THRESHOLDS))
    thresholds = np.unique(np.round([0.0, *steps, 1.0], 4))
    to_large = score[:, None] >= thresholds
    routed = np.where(to_large, quality[:, 1:], quality[:, :1])
    paid = np.where(to_large, cost[:, 1:], cost[:, :1])
    bound = np.quantile(_resampled_drops(routed, quality[:, 1], n_resamples, seed), confidence, axis=0)
    drop = _drop(routed.mean(axis=0), quality[:, 1].mean())
    columns = (thresholds, routed.mean(axis=0), paid.mean(axis=0), drop, bound, 1 - to_large.mean(axis=0))
    return [ThresholdPoint(*map(float, point)) for point in zip(*columns, strict=True)]


def choose_threshold(points: Sequence[ThresholdPoint], max_drop: float = 0.01) -> ThresholdPoint:
    """The point with the largest cost advantage whose quality drop stays within `max_drop` even at its bound.

    Hybrid LLM takes the drop itself and overshoots on new prompts; the bound is the margin against that.

    Args:
        points: what `sweep_thresholds` gave. Its first, threshold 0, sends everything to the large expert and
            so
            always qualifies.
        max_drop: relative loss of quality allowed, >= 0.

    Raises:
        ParameterError: no point qualifies.
    """
    within = [point for point in points if point.quality_drop_bound <= max_drop]
    if not within:
        raise ParameterError(f"No threshold keeps the quality drop within {max_drop:g}: allow 0 or more.")
    return max(within, key=lambda point: (point.cost_advantage, -point.threshold))


def _inputs(router: Router, data: RoutingData) -> list[str]:
    """The prompts, with the side information that the router reads."""
    return data.inputs(getattr(router, "side", None))


def _labels(router: Router, data: RoutingData) -> tuple[FloatArray, FloatArray]:
    """Quality and cost of the router's experts, (n_prompts, n_experts) each."""
    router.check_fitted()
    mine = data.select(router.experts_)
    check_complete(mine)
    return mine.quality(), mine.cost()


def _drop(quality: FloatArray, reference: FloatArray) -> FloatArray:
    drop: FloatArray = (reference - quality) / np.maximum(reference, np.finfo(float).tiny)
    return drop


def _resampled_drops(routed: FloatArray, large: FloatArray, n_resamples: int, seed: int) -> FloatArray:
    """Quality drops in bootstrap resamples of the prompts, (n_resamples, n_thresholds)."""
    rng = np.random.default_rng(seed)
    n = len(large)
    drops = np.empty((n_resamples, routed.shape[1]))
    for i in range(n_resamples):
        times = np.bincount(rng.integers(n, size=n), minlength=n)
        drops[i] = _drop(times @ routed / n, times @ large / n)
    return drops
