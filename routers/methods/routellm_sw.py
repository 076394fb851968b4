"""RouteLLM's similarity-weighted ranking (arXiv 2406.18665, section 4.2): Bradley-Terry anew for every request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from routers.base import Prediction, Progress, RouterState
from routers.errors import ArtifactError
from routers.features import FeatureSpec, FloatArray, Rows, Tensors, checked_tensor, unit_rows
from routers.learning.bradley_terry import battle_table, similarity_weights, strengths
from routers.methods.routellm import BattleRouter

if TYPE_CHECKING:
    from routers.data import RoutingData

__all__ = ["SimilarityWeightedRouter"]

_TOGETHER = 128
"""Requests weighed together, so that a batch needs little memory."""
_MOST_FOR_THRESHOLD = 2000
_LEAST_SIMILARITY = -1.0


class SimilarityWeightedRouter(BattleRouter):
    """Ranks the experts anew for each request, with battles on similar prompts weighing more.

    A battle on a prompt of cosine similarity s to the request weighs omega = gamma^(1 + s / max s). Under these weights
    the Bradley-Terry strengths xi are fitted, and the score is Pr(large wins) = sigmoid(xi_large - xi_small). Predicted
    qualities are the means over the training prompts under the same weights.

    The paper takes a third of a second a request, for it fits a logistic regression over all battles. The loss depends
    on the battles only through the total weight with which each expert beat each other one; this router sums these
    totals by one product of the weights with the table of battles, and minimises exactly (`strengths`).

    What differs from the paper:

    - Ten tiers stand there for 64 models of which few ever met. Here every training prompt has a battle of the small
      and the large expert itself, so these are all that it needs (`battles="pair"`). With "all" the data's other
      experts fight too, as models of the paper do, each for itself and without tiers: then results against third
      experts count as well, as far as strengths are transitive. Each further expert makes a decision dearer.
    - An L2 penalty keeps strengths finite where one expert wins everything; the public code has none. At C = 1 it is
      hardly felt beside thousands of battles, each of which weighs at least 1 where s >= -max s.

    Args:
        small: id of the small expert; None: the cheapest of the data.
        large: id of the large expert; None: the dearest of the data.
        features: which features similarities are taken of; their rows must be dense.
        side: names of the side information to read beside the text.
        battles: "pair" for battles of the two experts, "all" for those among all experts of the data.
        gamma: base of the weights (RouteLLM: 10); 1 weighs all battles alike.
        C: inverse strength of the L2 penalty on the strengths.
        large_share: share of the training prompts that `threshold_` sends to the large expert.
        seed: of the features, and of the training prompts that the threshold is learned from where there are many.

    Attributes:
        rows_: (n_prompts, n_features) float32, features of the training prompts, of unit length.
        battles_: (n_prompts, n_contenders, n_contenders) float32, see `battle_table`.
        quality_: (n_prompts, 2) float32, mean qualities of the small and the large expert.
        strengths_: (n_contenders,) strengths under equal weights, where the fit for a request begins.
    """

    name: ClassVar[str] = "routellm-sw"
    describes: ClassVar[str] = "How likely the large model wins, from battles on similar prompts."

    rows_: FloatArray
    battles_: FloatArray
    quality_: FloatArray
    strengths_: NDArray[np.float64]

    def __init__(
        self,
        *,
        small: str | None = None,
        large: str | None = None,
        features: FeatureSpec = "tfidf-svd",
        side: list[str] | None = None,
        battles: Literal["pair", "all"] = "pair",
        gamma: Annotated[float, Field(ge=1, le=10_000)] = 10.0,
        C: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0,
        large_share: Annotated[float, Field(ge=0, le=1)] = 0.5,
        seed: Annotated[int, Field(ge=0, lt=2**32)] = 0,
    ) -> None:
        self.small = small
        self.large = large
        self.features = features
        self.side = side
        self.battles = battles
        self.gamma = gamma
        self.C = C
        self.large_share = large_share
        self.seed = seed

    def _fit(self, data: RoutingData, progress: Progress) -> None:
        progress("battles", 0.0)
        self.battles_ = self._learn_battles(data)
        self.quality_ = data.quality()[:, :2].astype(np.float32)
        progress("features", 0.3)
        self.rows_ = unit_rows(np.asarray(self._learn_features(data)))
        progress("threshold", 0.8)
        self._learn_start()
        self._set_threshold(self._left_out_scores())
        self.summary_ = {
            "training_prompts": len(self.rows_),
            "contenders": list(self.contenders_),
            "mean_label": float(self.battles_[:, 1, 0].mean()),
        }
        progress("threshold", 1.0)

    def _adapt(self, data: RoutingData, progress: Progress) -> None:
        """Battles of the two experts on the new prompts join those that are there."""
        rows = unit_rows(np.asarray(self._rows_of(data)))
        battles = np.zeros((len(rows), *self.battles_.shape[1:]), dtype=np.float32)
        battles[:, :2, :2] = battle_table(data)
        self.rows_ = np.concatenate([self.rows_, rows])
        self.battles_ = np.concatenate([self.battles_, battles])
        self.quality_ = np.concatenate([self.quality_, data.quality().astype(np.float32)])
        self._learn_start()
        progress("battles", 1.0)

    def _predict_rows(self, rows: Rows) -> Prediction:
        unit = unit_rows(np.asarray(rows))
        needed, quality = np.zeros(len(unit), dtype=np.float32), np.zeros((len(unit), 2), dtype=np.float32)
        for begin in range(0, len(unit), _TOGETHER):
            part = slice(begin, begin + _TOGETHER)
            weights = similarity_weights(unit[part] @ self.rows_.T, self.gamma)
            needed[part] = self._large_wins(weights)
            quality[part] = weights @ self.quality_ / weights.sum(axis=1, keepdims=True)
        return Prediction(quality=np.clip(quality, 0.0, 1.0), large_needed=needed)

    def _large_wins(self, weights: FloatArray) -> NDArray[np.float64]:
        """Pr(large wins), (n,), under weights of the training prompts, (n, n_prompts)."""
        n, k = len(weights), self.battles_.shape[1]
        wins = (weights @ self.battles_.reshape(len(self.battles_), k * k)).reshape(n, k, k)
        xi = strengths(wins, self.C, self.strengths_)
        large_wins: NDArray[np.float64] = 0.5 * (1.0 + np.tanh(0.5 * (xi[:, 1] - xi[:, 0])))
        return large_wins

    def _learn_start(self) -> None:
        self.strengths_ = strengths(self.gamma * self.battles_.sum(axis=0, dtype=np.float64)[None], self.C)[0]

    def _left_out_scores(self) -> NDArray[np.float64]:
        """Scores of training prompts, 2,000 of them where there are more, each without its own battles."""
        n = len(self.rows_)
        places = np.random.default_rng(self.seed).permutation(n)[:_MOST_FOR_THRESHOLD]
        scores = []
        for begin in range(0, len(places), _TOGETHER):
            part = places[begin : begin + _TOGETHER]
            own = np.arange(len(part)), part
            similarity = self.rows_[part] @ self.rows_.T
            similarity[own] = _LEAST_SIMILARITY
            weights = similarity_weights(similarity, self.gamma)
            weights[own] = 0.0
            scores.append(self._large_wins(weights))
        return np.concatenate(scores)

    def state(self) -> RouterState:
        """What was learned, for saving."""
        tables: Tensors = {
            "rows": self.rows_,
            "battles": self.battles_,
            "quality": self.quality_,
            "strengths": self.strengths_,
        }
        return self._feature_state({"contenders": list(self.contenders_)}, tables)

    def restore(self, state: RouterState) -> None:
        """Take what `state` gave.

        Raises:
            ArtifactError: a tensor is missing or of the wrong type, shape or range.
        """
        n_features = self._restore_features(state)
        self._restore_contenders(state)
        k = len(self.contenders_)
        self.rows_ = checked_tensor(state.tensors, "rows", np.float32, (None, n_features))
        n = len(self.rows_)
        self.battles_ = checked_tensor(state.tensors, "battles", np.float32, (n, k, k))
        self.quality_ = checked_tensor(state.tensors, "quality", np.float32, (n, 2))
        self.strengths_ = checked_tensor(state.tensors, "strengths", np.float64, (k,))
        in_range = all(((table >= 0) & (table <= 1)).all() for table in (self.battles_, self.quality_))
        if not n or not in_range:
            raise ArtifactError("The router's battles and qualities are not shares: train and save it again.")
