"""What all routers have in common that put prompts into clusters."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray

from routers.featured import FeatureRouter
from routers.features import Rows

__all__ = ["ClusteringRouter"]


class ClusteringRouter(FeatureRouter):
    """A router whose prompts fall into clusters, which others may build on.

    Attributes:
        centers_: (n_clusters, n_features) float32.
    """

    centers_: NDArray[np.float32]

    @abstractmethod
    def assign(self, rows: Rows) -> NDArray[np.int64]:
        """The cluster of each row of features, (n, n_features): (n,)."""
