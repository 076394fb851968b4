"""Hybrid LLM (arXiv 2404.14618): is the small model's answer good enough for this prompt?"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from routers.base import Prediction, Progress, RouterState, TwoModelRouter
from routers.featured import FeatureRouter
from routers.features import FeatureSpec, Rows
from routers.learning.heads import HeadSettings, ProbabilityHead
from routers.learning.labels import deterministic_labels, find_relaxation, relaxed_labels

if TYPE_CHECKING:
    from routers.data import RoutingData

__all__ = ["HybridDetRouter", "HybridProbRouter", "HybridTransRouter"]

FloatArray = NDArray[np.float64]


class HybridRouter(FeatureRouter, TwoModelRouter):
    """What the three routers of the paper share; they differ in their labels (section 3).

    The score is 1 - p_w, p_w being the probability that the small model is good enough. Beyond the paper, the
    same head also predicts the mean quality of both experts, for policies that weigh quality against cost.

    Args:
        small: id of the small expert; None: the cheapest of the data.
        large: id of the large expert; None: the dearest of the data.
        features: which features the head reads.
        side: names of the side information to read beside the text.
        head: "linear" or "mlp" (needs torch).
        hidden: hidden units of the MLP.
        max_epochs: most passes of the MLP over the data.
        C: inverse strength of the linear head's L2 penalty.
        folds: parts for calibration and early stopping.
        seed: of folds, initial weights, shuffles and dropout.
    """

    paper: ClassVar[str] = "Hybrid LLM, arXiv 2404.14618"

    def __init__(
        self,
        *,
        small: str | None = None,
        large: str | None = None,
        features: FeatureSpec = "tfidf",
        side: list[str] | None = None,
        head: Literal["linear", "mlp"] = "linear",
        hidden: Annotated[int, Field(ge=1, le=4096)] = 64,
        max_epochs: Annotated[int, Field(ge=1, le=10_000)] = 40,
        C: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 3.0,
        folds: Annotated[int, Field(ge=2, le=20)] = 5,
        seed: Annotated[int, Field(ge=0, lt=2**32)] = 0,
    ) -> None:
        self.small = small
        self.large = large
        self.features = features
        self.side = side
        self.head = head
        self.hidden = hidden
        self.max_epochs = max_epochs
        self.C = C
        self.folds = folds
        self.seed = seed

    @abstractmethod
    def labels(self, small: FloatArray, large: FloatArray) -> FloatArray:
        """Labels p_w (n_prompts,) from sampled qualities, (n_prompts, n_samples) each."""

    def _fit(self, data: RoutingData, progress: Progress) -> None:
        progress("labels", 0.0)
        good_enough = self.labels(data.samples(self.small_), data.samples(self.large_))
        rows = self._learn_features(data)
        targets = np.column_stack([good_enough, data.quality()])
        self.head_ = ProbabilityHead().fit(rows, targets, self._head_settings(), progress)
        self.summary_ = {
            **self._label_summary(),
            "mean_label": float(good_enough.mean()),
            "training_prompts": len(targets),
        }

    def _adapt(self, data: RoutingData, progress: Progress) -> None:
        good_enough = self.labels(data.samples(self.small_), data.samples(self.large_))
        targets = np.column_stack([good_enough, data.quality()])
        self.head_.adapt(self._rows_of(data), targets, self._head_settings(), progress)

    def _predict_rows(self, rows: Rows) -> Prediction:
        out = self.head_.predict(rows)
        return Prediction(quality=out[:, 1:], large_needed=1 - out[:, 0])

    def _head_settings(self) -> HeadSettings:
        return HeadSettings(
            kind=self.head,
            hidden=self.hidden,
            max_epochs=self.max_epochs,
            C=self.C,
            folds=self.folds,
            seed=self.seed,
        )

    def _label_summary(self) -> dict[str, float]:
        return {}

    def state(self) -> RouterState:
        """What was learned, for saving."""
        return self._feature_state({"method": "platt", **self._label_summary()}, self.head_.tensors())

    def restore(self, state: RouterState) -> None:
        """Take what `state` gave.

        Raises:
            ArtifactError: a tensor is missing or of the wrong type or shape.
        """
        self.head_ = ProbabilityHead().restore(state.tensors, self._restore_features(state), 3)


class HybridDetRouter(HybridRouter):
    """r_det: learns 1[q(small) >= q(large)] from one sample of each model (section 3.1)."""

    name: ClassVar[str] = "hybrid-det"
    describes: ClassVar[str] = "Whether the small model's answer is as good as the large one's, from one sample each."

    def labels(self, small: FloatArray, large: FloatArray) -> FloatArray:
        """Labels (n_prompts,), 0 or 1, from the first samples of each model."""
        return deterministic_labels(small, large)


class HybridProbRouter(HybridRouter):
    """r_prob: learns Pr[q(small) >= q(large)] over all pairs of samples (section 3.2)."""

    name: ClassVar[str] = "hybrid-prob"
    describes: ClassVar[str] = "How likely the small model's answer is as good as the large one's."

    def labels(self, small: FloatArray, large: FloatArray) -> FloatArray:
        """Soft labels (n_prompts,) from sampled qualities, (n_prompts, n_samples) each."""
        return relaxed_labels(small, large)


class HybridTransRouter(HybridRouter):
    """r_trans: learns Pr[q(small) >= q(large) - t*], t* spreading the labels farthest apart (section 3.3).

    Args:
        t: relaxation; None: t*, searched from 0 to 1 in steps of 0.01 (`find_relaxation`).

    The other parameters are those of the other two.

    Attributes:
        t_: relaxation of the labels.
    """

    name: ClassVar[str] = "hybrid-trans"
    describes: ClassVar[str] = (
        "How likely the small model's answer is nearly as good as the large one's, from transformed labels."
    )

    def __init__(
        self,
        *,
        small: str | None = None,
        large: str | None = None,
        t: Annotated[float, Field(ge=0, le=1)] | None = None,
        features: FeatureSpec = "tfidf",
        side: list[str] | None = None,
        head: Literal["linear", "mlp"] = "linear",
        hidden: Annotated[int, Field(ge=1, le=4096)] = 64,
        max_epochs: Annotated[int, Field(ge=1, le=10_000)] = 40,
        C: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 3.0,
        folds: Annotated[int, Field(ge=2, le=20)] = 5,
        seed: Annotated[int, Field(ge=0, lt=2**32)] = 0,
    ) -> None:
        super().__init__(
            small=small,
            large=large,
            features=features,
            side=side,
            head=head,
            hidden=hidden,
            max_epochs=max_epochs,
            C=C,
            folds=folds,
            seed=seed,
        )
        self.t = t

    def labels(self, small: FloatArray, large: FloatArray) -> FloatArray:
        """Soft labels (n_prompts,) from sampled qualities, (n_prompts, n_samples) each; sets `t_`.

        A router that has its t* already keeps it.
        """
        if not hasattr(self, "t_"):
            self.t_ = find_relaxation(small, large)[0] if self.t is None else float(self.t)
        return relaxed_labels(small, large, self.t_)

    def _fit(self, data: RoutingData, progress: Progress) -> None:
        self.__dict__.pop("t_", None)
        super()._fit(data, progress)

    def _label_summary(self) -> dict[str, float]:
        return {"t": self.t_}

    def restore(self, state: RouterState) -> None:
        """Take what `state` gave.

        Raises:
            ArtifactError: a tensor is missing or of the wrong type or shape.
        """
        self.t_ = state.number("t")
        super().restore(state)
