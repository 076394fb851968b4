"""Logistic regression: each expert's quality from a weighted sum of words, shapes and counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import Field

from routers.base import Prediction, Progress, RouterState
from routers.featured import FeatureRouter
from routers.features import FeatureSpec, Rows, as_matrix
from routers.learning.heads import HeadSettings, ProbabilityHead
from routers.learning.linear import best_penalty

if TYPE_CHECKING:
    from routers.data import RoutingData

__all__ = ["LinearRouter"]

_FOLDS = 5


class LinearRouter(FeatureRouter):
    """Predicts each expert's quality by a logistic regression of its own, with an L2 penalty.

    How strong the penalty is decides more than anything else whether such a line is worth having: with thousands of
    words and one noisy answer to a prompt, a weak one learns prompts by heart, which costs more than it brings. So by
    default it is chosen on held-out prompts, one for all experts (`best_penalty`).

    Args:
        C: inverse strength of the penalty; None: chosen.
        prior_strength: of the penalty toward what was learned, in `adapt`; None: chosen, as `HeadSettings` says.
        features: which features it weighs.
        side: names of the side information to read beside the text.
        seed: of the features and of the held-out prompts.

    Attributes:
        head_: the regressions.
        C_: the inverse strength that was taken.
    """

    name: ClassVar[str] = "linear"
    paper: ClassVar[str] = "Logistic regression with an L2 penalty chosen by cross-validation"
    describes: ClassVar[str] = "How good each expert is, from a weighted sum of words, shapes and counts."

    def __init__(
        self,
        *,
        C: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None,
        prior_strength: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None,
        features: FeatureSpec = "tfidf",
        side: list[str] | None = None,
        seed: Annotated[int, Field(ge=0, lt=2**32)] = 0,
    ) -> None:
        self.C = C
        self.prior_strength = prior_strength
        self.features = features
        self.side = side
        self.seed = seed

    def _fit(self, data: RoutingData, progress: Progress) -> None:
        progress("features", 0.0)
        rows, quality = self._learn_features(data), data.quality().astype(np.float64)
        progress("penalty", 0.3)
        self.C_ = best_penalty(as_matrix(rows), quality, self.seed) if self.C is None else self.C
        settings = HeadSettings(kind="linear", C=self.C_, folds=0, seed=self.seed)
        self.head_ = ProbabilityHead().fit(
            rows, quality, settings, lambda doing, share: progress(doing, max(0.8, share))
        )
        self.summary_ = {"training_prompts": len(quality), "C": self.C_}

    def _adapt(self, data: RoutingData, progress: Progress) -> None:
        """The most likely weights under a Gaussian prior around the old ones (`ProbabilityHead.adapt`)."""
        settings = HeadSettings(kind="linear", folds=_FOLDS, seed=self.seed, prior_strength=self.prior_strength)
        self.head_.adapt(self._rows_of(data), data.quality().astype(np.float64), settings, progress)

    def _predict_rows(self, rows: Rows) -> Prediction:
        return Prediction(quality=self.head_.predict(rows))

    def state(self) -> RouterState:
        """What was learned, for saving."""
        return self._feature_state({"C": self.C_}, self.head_.tensors())

    def restore(self, state: RouterState) -> None:
        """Take what `state` gave.

        Raises:
            ArtifactError: a value or tensor is missing or of the wrong type, shape or range.
        """
        self.C_ = state.number("C")
        n_features = self._restore_features(state)
        self.head_ = ProbabilityHead().restore(state.tensors, n_features, len(self.experts_))
