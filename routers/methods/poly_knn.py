"""PolyRouter's kNN (arXiv 2408.12320): how well did each expert do on the training prompts most like this one?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from routers.base import Prediction, Progress, RouterState
from routers.errors import ArtifactError
from routers.featured import FeatureRouter
from routers.features import FeatureSpec, FloatArray, Rows, checked_tensor, unit_rows
from routers.learning.choices import best_two, certainty
from routers.learning.neighbours import nearest, similarities

if TYPE_CHECKING:
    from routers.data import RoutingData

__all__ = ["PolyKnnRouter"]

_NEAREST = 0.01
_GRID = (5, 10, 20, 40, 70, 100, 150, 200, 300)
_MOST_TRIALS = 2000


class PolyKnnRouter(FeatureRouter):
    """Predicts each expert's quality as the weighted mean over the k most similar training prompts.

    Similarity is the cosine of dense features; a neighbour at cosine distance d = 1 - cos weighs 1 / max(d, 0.01).
    The floor keeps a copy of a training prompt from deciding alone, one noisy label for all. All training prompts as
    near as the k-th count, so that equal prompts are never told apart by chance. The choice is the best predicted
    quality, less `cost_weight` times predicted cost (the rule of arXiv 2505.12601, which takes k around 100 and finds
    that it often matches learned routers); of equals the expert that is cheaper on average.

    Confidence is 2 Phi(z) - 1, with z the chosen expert's lead over the runner-up in standard errors: the weighted
    variance of the neighbours' paired differences, over the effective number of neighbours (sum w)^2 / sum w^2, and
    one prior observation of variance 1, so that few neighbours that agree are not certainty.

    What differs from the papers: qualities are any in [0, 1], not BERT similarities; costs are predicted likewise.

    Args:
        k: neighbours, or fewer where the data has fewer; None: of nine values from 5 to 300, the one that predicts the
            quality of left-out training prompts with the least squared error, tried on at most 2,000 of them.
        cost_weight: predicted quality that an expert is allowed to fall behind when it saves the mean cost of the
            dearest one; 0: quality only.
        adapt_weight: how many training prompts a prompt given to `adapt` counts for.
        features: which features are compared; their rows must be dense. More dimensions take more time with every
            training prompt, and more than 64 were no better on MMLU-Pro.
        side: names of the side information to read beside the text.
        seed: of the features, and of the prompts that k is tried on.

    Attributes:
        k_: neighbours that are asked for.
        rows_: (n_prompts, n_dimensions) float32, features of the training prompts, of unit length or zero, column by
            column in memory, in which a product with one prompt takes two thirds of the time.
        quality_: (n_prompts, n_experts) float32.
        spent_: (n_prompts, n_experts) float32, cost of their answers.
        weight_: (n_prompts,) float32, what each prompt counts for.
    """

    name: ClassVar[str] = "poly-knn"
    paper: ClassVar[str] = "PolyRouter, arXiv 2408.12320; kNN, arXiv 2505.12601"
    dense_features: ClassVar[bool] = True
    describes: ClassVar[str] = "The expert that did best on the training prompts most like this one."

    def __init__(
        self,
        *,
        k: Annotated[int, Field(ge=1, le=100_000)] | None = 100,
        cost_weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0,
        adapt_weight: Annotated[float, Field(gt=0, le=1e6)] = 1.0,
        features: FeatureSpec = "tfidf-svd:64",
        side: list[str] | None = None,
        seed: Annotated[int, Field(ge=0, lt=2**32)] = 0,
    ) -> None:
        self.k = k
        self.cost_weight = cost_weight
        self.adapt_weight = adapt_weight
        self.features = features
        self.side = side
        self.seed = seed

    def _fit(self, data: RoutingData, progress: Progress) -> None:
        progress("features", 0.0)
        self.rows_ = np.asfortranarray(unit_rows(np.asarray(self._learn_features(data))))
        self.quality_ = data.quality().astype(np.float32)
        self.spent_ = data.cost().astype(np.float32)
        self.weight_ = np.ones(len(self.rows_), dtype=np.float32)
        progress("neighbours", 0.8)
        self.k_ = self._best_k() if self.k is None else self.k
        self.summary_ = {"training_prompts": len(self.rows_), "k": self.k_}
        progress("neighbours", 1.0)

    def _adapt(self, data: RoutingData, progress: Progress) -> None:
        """The new prompts become neighbours beside the old ones, each for `adapt_weight` of them; k stays."""
        rows = unit_rows(np.asarray(self._rows_of(data)))
        self.rows_ = np.asfortranarray(np.concatenate([self.rows_, rows]))
        self.quality_ = np.concatenate([self.quality_, data.quality().astype(np.float32)])
        self.spent_ = np.concatenate([self.spent_, data.cost().astype(np.float32)])
        self.weight_ = np.concatenate([self.weight_, np.full(len(rows), self.adapt_weight, dtype=np.float32)])
        progress("neighbours", 1.0)

    def predict_cost(self, prompts: Sequence[str]) -> FloatArray:
        """Mean cost of the neighbours' answers, weighed like quality: (n, n_experts) float32 for prompts (n,).

        Raises:
            NotFittedError: the router has not been trained.
        """
        self.check_fitted()
        rows = unit_rows(np.asarray(self.features_.transform(prompts)))
        found = [self._neighbours(similarity) for block in similarities(rows, self.rows_) for similarity in block]
        return self._mean_of(self.spent_, found)

    def _predict_rows(self, rows: Rows) -> Prediction:
        asked = unit_rows(np.asarray(rows))
        found = [self._neighbours(similarity) for block in similarities(asked, self.rows_) for similarity in block]
        quality = self._mean_of(self.quality_, found)
        worth = self.cost_weight / (float(self.cost_.max()) or 1.0)
        value = quality - np.float32(worth) * self._mean_of(self.spent_, found) if worth else quality
        first, second = best_two(value, self.cost_)
        around, weight = _side_by_side(found)
        ahead = self.quality_[around, first[:, None]] - self.quality_[around, second[:, None]]
        if worth:
            ahead -= np.float32(worth) * (self.spent_[around, first[:, None]] - self.spent_[around, second[:, None]])
        lead, share = (weight * ahead).sum(axis=1), (weight * weight).sum(axis=1)
        variance = (np.maximum((weight * ahead**2).sum(axis=1) - lead**2, 0.0) + share) * share
        confidence = certainty(lead, variance) if len(self.experts_) > 1 else np.ones(len(found), dtype=np.float32)
        # np.clip takes longer than both for as little as this.
        quality = np.minimum(np.maximum(quality, 0.0, out=quality), 1.0, out=quality)
        return Prediction(quality=quality, choice=first, confidence=confidence)

    def _neighbours(self, similarity: FloatArray) -> tuple[NDArray[np.int64], FloatArray]:
        """Places of the neighbours and their weights, which sum to 1."""
        around = nearest(similarity, self.k_)
        weight = self.weight_.take(around) / np.maximum(1.0 - similarity.take(around), _NEAREST)
        weight /= weight.sum()
        return around, weight

    def _mean_of(self, table: FloatArray, found: list[tuple[NDArray[np.int64], FloatArray]]) -> FloatArray:
        """Weighted mean of the neighbours' rows of a table, (n, n_experts)."""
        means = np.empty((len(found), table.shape[1]), dtype=np.float32)
        for row, (around, weight) in enumerate(found):
            np.dot(weight, table.take(around, axis=0), out=means[row])
        return means

    def _best_k(self) -> int:
        n = len(self.rows_)
        candidates = np.array([k for k in _GRID if k < n] or [1])
        if n < 3:
            return 1
        most = int(candidates[-1])
        asked = np.random.default_rng(self.seed).permutation(n)[:_MOST_TRIALS]
        error = np.zeros(len(candidates))
        compared = (similarity for block in similarities(self.rows_[asked], self.rows_) for similarity in block)
        for place, similarity in zip(asked, compared, strict=True):
            similarity[place] = -np.inf
            around = np.argpartition(similarity, n - most)[n - most :]
            around = around[np.argsort(-similarity[around])]
            weight = 1.0 / np.maximum(1.0 - similarity[around], _NEAREST)
            means = np.cumsum(weight[:, None] * self.quality_[around], axis=0) / np.cumsum(weight)[:, None]
            error += ((means[candidates - 1] - self.quality_[place]) ** 2).sum(axis=1)
        return int(candidates[error.argmin()])

    def state(self) -> RouterState:
        """What was learned, for saving."""
        # Saving takes numbers as they lie in memory.
        rows = np.ascontiguousarray(self.rows_)
        tables = {"rows": rows, "quality": self.quality_, "spent": self.spent_, "weight": self.weight_}
        return self._feature_state({"k": self.k_}, tables)

    def restore(self, state: RouterState) -> None:
        """Take what `state` gave.

        Raises:
            ArtifactError: a value or tensor is missing or of the wrong type, shape or range.
        """
        self.k_ = int(state.number("k"))
        n_dimensions = self._restore_features(state)
        self.rows_ = np.asfortranarray(checked_tensor(state.tensors, "rows", np.float32, (None, n_dimensions)))
        n_prompts, n_experts = len(self.rows_), len(self.experts_)
        self.quality_ = checked_tensor(state.tensors, "quality", np.float32, (n_prompts, n_experts))
        self.spent_ = checked_tensor(state.tensors, "spent", np.float32, (n_prompts, n_experts))
        self.weight_ = checked_tensor(state.tensors, "weight", np.float32, (n_prompts,))
        if self.k_ < 1 or not n_prompts or (self.weight_ <= 0).any():
            raise ArtifactError("The neighbours of the router do not fit together: train and save it again.")


def _side_by_side(found: list[tuple[NDArray[np.int64], FloatArray]]) -> tuple[NDArray[np.int64], FloatArray]:
    """Places and weights of all prompts' neighbours, (n, most neighbours) each; of who has fewer, the rest weighs 0."""
    if len(found) == 1:
        return found[0][0][None], found[0][1][None]
    most = max((len(around) for around, _ in found), default=0)
    places, weights = np.zeros((len(found), most), dtype=np.int64), np.zeros((len(found), most), dtype=np.float32)
    for row, (around, weight) in enumerate(found):
        places[row, : len(around)] = around
        weights[row, : len(weight)] = weight
    return places, weights
