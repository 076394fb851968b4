"""The settings that a calibration chooses among, and what each prompt's expert would be under each of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from routers.base import Prediction, Router, TwoModelRouter

if TYPE_CHECKING:
    from routers.evaluation import Predictions

__all__ = ["Scored", "SettingName"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
SettingName = Literal["threshold", "quality_cost"]

_STEPS = 100
_DIGITS = 6
_TIE = 1e-6


@dataclass(frozen=True)
class Scored:
    """What a router says of n prompts, as far as a threshold or a trade-off makes a choice of it.

    Attributes:
        name: what can be set.
        score: (n,) of two-model routers, how likely the large expert is needed; empty for others.
        quality: (n, n_experts) predicted quality.
        cost: (n_experts,) mean cost of an answer in the training data.
        fallback: column of the fallback expert; of two-model routers the large one.
        forced: (n,) prompts that go to the fallback whatever is set, because they are unlike the training prompts.
    """

    name: SettingName
    score: FloatArray
    quality: FloatArray
    cost: FloatArray
    fallback: int
    forced: NDArray[np.bool_]

    @classmethod
    def by(cls, router: Router, prediction: Prediction) -> Scored:
        """A trained router's prediction, its novelty limit applied as `choose` does."""
        n, limit = len(prediction.quality), router.novelty_limit_
        far = None if limit is None or prediction.novelty is None else prediction.novelty.astype(np.float64) > limit
        two = isinstance(router, TwoModelRouter) and prediction.large_needed is not None
        return cls(
            "threshold" if two else "quality_cost",
            np.asarray(prediction.large_needed if two else np.empty(0), dtype=np.float64),
            prediction.quality.astype(np.float64),
            router.cost_,
            router.experts_.index(router.fallback_),
            np.zeros(n, dtype=np.bool_) if far is None else far,
        )

    @classmethod
    def unseen(cls, predicted: Predictions, columns: tuple[int, ...], fallback: int) -> Scored:
        """Cross-validated predictions for these columns; `fallback` is a place among them.

        Scores of routers trained on other folds have scales of their own, so each becomes its rank in its fold.
        """
        two = predicted.score is not None
        score = np.empty(0) if predicted.score is None else _ranked(predicted.score, predicted.part)
        n = len(predicted.quality)
        chosen = list(columns)
        return cls(
            "threshold" if two else "quality_cost",
            score,
            predicted.quality[:, chosen],
            predicted.cost[chosen],
            fallback,
            np.zeros(n, dtype=np.bool_),
        )

    def take(self, rows: IntArray) -> Scored:
        """The same for some of the prompts."""
        score = self.score[rows] if self.name == "threshold" else self.score
        return Scored(self.name, score, self.quality[rows], self.cost, self.fallback, self.forced[rows])

    def grid(self) -> FloatArray:
        """About a hundred settings, rising from 0, that move about equally many prompts each.

        They come from what the router says, never from labels: choosing them costs the promise nothing.
        """
        at = np.linspace(0, 1, _STEPS + 1)
        if self.name == "threshold":
            return np.unique(np.round([0.0, *np.quantile(self.score, at), 1.0], _DIGITS))
        from routers.evaluation.paths import trade_off_path

        path = trade_off_path(self.quality, self.cost)
        keys = np.repeat(path.keys, np.diff(path.ends, prepend=0)) * (self.cost.max() or 1.0)
        if not len(keys):
            return np.zeros(1)
        return np.unique(np.round([0.0, *np.quantile(keys, at), keys.max() * 1.01 + 1e-3], _DIGITS))

    def choices(self, setting: float) -> IntArray:
        """(n,) column of each prompt's expert, as `choose` would have it."""
        chosen: IntArray
        if self.name == "threshold":
            chosen = (self.score >= setting).astype(np.int64)
        else:
            value = self.quality - setting * self.cost / (self.cost.max() or 1.0)
            best = value >= value.max(axis=1, keepdims=True) - _TIE
            chosen = np.where(best, self.cost, np.inf).argmin(axis=1)
        return np.where(self.forced, self.fallback, chosen)


def _ranked(score: FloatArray, part: IntArray | None) -> FloatArray:
    if part is None:
        return score
    ranked = np.empty(len(score))
    for name in np.unique(part):
        mine = np.flatnonzero(part == name)
        ordered = np.sort(score[mine])
        ranked[mine] = np.searchsorted(ordered, score[mine]) / len(mine)
    return ranked
