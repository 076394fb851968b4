"""Balanced k-means: clusters of equal size, as C-BTM (arXiv 2303.14177) makes them for its experts."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routers.errors import DataError, NotFittedError, ParameterError
from routers.estimator import Estimator

__all__ = ["BalancedKMeans", "balanced_assignment"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_GAIN = 1e-12
"""Path lengths (costs are scaled to 1) that differ by less are equal: rounding is no improvement."""


def balanced_assignment(cost: ArrayLike) -> IntArray:
    """Assign every row to a column at least total cost, with column sizes equal within one.

    The columns that most rows prefer get the odd extra rows; given those sizes the result is optimal.
    Starting from every row in its cheapest column, rows are moved one at a time along the cheapest chain
    from an overfull column to one with room (successive shortest paths), which costs little when there are
    far fewer columns than rows.

    Args:
        cost: (n_rows, n_columns), finite.

    Returns:
        (n_rows,) column of each row.

    Raises:
        DataError: the cost is not a finite matrix with at least one column.
    """
    c = np.asarray(cost, dtype=np.float64)
    if c.ndim != 2 or c.shape[1] == 0 or not np.isfinite(c).all():
        raise DataError("A balanced assignment needs a finite cost matrix (rows, columns) with at least one column.")
    n_rows, n_columns = c.shape
    c = c / max(np.abs(c).max(initial=0.0), np.finfo(float).tiny)
    labels: IntArray = c.argmin(axis=1).astype(np.int64) if n_rows else np.zeros(0, dtype=np.int64)
    sizes = np.bincount(labels, minlength=n_columns)
    room = np.full(n_columns, n_rows // n_columns)
    room[np.argsort(-sizes, kind="stable")[: n_rows % n_columns]] += 1
    moves = np.full((n_columns, n_columns), np.inf)
    movers = np.zeros((n_columns, n_columns), dtype=np.int64)
    for column in range(n_columns):
        _cheapest_moves(c, labels, column, moves, movers)
    while (sizes > room).any():
        chain = _cheapest_chain(moves, sizes > room, sizes < room)
        moved = [movers[a, b] for a, b in pairwise(chain)]
        labels[moved] = chain[1:]
        sizes[chain[0]] -= 1
        sizes[chain[-1]] += 1
        for column in chain:
            _cheapest_moves(c, labels, column, moves, movers)
    return labels


def _cheapest_moves(c: FloatArray, labels: IntArray, column: int, moves: FloatArray, movers: IntArray) -> None:
    """Refresh, for one column, the cheapest move of one of its rows to every other column."""
    members = np.flatnonzero(labels == column)
    if not len(members):
        moves[column] = np.inf
        return
    change = c[members] - c[members, column][:, None]
    best = change.argmin(axis=0)
    moves[column] = change[best, np.arange(c.shape[1])]
    moves[column, column] = np.inf
    movers[column] = members[best]


def _cheapest_chain(moves: FloatArray, sources: NDArray[np.bool_], sinks: NDArray[np.bool_]) -> list[int]:
    """Cheapest chain of columns from a source to a sink (Bellman-Ford; moves may have negative cost)."""
    length = np.where(sources, 0.0, np.inf)
    previous = np.full(len(moves), -1)
    for _ in range(len(moves)):
        through = length[:, None] + moves
        best = through.argmin(axis=0)
        reached = through[best, np.arange(len(moves))]
        better = reached < length - _GAIN
        if not better.any():
            break
        length[better] = reached[better]
        previous[better] = best[better]
    chain = [int(np.where(sinks, length, np.inf).argmin())]
    while previous[chain[-1]] >= 0:
        chain.append(int(previous[chain[-1]]))
    return chain[::-1]


class BalancedKMeans(Estimator):
    """k-means whose training clusters have equal sizes within one, learned in online batches (C-BTM).

    In each pass the points are visited in shuffled batches. A batch is assigned under the size constraint,
    then every centroid moves to the running mean of what it has received in this pass. New points go to the
    nearest centroid, without the constraint. C-BTM gives it rows of unit Euclidean length.

    Args:
        n_clusters: number of clusters.
        max_iter: most passes over the data (C-BTM: 20).
        batch_size: points assigned together.
        tol: stop when no centroid moves farther than this in a pass.
        random_state: seed of the initial centroids (k-means++) and of the shuffles.

    Attributes:
        cluster_centers_: (n_clusters, n_features).
        labels_: (n_points,) balanced cluster of each training point.
        n_iter_: passes made.
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        max_iter: int = 20,
        batch_size: int = 2048,
        tol: float = 1e-4,
        random_state: int = 0,
    ) -> None:
        self.n_clusters = n_clusters
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.tol = tol
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Learn the centroids and the balanced labels of X, (n_points, n_features); y is ignored.

        Raises:
            ParameterError: a parameter is out of range.
            DataError: X is not a finite matrix with at least one row per cluster.
        """
        from sklearn.cluster import kmeans_plusplus

        x = np.asarray(X, dtype=np.float64)
        self._check(x)
        rng = np.random.default_rng(self.random_state)
        centers, _ = kmeans_plusplus(x, self.n_clusters, random_state=self.random_state)
        passes = 0
        while passes < self.max_iter:
            passes += 1
            before = centers.copy()
            self._one_pass(x[rng.permutation(len(x))], centers)
            if np.linalg.norm(centers - before, axis=1).max() <= self.tol:
                break
        self.n_iter_ = passes
        self.cluster_centers_ = centers
        self.labels_ = balanced_assignment(_squared_distances(x, centers))
        return self

    def transform(self, X: ArrayLike) -> FloatArray:
        """Euclidean distance of each row of X to each centroid, (n_points, n_clusters)."""
        if not hasattr(self, "cluster_centers_"):
            raise NotFittedError("This BalancedKMeans has no centroids yet: call fit first.")
        distances: FloatArray = np.sqrt(_squared_distances(np.asarray(X, dtype=np.float64), self.cluster_centers_))
        return distances

    def predict(self, X: ArrayLike) -> IntArray:
        """Nearest centroid of each row of X, (n_points,), whatever the cluster sizes."""
        nearest: IntArray = self.transform(X).argmin(axis=1)
        return nearest

    def _check(self, x: FloatArray) -> None:
        for name in ("n_clusters", "max_iter", "batch_size"):
            if getattr(self, name) < 1:
                raise ParameterError(f"{name} is {getattr(self, name)}: give at least 1.")
        if x.ndim != 2 or not np.isfinite(x).all():
            raise DataError("BalancedKMeans needs a finite matrix (points, features).")
        if len(x) < self.n_clusters:
            raise DataError(
                f"{len(x)} points cannot make {self.n_clusters} clusters: give more points or fewer clusters."
            )

    def _one_pass(self, x: FloatArray, centers: FloatArray) -> None:
        """Visit every batch once; moves `centers` in place."""
        received = np.zeros(len(centers))
        for batch in np.array_split(x, -(-len(x) // self.batch_size)):
            labels = balanced_assignment(_squared_distances(batch, centers))
            counts = np.bincount(labels, minlength=len(centers))
            sums = np.zeros_like(centers)
            np.add.at(sums, labels, batch)
            received += counts
            used = counts > 0
            step = sums[used] - counts[used, None] * centers[used]
            centers[used] += step / received[used, None]


def _squared_distances(x: FloatArray, centers: FloatArray) -> FloatArray:
    squared: FloatArray = (x**2).sum(axis=1)[:, None] - 2.0 * x @ centers.T + (centers**2).sum(axis=1)
    return np.maximum(squared, 0.0, out=squared)
