"""RouteLLM's causal LLM (arXiv 2406.18665, section 4.2): a language model scores the small model's answer unseen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from routers.base import Prediction, Progress, RouterState, TwoModelRouter
from routers.errors import ArtifactError
from routers.features import checked_tensor
from routers.neural.causal import SCORES, ScoreModel
from routers.neural.parameters import (
    Augment,
    BatchSize,
    Checkpoint,
    Dropout,
    Epochs,
    HeldOut,
    LearningRate,
    MaxSteps,
    MaxTokens,
    Patience,
    Seed,
    Warmup,
    WeightDecay,
)
from routers.neural.router import TextRouter
from routers.neural.targets import score_labels

if TYPE_CHECKING:
    from routers.data import RoutingData

__all__ = ["RouteLLMCausalRouter"]

_GOOD_ENOUGH = 4


class RouteLLMCausalRouter(TextRouter, TwoModelRouter):
    """A causal language model writes a score from 1 to 5 after the prompt; from 4 on the small model will do.

    P(small ok) is the probability of the score tokens 4 and 5 among the five, read from the logits of the first token
    after the template (`ScoreModel`), without generating. The score is 1 - P(small ok).

    What differs from the paper: there a judge scores the small model's answers; here the labels follow from sampled
    qualities, every pair of a small and a large sample giving a score by its gap (`score_labels`), so that they are
    soft. The loss is on the score token alone, among the five scores. Predicted quality, which the paper does not have,
    is the mean quality of each expert at each score, weighted by the predicted scores.

    Args:
        small: id of the small expert; None: the cheapest of the data.
        large: id of the large expert; None: the dearest of the data.
        model: folder or hub's name of the language model; safetensors weights only.
        tie: difference in quality that still counts as equal.
        side: names of the side information to read as lines before the text.
        max_tokens: most tokens that are read, the template included.
        epochs: most passes over the prompts.
        batch_size: prompts of one step.
        learning_rate: its peak.
        weight_decay: of weight matrices.
        warmup: share of the steps in which the learning rate rises.
        dropout: dropout probability; None: the model's own.
        max_steps: most steps; None: as many as the epochs make.
        held_out: share of the prompts that picks the best epoch.
        patience: epochs without improvement after which training stops.
        augment: noisy copies to every prompt that is read as it is, fresh ones in each epoch (not in the paper).
        seed: of new tokens, held-out prompts, order, dropout and noise.

    Attributes:
        reader_: the fine-tuned language model.
        quality_: (5, 2) float32, mean quality of both experts at each score.
    """

    name: ClassVar[str] = "routellm-causal"
    paper: ClassVar[str] = "RouteLLM, arXiv 2406.18665"
    needs: ClassVar[tuple[str, ...]] = ("torch", "transformers", "a causal language model's checkpoint")
    describes: ClassVar[str] = "How well the small model would score, from 1 to 5, written by a fine-tuned causal LLM."

    def __init__(
        self,
        *,
        small: str | None = None,
        large: str | None = None,
        model: Checkpoint = "meta-llama/Meta-Llama-3-8B",
        tie: Annotated[float, Field(ge=0, le=0.3)] = 0.0,
        side: list[str] | None = None,
        max_tokens: MaxTokens = 2048,
        epochs: Epochs = 5,
        batch_size: BatchSize = 8,
        learning_rate: LearningRate = 1e-6,
        weight_decay: WeightDecay = 0.01,
        warmup: Warmup = 0.05,
        dropout: Dropout = None,
        max_steps: MaxSteps = None,
        held_out: HeldOut = 0.1,
        patience: Patience = 2,
        augment: Augment = 0.0,
        seed: Seed = 0,
    ) -> None:
        self.small = small
        self.large = large
        self.model = model
        self.tie = tie
        self.side = side
        self.max_tokens = max_tokens
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.warmup = warmup
        self.dropout = dropout
        self.max_steps = max_steps
        self.held_out = held_out
        self.patience = patience
        self.augment = augment
        self.seed = seed

    def _source(self) -> str:
        return self.model

    def _new_reader(self) -> ScoreModel:
        return ScoreModel(self.max_tokens, self.side or ())

    def _targets(self, data: RoutingData) -> NDArray[np.float64]:
        return score_labels(data.samples(self.small_), data.samples(self.large_), self.tie)

    def _fit(self, data: RoutingData, progress: Progress) -> None:
        super()._fit(data, progress)
        self.quality_ = _means_by_score(self._targets(data), data.quality(), data.quality().mean(axis=0))

    def _adapt(self, data: RoutingData, progress: Progress) -> None:
        super()._adapt(data, progress)
        self.quality_ = _means_by_score(self._targets(data), data.quality(), self.quality_)

    def _read_out(self, outputs: NDArray[np.float32]) -> Prediction:
        fine = outputs[:, _GOOD_ENOUGH - 1 :].sum(axis=1)
        quality = np.clip(outputs @ self.quality_, 0, 1)
        return Prediction(quality=quality, large_needed=np.clip(1 - fine, 0, 1))

    def _own_state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        return {}, {"quality": self.quality_}

    def restore(self, state: RouterState) -> None:
        """Take what `state` gave.

        Raises:
            ArtifactError: something is missing, unknown, or of the wrong type, shape or range.
        """
        super().restore(state)
        self.quality_ = checked_tensor(state.tensors, "quality", np.float32, (len(SCORES), 2))
        if ((self.quality_ < 0) | (self.quality_ > 1)).any():
            raise ArtifactError("The qualities in the router file are not within 0 and 1: train and save it again.")


def _means_by_score(
    labels: NDArray[np.float64], quality: NDArray[np.float64], before: NDArray[Any]
) -> NDArray[np.float32]:
    """Mean quality (5, 2) at each score, `before` counting as one more prompt of every score."""
    means: NDArray[np.float64] = (labels.T @ quality + before) / (labels.sum(axis=0)[:, None] + 1)
    within: NDArray[np.float32] = np.clip(means, 0, 1).astype(np.float32)
    return within
