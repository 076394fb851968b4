"""Hybrid LLM (arXiv 2404.14618): is the small model's answer good enough for this prompt?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from routers.base import Prediction, Progress, RouterState, TwoModelRouter
from routers.features import TfidfFeatures
from routers.heads import HeadSettings, ProbabilityHead
from routers.labels import find_relaxation, relaxed_labels

if TYPE_CHECKING:
    from routers.data import RoutingData

__all__ = ["HybridTransRouter"]


class HybridTransRouter(TwoModelRouter):
    """r_trans: predicts p_w = Pr[q(small) >= q(large) - t*] and sends to the large model where that is low.

    t* spreads the training labels farthest apart (`find_relaxation`). The score is 1 - p_w. Beyond the paper,
    the same head also predicts the mean quality of both experts, for policies that weigh quality against
    cost. Unlike in the paper the features are TF-IDF (`TfidfFeatures`) and the head is linear or a small MLP,
    calibrated on held-out folds (`ProbabilityHead`).

    Args:
        small: id of the small expert; None: the cheapest of the data.
        large: id of the large expert; None: the dearest of the data.
        t: relaxation; None: t*, searched from 0 to 1 in steps of 0.01.
        head: "linear" or "mlp" (needs torch).
        hidden: hidden units of the MLP.
        max_epochs: most passes of the MLP over the data.
        C: inverse strength of the linear head's L2 penalty.
        folds: parts for calibration and early stopping.
        max_terms: most words and word pairs, and most shapes, kept as features.
        max_chars: characters of a prompt that are read (first and last half of them in longer ones).
        seed: of folds, initial weights, shuffles and dropout.

    Attributes:
        t_: relaxation of the labels.
    """

    name: ClassVar[str] = "hybrid-trans"
    paper: ClassVar[str] = "Hybrid LLM, arXiv 2404.14618"
    describes: ClassVar[str] = (
        "How likely the small model's answer is nearly as good as the large one's, from transformed labels."
    )

    def __init__(
        self,
        *,
        small: str | None = None,
        large: str | None = None,
        t: Annotated[float, Field(ge=0, le=1)] | None = None,
        head: Literal["linear", "mlp"] = "linear",
        hidden: Annotated[int, Field(ge=1, le=4096)] = 64,
        max_epochs: Annotated[int, Field(ge=1, le=10_000)] = 40,
        C: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 3.0,
        folds: Annotated[int, Field(ge=2, le=20)] = 5,
        max_terms: Annotated[int, Field(ge=1, le=1_000_000)] = 20_000,
        max_chars: Annotated[int, Field(ge=2, le=1_000_000)] = 2048,
        seed: Annotated[int, Field(ge=0, lt=2**32)] = 0,
    ) -> None:
        self.small = small
        self.large = large
        self.t = t
        self.head = head
        self.hidden = hidden
        self.max_epochs = max_epochs
        self.C = C
        self.folds = folds
        self.max_terms = max_terms
        self.max_chars = max_chars
        self.seed = seed

    def labels(self, small: NDArray[np.float64], large: NDArray[np.float64]) -> NDArray[np.float64]:
        """Soft labels (n_prompts,) from sampled qualities, (n_prompts, n_samples) each; sets `t_`."""
        self.t_ = find_relaxation(small, large)[0] if self.t is None else float(self.t)
        return relaxed_labels(small, large, self.t_)

    def _fit(self, data: RoutingData, progress: Progress) -> None:
        progress("labels", 0.0)
        good_enough = self.labels(data.samples(self.small_), data.samples(self.large_))
        self.features_ = TfidfFeatures(self.max_terms, max_chars=self.max_chars).fit(data.texts)
        settings = HeadSettings(
            kind=self.head,
            hidden=self.hidden,
            max_epochs=self.max_epochs,
            C=self.C,
            folds=self.folds,
            seed=self.seed,
        )
        targets = np.column_stack([good_enough, data.quality()])
        self.head_ = ProbabilityHead().fit(self.features_.transform(data.texts), targets, settings, progress)
        self.summary_ = {
            "t": self.t_,
            "mean_label": float(good_enough.mean()),
            "training_prompts": len(targets),
        }

    def _predict(self, prompts: Sequence[str]) -> Prediction:
        out = self.head_.predict([self.features_.row(prompt) for prompt in prompts])
        return Prediction(quality=out[:, 1:], large_needed=1 - out[:, 0])

    def state(self) -> RouterState:
        """What was learned, for saving."""
        return RouterState(
            features={"kind": "tfidf", **self.features_.get_params()},
            calibration={"method": "platt", "t": self.t_},
            tensors={**self.features_.tensors(), **self.head_.tensors()},
        )

    def restore(self, state: RouterState) -> None:
        """Take what `state` gave.

        Raises:
            ArtifactError: a tensor is missing or of the wrong type or shape.
        """
        self.t_ = state.number("t")
        self.features_ = TfidfFeatures(self.max_terms, max_chars=self.max_chars).restore(state.tensors)
        self.head_ = ProbabilityHead().restore(state.tensors, self.features_.n_features_, 3)
