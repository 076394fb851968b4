"""PolyRouter's MLP (arXiv 2408.12320): which of N experts suits this prompt?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import Field

from routers.base import Prediction, Progress, RouterState
from routers.featured import FeatureRouter
from routers.features import FeatureSpec, FloatArray, Rows
from routers.learning.expert_mlp import ExpertMlp, ExpertMlpSettings
from routers.learning.soft_labels import soft_labels

if TYPE_CHECKING:
    from routers.data import RoutingData

__all__ = ["PolyMlpRouter"]


class PolyMlpRouter(FeatureRouter):
    """A hidden layer with one class for each expert, trained on soft labels; the likeliest class is the choice.

    The labels are softmax(10 q) over the experts, q being their mean quality; `soft_labels` says why the temperature of
    the paper multiplies here.

    What differs from the paper: the labels are made of any quality, not of BERT similarity, and cost and time are left
    to the policy. Beyond it, a second set of outputs learns each expert's mean quality (sigmoids, binary
    cross-entropy), because shares of a softmax say which expert is better and not how good it is.

    Confidence is 1 - H / log(number of experts), with H the entropy of the classes.

    Args:
        temperature: factor of the qualities in the softmax.
        hidden: hidden units.
        max_epochs: most passes over the prompts.
        patience: passes without improvement on held-out prompts after which training stops.
        batch_size: prompts of one step.
        learning_rate: of AdamW.
        weight_decay: of AdamW.
        dropout: share of the hidden units left out in a step.
        features: which features it reads.
        side: names of the side information to read beside the text.
        seed: of the features, initial weights, held-out prompts, order and dropout.

    Attributes:
        mlp_: the trained network.
    """

    name: ClassVar[str] = "poly-mlp"
    paper: ClassVar[str] = "PolyRouter, arXiv 2408.12320"
    needs: ClassVar[tuple[str, ...]] = ("torch",)
    describes: ClassVar[str] = "Which expert suits the prompt best, from a small network trained on soft labels."

    def __init__(
        self,
        *,
        temperature: Annotated[float, Field(gt=0, le=1000)] = 10.0,
        hidden: Annotated[int, Field(ge=1, le=4096)] = 64,
        max_epochs: Annotated[int, Field(ge=1, le=10_000)] = 40,
        patience: Annotated[int, Field(ge=1, le=10_000)] = 4,
        batch_size: Annotated[int, Field(ge=1, le=100_000)] = 64,
        learning_rate: Annotated[float, Field(gt=0, le=1)] = 2e-3,
        weight_decay: Annotated[float, Field(ge=0, le=10)] = 1e-4,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2,
        features: FeatureSpec = "tfidf",
        side: list[str] | None = None,
        seed: Annotated[int, Field(ge=0, lt=2**32)] = 0,
    ) -> None:
        self.temperature = temperature
        self.hidden = hidden
        self.max_epochs = max_epochs
        self.patience = patience
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.dropout = dropout
        self.features = features
        self.side = side
        self.seed = seed

    def _fit(self, data: RoutingData, progress: Progress) -> None:
        progress("features", 0.0)
        rows, quality = self._learn_features(data), data.quality()
        shares = soft_labels(quality, self.temperature)
        self.mlp_ = ExpertMlp().fit(rows, shares, quality, self._settings(), progress)
        self.summary_ = {"training_prompts": len(quality), "mean_label": shares.mean(axis=0).round(6).tolist()}

    def _adapt(self, data: RoutingData, progress: Progress) -> None:
        """The network goes on learning, gently (`ExpertMlp.adapt`)."""
        quality = data.quality()
        shares = soft_labels(quality, self.temperature)
        self.mlp_.adapt(self._rows_of(data), shares, quality, self._settings(), progress)

    def _predict_rows(self, rows: Rows) -> Prediction:
        shares, quality = self.mlp_.predict(rows)
        return Prediction(quality=quality, choice=shares.argmax(axis=1), confidence=_sureness(shares))

    def _settings(self) -> ExpertMlpSettings:
        return ExpertMlpSettings(
            self.hidden,
            self.max_epochs,
            self.patience,
            self.batch_size,
            self.learning_rate,
            self.weight_decay,
            self.dropout,
            self.seed,
        )

    def state(self) -> RouterState:
        """What was learned, for saving."""
        return self._feature_state({}, self.mlp_.tensors())

    def restore(self, state: RouterState) -> None:
        """Take what `state` gave.

        Raises:
            ArtifactError: a tensor is missing or of the wrong type or shape.
        """
        n_features = self._restore_features(state)
        self.mlp_ = ExpertMlp().restore(state.tensors, n_features, len(self.experts_))


def _sureness(shares: FloatArray) -> FloatArray:
    """1 - entropy / log(n_experts) of each row, in [0, 1]; 1 with one expert."""
    n_experts = shares.shape[1]
    if n_experts == 1:
        return np.ones(len(shares), dtype=np.float32)
    entropy = -(shares * np.log(np.maximum(shares, 1e-12))).sum(axis=1)
    sure: FloatArray = np.clip(1.0 - entropy / np.log(n_experts), 0.0, 1.0).astype(np.float32)
    return sure
