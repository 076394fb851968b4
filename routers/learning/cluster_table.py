"""How good and how dear each expert is in each cluster of prompts, and what to expect where little is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from routers.errors import ArtifactError
from routers.features import Tensors, checked_tensor

__all__ = ["ClusterTable"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ClusterTable:
    """Means over the prompts of each cluster, one column an expert; each expert may have seen other prompts.

    Attributes:
        count: (n_clusters, n_experts) prompts that the expert answered.
        quality: (n_clusters, n_experts) mean quality of these answers; 0 where there is none.
        cost: (n_clusters, n_experts) mean cost of these answers; 0 where there is none.
        ease: (n_clusters,) mean quality of the experts of the training data.
        price: (n_clusters,) mean cost of the experts of the training data.
    """

    count: FloatArray
    quality: FloatArray
    cost: FloatArray
    ease: FloatArray
    price: FloatArray

    @classmethod
    def of(cls, cluster: IntArray, quality: FloatArray, cost: FloatArray, n_clusters: int) -> Self:
        """The table of training data in which every expert answered every prompt.

        Args:
            cluster: (n_prompts,) cluster of each prompt.
            quality: (n_prompts, n_experts).
            cost: (n_prompts, n_experts).
            n_clusters: number of clusters.
        """
        count, q, c = _means(cluster, quality, cost, n_clusters)
        known = count[:, 0] > 0
        ease = np.where(known, q.mean(axis=1), quality.mean())
        price = np.where(known, c.mean(axis=1), cost.mean())
        return cls(count, q, c, ease, price)

    def with_prompts(self, cluster: IntArray, quality: FloatArray, cost: FloatArray) -> Self:
        """The table after further prompts that every expert of it answered, (n_prompts,) and (n_prompts, n_experts)."""
        count, q, c = _means(cluster, quality, cost, len(self.ease))
        total = self.count + count
        safe = np.maximum(total, 1.0)
        merged_quality = (self.count * self.quality + count * q) / safe
        merged_cost = (self.count * self.cost + count * c) / safe
        return type(self)(total, merged_quality, merged_cost, self.ease, self.price)

    def with_expert(self, cluster: IntArray, quality: FloatArray, cost: FloatArray) -> Self:
        """The table with one more expert, from its own prompts; all (n_prompts,)."""
        count, q, c = _means(cluster, quality[:, None], cost[:, None], len(self.ease))
        return type(self)(
            np.hstack([self.count, count]),
            np.hstack([self.quality, q]),
            np.hstack([self.cost, c]),
            self.ease,
            self.price,
        )

    def without_expert(self, column: int) -> Self:
        """The table with one expert less."""
        left = [np.delete(table, column, axis=1) for table in (self.count, self.quality, self.cost)]
        return type(self)(left[0], left[1], left[2], self.ease, self.price)

    def overall(self) -> tuple[FloatArray, FloatArray]:
        """Quality and cost, (n_experts,) each, that are expected of the experts on the prompts of all clusters alike.

        That is the mean of `estimates` without shrinkage, clusters weighed by the first expert's prompts.
        """
        quality, cost, _ = self.estimates(0.0)
        weight = self.count[:, 0] / self.count[:, 0].sum()
        return weight @ quality, weight @ cost

    def estimates(self, shrinkage: float) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Quality, cost, and the variance of that quality, (n_clusters, n_experts) each.

        The mean over the cluster's prompts and what is expected are weighed by the number of prompts and `shrinkage`.
        Expected is a model without interactions: for quality the expert's mean, plus the cluster's `ease` less
        that of the clusters its prompts lay in, kept within [0, 1]; for cost its mean, times the like ratio of `price`.

        Args:
            shrinkage: >= 0, in prompts. At 0 only clusters without a prompt get what is expected.
        """
        share = self.count / np.maximum(self.count.sum(axis=0), 1.0)
        mean_quality, mean_cost = (share * self.quality).sum(axis=0), (share * self.cost).sum(axis=0)
        expected_quality = np.clip(mean_quality + self.ease[:, None] - self.ease @ share, 0.0, 1.0)
        usual = self.price @ share
        ratio = np.divide(self.price[:, None], usual, out=np.ones_like(share), where=usual > 0)
        weight = np.divide(self.count, self.count + shrinkage, out=np.zeros_like(share), where=self.count > 0)
        quality = weight * self.quality + (1 - weight) * expected_quality
        cost = weight * self.cost + (1 - weight) * mean_cost * ratio
        smoothed = (self.count * quality + 1) / (self.count + 2)
        variance = smoothed * (1 - smoothed) / np.maximum(self.count + shrinkage, 1.0)
        return quality, cost, variance

    def tensors(self) -> Tensors:
        """The table, for saving."""
        named = {"count": self.count, "quality": self.quality, "cost": self.cost, "ease": self.ease}
        return {
            f"table.{name}": np.ascontiguousarray(tensor) for name, tensor in {**named, "price": self.price}.items()
        }

    @classmethod
    def restored(cls, tensors: Mapping[str, NDArray[Any]], n_clusters: int, n_experts: int) -> Self:
        """What `tensors` gave.

        Raises:
            ArtifactError: a tensor is missing or of the wrong type, shape or range.
        """
        shapes = {"count": 2, "quality": 2, "cost": 2, "ease": 1, "price": 1}
        found = {
            name: checked_tensor(tensors, f"table.{name}", np.float64, (n_clusters, n_experts)[:n])
            for name, n in shapes.items()
        }
        low = min(float(tensor.min()) for tensor in found.values())
        if low < 0 or max(found["quality"].max(), found["ease"].max()) > 1 or not found["count"].any(axis=0).all():
            raise ArtifactError("The table of the router's clusters is out of range: train and save it again.")
        return cls(**found)


def _means(
    cluster: IntArray, quality: FloatArray, cost: FloatArray, n_clusters: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Prompts, mean quality and mean cost by cluster, (n_clusters, n_experts) each; 0 in empty clusters."""
    size = np.bincount(cluster, minlength=n_clusters)[:, None].astype(np.float64)
    means = []
    for values in (quality, cost):
        sums = np.zeros((n_clusters, values.shape[1]))
        np.add.at(sums, cluster, values)
        means.append(sums / np.maximum(size, 1.0))
    return np.broadcast_to(size, means[0].shape).copy(), means[0], means[1]
