"""How unlike the training data a prompt is: principal components and what they leave out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from routers.errors import ArtifactError
from routers.features import FloatArray, Rows, SparseRows, Tensors, as_matrix, checked_tensor

__all__ = ["NoveltyModel"]

_LEAST = 1e-6


class NoveltyModel:
    """Hotelling's T^2 and the Q residual of a principal component model, as process monitoring uses them.

    T^2 says how far a prompt lies from the training data within the directions they vary in, Q how much of it lies
    outside of these (Jackson and Mudholkar, Technometrics 21, 1979). Both are divided by the value that the share
    `quantile` of the training prompts keeps to, and the larger one counts: 1.0 is the edge of the training data.
    Unlike there the components are of the uncentred data (sparse rows stay sparse), and the limits are empirical.

    Args:
        n_components: directions kept, or fewer where there are fewer.
        quantile: share of the training prompts within the edge.
        seed: of the randomised SVD.
    """

    def __init__(self, n_components: int = 16, quantile: float = 0.99, seed: int = 0) -> None:
        self.n_components = n_components
        self.quantile = quantile
        self.seed = seed

    def fit(self, rows: Rows) -> Self:
        """Learn from the features of the training prompts, (n, n_features), n >= 1."""
        from sklearn.decomposition import TruncatedSVD

        matrix = as_matrix(rows)
        k = min(self.n_components, *matrix.shape)
        if min(matrix.shape) > 1:
            svd = TruncatedSVD(k, random_state=self.seed).fit(matrix)
            self.components_ = np.ascontiguousarray(svd.components_.T, dtype=np.float32)
        else:
            self.components_ = np.eye(matrix.shape[1], k, dtype=np.float32)
        along = rows @ self.components_
        self.center_ = np.stack([along.mean(axis=0), np.maximum(along.std(axis=0), 1e-3)]).astype(np.float32)
        self.limits_ = np.ones(2, dtype=np.float32)
        raw = self._raw(rows)
        self.limits_ = np.maximum(np.quantile(raw, self.quantile, axis=0), _LEAST).astype(np.float32)
        return self

    def score(self, rows: Rows) -> FloatArray:
        """Novelty of rows, (n, n_features): (n,) float32 >= 0."""
        novelty: FloatArray = (self._raw(rows) / self.limits_).max(axis=1, initial=0.0)
        return novelty

    def tensors(self) -> Tensors:
        """The learned state, for saving."""
        return {
            "novelty.components": self.components_,
            "novelty.center": self.center_,
            "novelty.limits": self.limits_,
        }

    def restore(self, tensors: Mapping[str, NDArray[Any]], n_features: int) -> Self:
        """Take the state that `tensors` gave.

        Raises:
            ArtifactError: a tensor is missing or of the wrong type, shape or range.
        """
        self.components_ = checked_tensor(tensors, "novelty.components", np.float32, (n_features, None))
        self.center_ = checked_tensor(tensors, "novelty.center", np.float32, (2, self.components_.shape[1]))
        self.limits_ = checked_tensor(tensors, "novelty.limits", np.float32, (2,))
        if (self.limits_ <= 0).any() or (self.center_[1] <= 0).any():
            raise ArtifactError("The router's measure of novelty has no positive scale: train and save it again.")
        return self

    def _raw(self, rows: Rows) -> FloatArray:
        """T^2 and Q of each row, (n, 2)."""
        along = rows @ self.components_
        t2 = (((along - self.center_[0]) / self.center_[1]) ** 2).mean(axis=1)
        left = np.maximum(_squared_length(rows) - (along**2).sum(axis=1), 0.0)
        return np.stack([t2, left], axis=1).astype(np.float32)


def _squared_length(rows: Rows) -> FloatArray:
    if isinstance(rows, SparseRows):
        return np.array([values @ values for _, values in rows.rows], dtype=np.float32)
    squared: FloatArray = np.einsum("ij,ij->i", rows, rows)
    return squared
