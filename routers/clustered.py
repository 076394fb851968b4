"""What all routers have in common that put prompts into clusters."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from routers.base import Prediction
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

    def predict_with_clusters(self, prompts: Sequence[str]) -> tuple[Prediction, NDArray[np.int64]]:
        """What `predict` gives but confidence, and the cluster of each prompt, (n,); features are made once."""
        rows = self.features_.transform(prompts)
        return self._with_novelty(rows, prompts), self.assign(rows)

    async def predict_with_clusters_async(self, prompts: Sequence[str]) -> tuple[Prediction, NDArray[np.int64]]:
        """The same as `predict_with_clusters`, without holding up the event loop."""
        rows = await self.features_.transform_async(prompts)
        return self._with_novelty(rows, prompts), self.assign(rows)
