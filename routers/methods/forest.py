"""Extremely randomized trees: cuts through a few dimensions of the text and its counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import Field

from routers.base import Prediction, Progress, RouterState
from routers.featured import FeatureRouter
from routers.features import FeatureSpec, Rows
from routers.learning.forest import Forest

if TYPE_CHECKING:
    from routers.data import RoutingData

__all__ = ["ForestRouter"]


class ForestRouter(FeatureRouter):
    """Predicts each expert's quality as the mean over many trees, grown for all experts together.

    The trees are extremely randomized (Geurts, Ernst and Wehenkel, Machine Learning 63, 2006): every cut is the best of
    one random place in each of a few random features, each tree grows on all prompts, and leaves are large, since one
    answer says little. A tree sees what a line over the features cannot: that length means something else in another
    topic. No paper on routing describes it.

    Args:
        n_trees: number of trees.
        min_leaf: fewest training prompts of a leaf.
        max_features: share of the features that are tried at each cut.
        adapt_weight: how many training prompts a prompt given to `adapt` counts for.
        features: which features are cut; their rows must be dense.
        side: names of the side information to read beside the text.
        seed: of the features and the trees.

    Attributes:
        forest_: the trees.
    """

    name: ClassVar[str] = "forest"
    paper: ClassVar[str] = "Extremely randomized trees, Geurts et al., Machine Learning 63, 2006"
    dense_features: ClassVar[bool] = True
    describes: ClassVar[str] = "How good each expert is, from many trees of cuts through topic, length and numbers."

    def __init__(
        self,
        *,
        n_trees: Annotated[int, Field(ge=1, le=10_000)] = 100,
        min_leaf: Annotated[int, Field(ge=1, le=1_000_000)] = 10,
        max_features: Annotated[float, Field(gt=0, le=1)] = 0.3,
        adapt_weight: Annotated[float, Field(gt=0, le=1e6)] = 1.0,
        features: FeatureSpec = "tfidf-svd-counts:64",
        side: list[str] | None = None,
        seed: Annotated[int, Field(ge=0, lt=2**32)] = 0,
    ) -> None:
        self.n_trees = n_trees
        self.min_leaf = min_leaf
        self.max_features = max_features
        self.adapt_weight = adapt_weight
        self.features = features
        self.side = side
        self.seed = seed

    def _fit(self, data: RoutingData, progress: Progress) -> None:
        progress("features", 0.0)
        rows = np.asarray(self._learn_features(data))
        self.forest_ = Forest().fit(
            rows,
            data.quality(),
            lambda doing, share: progress(doing, 0.3 + 0.7 * share),
            n_trees=self.n_trees,
            min_leaf=self.min_leaf,
            max_features=self.max_features,
            seed=self.seed,
        )
        self.summary_ = {
            "training_prompts": len(rows),
            "nodes": len(self.forest_.feature),
            "depth": self.forest_.depth,
        }

    def _adapt(self, data: RoutingData, progress: Progress) -> None:
        """Leaves take the new prompts into their means, each for `adapt_weight` old ones; the cuts stay."""
        self.forest_.adapt(np.asarray(self._rows_of(data)), data.quality(), self.adapt_weight)
        progress("leaves", 1.0)

    def _predict_rows(self, rows: Rows) -> Prediction:
        return Prediction(quality=np.clip(self.forest_.predict(np.asarray(rows)), 0.0, 1.0))

    def state(self) -> RouterState:
        """What was learned, for saving."""
        return self._feature_state({}, self.forest_.tensors())

    def restore(self, state: RouterState) -> None:
        """Take what `state` gave.

        Raises:
            ArtifactError: a value or tensor is missing or of the wrong type, shape or range.
        """
        n_features = self._restore_features(state)
        self.forest_ = Forest().restore(state.tensors, n_features, len(self.experts_))
