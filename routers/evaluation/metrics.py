"""The field's metrics of a quality-cost curve, for many resamples at once.

What RouteLLM (arXiv 2406.18665, section 3), Hybrid LLM (2404.14618) and RouterBench (2403.12031) define for one curve
is computed here for rows of curves. NaN stands for "not defined" everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ADVANTAGES",
    "TARGETS",
    "Curves",
    "apgr_exact",
    "apgr_steps",
    "average_quality",
    "calibration_error",
    "call_share_for",
    "cost_to_match",
    "quality_drop_at",
    "upper_hull",
]

FloatArray = NDArray[np.float64]

TARGETS = (50, 80, 95)
"""Shares of the performance gap, in percent, that CPT is reported for."""
ADVANTAGES = (10, 20, 40)
"""Cost advantages, in percent, that the quality drop is reported for (Hybrid LLM, table 1)."""

_STEPS = 10
_HULL_POINTS = 101
"""More points of one curve tell a hull nothing but noise, and cost time."""
_BINS = 15
_TIE = 1e-12


@dataclass(frozen=True)
class Curves:
    """Curves of one router, a row for each resample.

    Attributes:
        x: (n_resamples, n_points) how much is spent, from 0 (the small expert's) to 1 (the large one's), never falling:
            the share of large calls of two experts, else cost.
        quality: (n_resamples, n_points) mean quality.
        cost: (n_resamples, n_points) mean cost of an answer.
        small: (n_resamples,) mean quality of the small expert.
        large: (n_resamples,) mean quality of the large expert.
    """

    x: FloatArray
    quality: FloatArray
    cost: FloatArray
    small: FloatArray
    large: FloatArray

    def at(self, x: FloatArray) -> FloatArray:
        """Quality at amounts (m,), (n_resamples, m): straight between points, constant beyond the ends."""
        rows = [np.interp(x, a, b) for a, b in zip(self.x, self.quality, strict=True)]
        return np.array(rows).reshape(len(self.x), len(x))

    def recovered(self, quality: FloatArray) -> FloatArray:
        """PGR of qualities (n_resamples, m): the share of the gap between small and large that is recovered.

        NaN where the large expert is no better than the small one: there is no gap to recover.
        """
        gap = self.large - self.small
        with np.errstate(divide="ignore", invalid="ignore"):
            share = (quality - self.small[:, None]) / gap[:, None]
        share[gap <= _TIE] = np.nan
        return share


def apgr_steps(curves: Curves) -> FloatArray:
    """APGR as RouteLLM's public code has it: the trapezoid rule over ten equal steps of the large share.

    That code cuts at the deciles of the scores, which is the same up to ties and rounding; here tied scores share the
    mix. (The paper's formula, a plain mean over ten points, would give a coin .55 where its tables have .50.)
    """
    x = np.linspace(0, 1, _STEPS + 1)
    recovered = curves.recovered(curves.at(x))
    area = (recovered[:, :-1] + recovered[:, 1:]) / 2 * np.diff(x)
    total: FloatArray = area.sum(axis=1)
    return total


def apgr_exact(curves: Curves) -> FloatArray:
    """Area under PGR over the amount spent from 0 to 1, through every point of the curve."""
    x, quality = curves.x, curves.quality
    start, end = np.clip(x[:, :-1], 0, 1), np.clip(x[:, 1:], 0, 1)
    width = x[:, 1:] - x[:, :-1]
    slope = np.divide(np.diff(quality, axis=1), width, out=np.zeros_like(width), where=width > 0)
    middle = quality[:, :-1] + slope * ((start + end) / 2 - x[:, :-1])
    first = np.clip(x[:, 0], 0, 1) * quality[:, 0]
    rest = (1 - np.clip(x[:, -1], 0, 1)) * quality[:, -1]
    area = ((end - start) * middle).sum(axis=1) + first + rest
    return curves.recovered(area[:, None])[:, 0]


def call_share_for(curves: Curves, target: float) -> FloatArray:
    """CPT: the least share of large calls whose PGR reaches the target; NaN where none does.

    A curve need not be monotone: this is where it gets there first, also if it falls below again afterwards.
    """
    reached = curves.recovered(curves.quality)
    return _first_crossing(reached, np.full(len(reached), target), curves.x)


def cost_to_match(curves: Curves, quality: FloatArray, cost: FloatArray) -> FloatArray:
    """Least cost along the curve at which it is as good as an expert, as a share of that expert's cost.

    Args:
        curves: the curves.
        quality: (n_resamples,) the expert's mean quality.
        cost: (n_resamples,) the expert's mean cost.
    """
    needed = _first_crossing(curves.quality, quality, curves.cost)
    share: FloatArray = np.divide(needed, cost, out=np.full(len(cost), np.nan), where=cost > 0)
    return share


def quality_drop_at(curves: Curves, advantage: float) -> FloatArray:
    """Relative loss of quality against all-large where this share is kept off the large expert (Hybrid LLM)."""
    quality = curves.at(np.array([1 - advantage]))[:, 0]
    drop: FloatArray = np.divide(
        curves.large - quality, curves.large, out=np.full(len(quality), np.nan), where=curves.large > 0
    )
    return drop


def average_quality(curves: Curves, least: FloatArray, most: FloatArray) -> FloatArray:
    """RouterBench's AIQ: mean height of the curve's non-decreasing convex hull between two costs.

    Beyond its last point a hull stays where it is: nobody has to spend more. At most about a hundred points of a curve
    are taken, evenly along the sweep, since a hull goes by the luckiest ones.

    Args:
        curves: the curves.
        least: (n_resamples,) cost of the cheapest expert.
        most: (n_resamples,) cost of the dearest expert.
    """
    n_points = curves.x.shape[1]
    taken = np.unique(np.linspace(0, n_points - 1, min(n_points, _HULL_POINTS)).astype(np.int64))
    rows = zip(curves.cost[:, taken], curves.quality[:, taken], least, most, strict=True)
    return np.array([_mean_height(*upper_hull(cost, quality), low, high) for cost, quality, low, high in rows])


def upper_hull(cost: FloatArray, quality: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Costs and qualities of the corners of the non-decreasing convex hull over points (n,), by rising cost.

    What mixing the points by a coin can reach, without spending more for less.
    """
    order = np.lexsort((-quality, cost))
    corners: list[tuple[float, float]] = []
    for x, y in zip(cost[order].tolist(), quality[order].tolist(), strict=True):
        if corners and y <= corners[-1][1]:
            continue
        while len(corners) > 1 and _below(corners[-2], corners[-1], (x, y)):
            corners.pop()
        corners.append((x, y))
    xs, ys = zip(*corners, strict=True)
    return np.array(xs), np.array(ys)


def calibration_error(predicted: FloatArray, happened: FloatArray, weights: FloatArray) -> FloatArray:
    """Expected calibration error over 15 equal bins (Guo et al. 2017, arXiv 1706.04599), for each resample.

    The mean distance between what was predicted and what happened, prompts binned by the prediction. It is biased
    upward where bins hold few prompts.

    Args:
        predicted: (n_prompts, n_outcomes) in [0, 1].
        happened: the same shape, in [0, 1].
        weights: (n_resamples, n_prompts).
    """
    n, n_outcomes = predicted.shape
    bins = np.minimum((predicted * _BINS).astype(np.int64), _BINS - 1)
    gaps = np.zeros((n, _BINS))
    for outcome in range(n_outcomes):
        np.add.at(gaps, (np.arange(n), bins[:, outcome]), happened[:, outcome] - predicted[:, outcome])
    error: FloatArray = np.abs(weights @ gaps).sum(axis=1) / (weights.sum(axis=1) * n_outcomes)
    return error


def _first_crossing(height: FloatArray, target: FloatArray, x: FloatArray) -> FloatArray:
    """Where rows of heights first reach their target, by straight lines between points; NaN: nowhere."""
    with np.errstate(invalid="ignore"):
        reached = height >= target[:, None] - _TIE
    rows, place = np.arange(len(height)), reached.argmax(axis=1)
    before = np.maximum(place - 1, 0)
    low, high = height[rows, before], height[rows, place]
    rise = high - low
    part = np.divide(target - low, rise, out=np.ones_like(rise), where=rise > 0)
    found = x[rows, before] + np.clip(part, 0, 1) * (x[rows, place] - x[rows, before])
    return np.where(reached.any(axis=1), found, np.nan)


def _below(left: tuple[float, float], middle: tuple[float, float], right: tuple[float, float]) -> bool:
    """Whether the middle point is on or below the line from left to right."""
    rise, run = right[1] - left[1], right[0] - left[0]
    return (middle[1] - left[1]) * run <= rise * (middle[0] - left[0])


def _mean_height(cost: FloatArray, quality: FloatArray, least: float, most: float) -> float:
    if most <= least:
        return float(np.interp(most, cost, quality))
    inside = (cost > least) & (cost < most)
    x = np.concatenate([[least], cost[inside], [most]])
    return float(np.trapezoid(np.interp(x, cost, quality), x) / (most - least))
