"""Routing by cluster (Expert Router, arXiv 2404.15153), with C-BTM's clustering (arXiv 2303.14177)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from routers.base import Prediction, Progress, RouterState
from routers.clustered import ClusteringRouter
from routers.errors import ArtifactError, ParameterError
from routers.features import FeatureSpec, Rows, checked_tensor
from routers.learning.balanced import BalancedKMeans

if TYPE_CHECKING:
    from routers.data import RoutingData

__all__ = ["ClusterRouter"]

_FARTHEST = 2.0
"""Largest distance of two vectors of unit length; prompts without a known word are put there."""
_LEAST_LIMIT = 1e-3
"""Nearer than this every prompt is near."""


class ClusterRouter(ClusteringRouter):
    """Sends a prompt to the expert of the nearest cluster.

    Clusters are C-BTM's: `ClusterFeatures`, then `BalancedKMeans`. The expert of a cluster is the one with the best
    mean quality on the training prompts nearest to it; of equals the cheaper. Novelty is the distance to the nearest
    centroid over the distance that the share `quantile` of the training prompts keep to: above 1.0 the prompt goes to
    the fallback. Predicted quality mixes the clusters' mean qualities with C-BTM's weights, softmax(-d^2 / T).
    Confidence is the sum of these weights over the clusters whose expert is the chosen one.

    Args:
        fallback: expert kept for prompts far from every cluster; None: no expert is set aside, and the one with the
            best mean quality takes them.
        n_clusters: number of clusters; None: one an expert (without the fallback), as C-BTM has it.
        max_drop: a cluster whose best expert falls behind the fallback's mean quality by more than this goes to the
            fallback; None: never.
        quantile: share of the training prompts that count as near.
        temperature: T of the weights (C-BTM: 0.1).
        features: which features are clustered; their rows must be dense.
        side: names of the side information to read beside the text.
        seed: of the SVD, the initial centroids and the shuffles.

    Attributes:
        centers_: (n_clusters, n_dimensions) float32.
        quality_: (n_clusters, n_experts) float32, mean quality of each expert in each cluster.
        choice_: (n_clusters,) int64, index into `experts_` of each cluster's expert.
        count_: (n_clusters,) training prompts nearest to each centroid.
        limit_: distance at which novelty is 1.0.
    """

    name: ClassVar[str] = "cluster"
    paper: ClassVar[str] = "Expert Router, arXiv 2404.15153; C-BTM, arXiv 2303.14177"
    dense_features: ClassVar[bool] = True
    describes: ClassVar[str] = "The expert of the nearest of several equally large clusters of prompts."

    def __init__(
        self,
        *,
        fallback: str | None = None,
        n_clusters: Annotated[int, Field(ge=1, le=100_000)] | None = None,
        max_drop: Annotated[float, Field(ge=0, le=1)] | None = None,
        quantile: Annotated[float, Field(gt=0, le=1)] = 0.99,
        temperature: Annotated[float, Field(ge=1e-6, le=1e6)] = 0.1,
        features: FeatureSpec = "c-btm",
        side: list[str] | None = None,
        seed: Annotated[int, Field(ge=0, lt=2**32)] = 0,
    ) -> None:
        self.fallback = fallback
        self.n_clusters = n_clusters
        self.max_drop = max_drop
        self.quantile = quantile
        self.temperature = temperature
        self.features = features
        self.side = side
        self.seed = seed

    def _fallback(self, data: RoutingData) -> str:
        if self.fallback is None:
            return super()._fallback(data)
        if self.fallback not in data.experts:
            there = ", ".join(data.experts)
            raise ParameterError(f"fallback={self.fallback!r} is not an expert of the data: it has {there}.")
        return self.fallback

    def _fit(self, data: RoutingData, progress: Progress) -> None:
        progress("features", 0.0)
        x = np.asarray(self._learn_features(data))
        progress("clusters", 0.3)
        n_clusters = min(self.n_clusters or max(len(self._specialists()), 1), len(x))
        kmeans = BalancedKMeans(n_clusters, random_state=self.seed).fit(x)
        self.centers_ = kmeans.cluster_centers_.astype(np.float32)
        distance = self._distances(x)
        progress("experts", 0.9)
        nearest = distance.argmin(axis=1)
        self.quality_ = _means(nearest, data.quality(), n_clusters)
        self.count_ = np.bincount(nearest, minlength=n_clusters).astype(np.int64)
        self.choice_ = self._experts_of_clusters()
        self.limit_ = max(float(np.quantile(distance.min(axis=1), self.quantile)), _LEAST_LIMIT)
        self.novelty_limit_ = 1.0
        self.summary_ = {
            "training_prompts": len(x),
            "cluster_sizes": np.bincount(kmeans.labels_, minlength=n_clusters).tolist(),
            "cluster_experts": [self.experts_[i] for i in self.choice_],
        }
        progress("experts", 1.0)

    def _adapt(self, data: RoutingData, progress: Progress) -> None:
        """Clusters stay; each one's mean qualities become those of old and new prompts together."""
        nearest = self._distances(np.asarray(self._rows_of(data))).argmin(axis=1)
        new, count = data.quality(), np.bincount(nearest, minlength=len(self.count_))
        sums = self.quality_ * self.count_[:, None].astype(np.float64)
        np.add.at(sums, nearest, new)
        self.count_ = self.count_ + count
        known = self.count_[:, None] > 0
        means = np.divide(sums, self.count_[:, None], out=self.quality_.astype(np.float64), where=known)
        self.quality_ = means.astype(np.float32)
        self.choice_ = self._experts_of_clusters()
        progress("experts", 1.0)

    def _experts_of_clusters(self) -> NDArray[np.int64]:
        fallback = self.experts_.index(self.fallback_)
        specialists = self._specialists()
        if not specialists:
            return np.full(len(self.quality_), fallback)
        by_cost = np.array(sorted(specialists, key=lambda i: self.cost_[i]))
        best: NDArray[np.int64] = by_cost[self.quality_[:, by_cost].argmax(axis=1)]
        if self.max_drop is not None:
            drop = self.quality_[:, fallback] - self.quality_[np.arange(len(best)), best]
            best[drop > self.max_drop] = fallback
        return best

    def _specialists(self) -> list[int]:
        return [i for i, expert in enumerate(self.experts_) if expert != self.fallback]

    def _predict_rows(self, rows: Rows) -> Prediction:
        distance = self._distances(np.asarray(rows))
        closeness = -(distance**2) / self.temperature
        weights = np.exp(closeness - closeness.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        choice = self.choice_[distance.argmin(axis=1)]
        agreed = (weights * (self.choice_ == choice[:, None])).sum(axis=1)
        return Prediction(
            quality=np.clip(weights @ self.quality_, 0.0, 1.0, dtype=np.float32),
            choice=choice,
            confidence=np.clip(agreed, 0.0, 1.0).astype(np.float32),
            novelty=(distance.min(axis=1) / self.limit_).astype(np.float32),
        )

    def assign(self, rows: Rows) -> NDArray[np.int64]:
        """The nearest cluster of each row of features, (n,)."""
        nearest: NDArray[np.int64] = self._distances(np.asarray(rows)).argmin(axis=1)
        return nearest

    def _distances(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Euclidean distance of rows to centroids, (n, n_clusters)."""
        squared = (x**2).sum(axis=1)[:, None] - 2 * x @ self.centers_.T + (self.centers_**2).sum(axis=1)
        distance: NDArray[np.float32] = np.sqrt(np.maximum(squared, 0.0))
        distance[~x.any(axis=1)] = _FARTHEST
        return distance

    def state(self) -> RouterState:
        """What was learned, for saving."""
        tables: dict[str, NDArray[Any]] = {
            "centers": self.centers_,
            "quality": self.quality_,
            "choice": self.choice_,
            "count": self.count_,
        }
        return self._feature_state({"limit": self.limit_}, tables)

    def restore(self, state: RouterState) -> None:
        """Take what `state` gave.

        Raises:
            ArtifactError: a value or tensor is missing or of the wrong type, shape or range.
        """
        self.limit_ = state.number("limit")
        n_dimensions = self._restore_features(state)
        self.centers_ = checked_tensor(state.tensors, "centers", np.float32, (None, n_dimensions))
        n_clusters, n_experts = len(self.centers_), len(self.experts_)
        self.quality_ = checked_tensor(state.tensors, "quality", np.float32, (n_clusters, n_experts))
        self.choice_ = checked_tensor(state.tensors, "choice", np.int64, (n_clusters,))
        self.count_ = checked_tensor(state.tensors, "count", np.int64, (n_clusters,))
        in_range = (self.count_ >= 0).all() and ((self.choice_ >= 0) & (self.choice_ < n_experts)).all()
        if not _LEAST_LIMIT <= self.limit_ <= 1 / _LEAST_LIMIT or not n_clusters or not in_range:
            raise ArtifactError("The cluster router's tables do not fit together: train and save it again.")


def _means(label: NDArray[np.int64], quality: NDArray[np.float64], n_clusters: int) -> NDArray[np.float32]:
    """Mean quality by cluster, (n_clusters, n_experts); the overall mean where a cluster has no prompt."""
    sums = np.zeros((n_clusters, quality.shape[1]))
    np.add.at(sums, label, quality)
    count = np.bincount(label, minlength=n_clusters)[:, None]
    overall = np.broadcast_to(quality.mean(axis=0), sums.shape).copy()
    np.divide(sums, count, out=overall, where=count > 0)
    return overall.astype(np.float32)
