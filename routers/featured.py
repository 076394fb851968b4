"""What all routers have in common that decide on features of the prompt."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from numpy.typing import NDArray

from routers.base import Prediction, Router, RouterState
from routers.features import Features, FeatureSpec, Rows, make_features
from routers.learning.novelty import NoveltyModel

if TYPE_CHECKING:
    from routers.data import RoutingData

__all__ = ["FeatureRouter"]


class FeatureRouter(Router):
    """A router whose decision follows from `Features` of the prompt.

    Subclasses take the parameters `features` (a kind by name, or an object with its `kind` and parameters), `side`
    (names of the side information to put beside the text, or None) and `seed`. They train in `_fit` on what
    `_learn_features` gives, and decide in `_predict_rows`. Novelty comes with the features (`NoveltyModel`) unless
    `_predict_rows` has its own.

    Attributes:
        features_: the trained features.
        novelty_: how far prompts are from the training data.
    """

    dense_features: ClassVar[bool] = False

    features: FeatureSpec
    side: list[str] | None
    seed: int

    features_: Features
    novelty_: NoveltyModel

    @property
    def slow(self) -> bool:
        """Whether a decision takes more than about a millisecond, so that an event loop must not wait for it."""
        return self.features_.slow

    @property
    def knows_novelty(self) -> bool:
        """Features tell how far a prompt is from the training data."""
        return True

    @abstractmethod
    def _predict_rows(self, rows: Rows) -> Prediction:
        """What there is to say of prompts with these features, (n, n_features)."""

    def _learn_features(self, data: RoutingData) -> Rows:
        """Learn features, and what is novel, from the prompts of the data; their rows, (n_prompts, n_features)."""
        prompts = data.inputs(self.side)
        self.features_ = self._unfitted_features().fit(prompts)
        rows = self.features_.transform(prompts)
        self.novelty_ = NoveltyModel(seed=self.seed).fit(rows, prompts)
        return rows

    def _rows_of(self, data: RoutingData) -> Rows:
        """Features of the prompts of further data, (n_prompts, n_features)."""
        return self.features_.transform(data.inputs(self.side))

    def _predict(self, prompts: Sequence[str]) -> Prediction:
        return self._with_novelty(self.features_.transform(prompts), prompts)

    async def _predict_async(self, prompts: Sequence[str]) -> Prediction:
        return self._with_novelty(await self.features_.transform_async(prompts), prompts)

    def _with_novelty(self, rows: Rows, prompts: Sequence[str]) -> Prediction:
        prediction = self._predict_rows(rows)
        if prediction.novelty is not None:
            return prediction
        return prediction.having(novelty=self.novelty_.score(rows, prompts))

    def _unfitted_features(self) -> Features:
        return make_features(self.features, side=self.side or (), seed=self.seed, dense=self.dense_features)

    def _feature_state(self, calibration: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> RouterState:
        """The state of features and novelty, together with what the method adds."""
        own = {**self.features_.tensors(), **self.novelty_.tensors()}
        return RouterState(self.features_.settings(), calibration, {**own, **tensors})

    def _restore_features(self, state: RouterState) -> int:
        """Take back features and novelty; returns the number of features.

        Raises:
            ArtifactError: a tensor is missing or of the wrong type or shape.
        """
        self.features_ = self._unfitted_features().restore(state.tensors)
        n_features = self.features_.n_features_
        self.novelty_ = NoveltyModel(seed=self.seed).restore(state.tensors, n_features)
        return n_features
