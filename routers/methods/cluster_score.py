"""Scores by cluster (Avengers-Pro, arXiv 2508.12631); experts can be added later (UniRoute, arXiv 2502.08773)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from routers.base import Prediction, Progress, RouterState, check_complete
from routers.clustered import ClusteringRouter
from routers.errors import ArtifactError, ParameterError
from routers.features import FeatureSpec, FloatArray, Rows, checked_tensor, unit_rows
from routers.learning.choices import best_two, certainty
from routers.learning.cluster_table import ClusterTable

if TYPE_CHECKING:
    from routers.data import RoutingData

__all__ = ["ClusterScoreRouter"]

_MOST_CLUSTERS = 60


class ClusterScoreRouter(ClusteringRouter):
    """Scores every expert in every cluster by quality and cost, and adds up the clusters near the prompt.

    Prompts are clustered with k-means on dense features of unit length. In a cluster, an expert's score is

        alpha * (q - min q) / (max q - min q) + (1 - alpha) * (1 - cost / max cost),

    with minimum and maximum over the experts (0 for the first term where all are equal). A prompt weighs its `top`
    nearest clusters with p = softmax(-beta * distance), and the highest sum of p * score is the choice, of equals
    the expert that is cheaper on average. Predicted quality is the sum of p * q, without cost.

    A cluster of few prompts says little, so q and cost lean on an expectation of the expert there that counts for
    `shrinkage` prompts (`ClusterTable`); the papers take bare means, which is shrinkage=0.

    Experts come and go without training: `add_expert` estimates a new one's quality and cost by cluster from a few
    hundred labelled prompts, as UniRoute does, and `remove_expert` drops one. Nothing else that was learned changes.

    Confidence is 2 Phi(z) - 1, with z the lead of the chosen expert's sum over the runner-up's in standard errors,
    which come from the binomial variance of mean quality in each cluster.

    Args:
        alpha: weight of quality against cost. The default 1.0 is quality only, which leaves the trade to the policy;
            Avengers-Pro sweeps it from 0 to 1.
        beta: how fast the weight of a cluster falls with its distance (Avengers-Pro: 9).
        top: clusters that count (Avengers-Pro calls it top-p).
        n_clusters: number of clusters, or fewer where the data has fewer distinct prompts; None: sqrt(n_prompts / 2),
            at most 60 (Avengers-Pro: 25 to 60).
        shrinkage: prompts that the expectation of an expert counts for in a cluster.
        features: which features are clustered; their rows must be dense.
        side: names of the side information to read beside the text.
        seed: of the features and the k-means.

    Attributes:
        centers_: (n_clusters, n_dimensions) float32.
        table_: what is known of each expert in each cluster.
    """

    name: ClassVar[str] = "cluster-score"
    paper: ClassVar[str] = "Avengers-Pro, arXiv 2508.12631; UniRoute, arXiv 2502.08773"
    dense_features: ClassVar[bool] = True
    describes: ClassVar[str] = "The best score of quality and cost over the nearest clusters; experts can be added."

    def __init__(
        self,
        *,
        alpha: Annotated[float, Field(ge=0, le=1)] = 1.0,
        beta: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 9.0,
        top: Annotated[int, Field(ge=1, le=100_000)] = 4,
        n_clusters: Annotated[int, Field(ge=1, le=100_000)] | None = None,
        shrinkage: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 5.0,
        features: FeatureSpec = "tfidf-svd",
        side: list[str] | None = None,
        seed: Annotated[int, Field(ge=0, lt=2**32)] = 0,
    ) -> None:
        self.alpha = alpha
        self.beta = beta
        self.top = top
        self.n_clusters = n_clusters
        self.shrinkage = shrinkage
        self.features = features
        self.side = side
        self.seed = seed

    def _fit(self, data: RoutingData, progress: Progress) -> None:
        progress("features", 0.0)
        x = unit_rows(np.asarray(self._learn_features(data)))
        progress("clusters", 0.6)
        self.centers_ = _centers(x, self.n_clusters, self.seed)
        progress("scores", 0.9)
        nearest = self.assign(x)
        self.table_ = ClusterTable.of(nearest, data.quality(), data.cost(), len(self.centers_))
        self._score()
        sizes = np.bincount(nearest, minlength=len(self.centers_))
        self.summary_ = {"training_prompts": len(x), "cluster_sizes": sizes.tolist()}
        progress("scores", 1.0)

    def _adapt(self, data: RoutingData, progress: Progress) -> None:
        """Clusters stay; each one's means become those of old and new prompts together."""
        self.table_ = self.table_.with_prompts(self.assign(self._rows_of(data)), data.quality(), data.cost())
        self._score()
        progress("scores", 1.0)

    def add_expert(self, data: RoutingData, expert: str) -> Self:
        """Take in a new expert from its answers to some labelled prompts; a few hundred do.

        Its quality and cost in each cluster come from the prompts nearest to it. A cluster without any gets what is
        expected: the expert's mean over its prompts, plus how much easier that cluster is for the experts of the
        training data than the prompts' clusters were. What is known of the other experts stays as it is.

        Args:
            data: answers of this expert; those of others are passed over.
            expert: its id.

        Raises:
            NotFittedError: the router has not been trained.
            ParameterError: the router knows this expert already.
            DataError: the data has no such expert.
        """
        self.check_fitted()
        if expert in self.experts_:
            raise ParameterError(
                f"The router knows the expert {expert!r} already: remove it first, or adapt the router."
            )
        chosen = data.select([expert])
        check_complete(chosen)
        nearest, cost = self.assign(self._rows_of(chosen)), chosen.cost()
        self.table_ = self.table_.with_expert(nearest, chosen.quality()[:, 0], cost[:, 0])
        self.experts_ = (*self.experts_, expert)
        self.cost_ = np.append(self.cost_, cost.mean())
        self._score()
        noted = {
            "expert": expert,
            "prompts": len(nearest),
            "clusters": len(np.unique(nearest)),
            "data_sha256": chosen.content_hash(),
        }
        self.summary_ = {**self.summary_, "added": [*self.summary_.get("added", []), noted]}
        return self

    def remove_expert(self, expert: str) -> Self:
        """Forget an expert; where it was the fallback, the best on average of those left becomes it.

        Raises:
            NotFittedError: the router has not been trained.
            ParameterError: the router does not know the expert, or knows no other.
        """
        self.check_fitted()
        if expert not in self.experts_ or len(self.experts_) == 1:
            known = ", ".join(self.experts_)
            raise ParameterError(f"Expert {expert!r} cannot be removed: the router knows {known}, and must keep one.")
        column = self.experts_.index(expert)
        self.table_ = self.table_.without_expert(column)
        self.experts_ = tuple(name for name in self.experts_ if name != expert)
        self.cost_ = np.delete(self.cost_, column)
        if self.fallback_ == expert:
            self.fallback_ = self.experts_[int(self.table_.overall()[0].argmax())]
        self._score()
        self.summary_ = {**self.summary_, "removed": [*self.summary_.get("removed", []), expert]}
        return self

    def assign(self, rows: Rows) -> NDArray[np.int64]:
        """The nearest cluster of each row of features, (n,)."""
        nearest: NDArray[np.int64] = self._distances(unit_rows(np.asarray(rows))).argmin(axis=1)
        return nearest

    def _score(self) -> None:
        """Fill in the tables that decisions look up, (n_clusters, n_experts) float32 each."""
        quality, cost, variance = self.table_.estimates(self.shrinkage)
        least, most = quality.min(axis=1, keepdims=True), quality.max(axis=1, keepdims=True)
        spread, dearest = most - least, cost.max(axis=1, keepdims=True)
        apart = spread > 1e-9
        scaled = np.divide(quality - least, spread, out=np.zeros_like(quality), where=apart)
        dear = np.divide(cost, dearest, out=np.zeros_like(cost), where=dearest > 0)
        per_quality = np.divide(self.alpha, spread, out=np.zeros_like(spread), where=apart)
        self.quality_ = quality.astype(np.float32)
        self.score_ = (self.alpha * scaled + (1 - self.alpha) * (1 - dear)).astype(np.float32)
        self.variance_ = (variance * per_quality**2).astype(np.float32)

    def _predict_rows(self, rows: Rows) -> Prediction:
        weight = self._weights(self._distances(unit_rows(np.asarray(rows))))
        score = weight @ self.score_
        first, second = best_two(score, self.cost_)
        at = np.arange(len(score))
        variance = weight**2 @ self.variance_
        sure = certainty(score[at, first] - score[at, second], variance[at, first] + variance[at, second])
        return Prediction(
            quality=np.clip(weight @ self.quality_, 0.0, 1.0),
            choice=first,
            confidence=sure if len(self.experts_) > 1 else np.ones_like(sure),
        )

    def _weights(self, distance: FloatArray) -> FloatArray:
        """Weight p of each cluster, (n, n_clusters), zero outside of the `top` nearest (and those as near)."""
        closeness = -self.beta * distance
        if self.top < distance.shape[1]:
            last = np.partition(distance, self.top - 1, axis=1)[:, self.top - 1, None]
            closeness[distance > last + 1e-6] = -np.inf
        weight: FloatArray = np.exp(closeness - closeness.max(axis=1, keepdims=True))
        weight /= weight.sum(axis=1, keepdims=True)
        return weight

    def _distances(self, x: FloatArray) -> FloatArray:
        """Euclidean distance of rows to centroids, (n, n_clusters)."""
        centers = self.centers_
        squared = _squared_lengths(x)[:, None] - 2 * (x @ centers.T) + _squared_lengths(centers)
        distance: FloatArray = np.sqrt(np.maximum(squared, 0.0))
        return distance

    def state(self) -> RouterState:
        """What was learned, for saving."""
        return self._feature_state({}, {"centers": self.centers_, **self.table_.tensors()})

    def restore(self, state: RouterState) -> None:
        """Take what `state` gave.

        Raises:
            ArtifactError: a value or tensor is missing or of the wrong type, shape or range.
        """
        n_dimensions = self._restore_features(state)
        self.centers_ = checked_tensor(state.tensors, "centers", np.float32, (None, n_dimensions))
        if not len(self.centers_):
            raise ArtifactError("The router has no clusters: train and save it again.")
        self.table_ = ClusterTable.restored(state.tensors, len(self.centers_), len(self.experts_))
        self._score()


def _squared_lengths(x: FloatArray) -> FloatArray:
    squared: FloatArray = np.einsum("ij,ij->i", x, x)
    return squared


def _centers(x: FloatArray, n_clusters: int | None, seed: int) -> FloatArray:
    from sklearn.cluster import KMeans

    wanted = n_clusters or min(max(round((len(x) / 2) ** 0.5), 1), _MOST_CLUSTERS)
    distinct = len(np.unique(x.round(4), axis=0))
    kmeans = KMeans(min(wanted, distinct), n_init=3, random_state=seed).fit(x)
    return np.ascontiguousarray(kmeans.cluster_centers_, dtype=np.float32)
