"""RouteLLM's BERT classifier (arXiv 2406.18665, section 4.2): does the large model win, tie or lose?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from routers.base import Prediction, TwoModelRouter
from routers.neural.encoder import Encoder
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
from routers.neural.targets import outcome_labels
from routers.neural.training import Head

if TYPE_CHECKING:
    from routers.data import RoutingData

__all__ = ["RouteLLMBertRouter"]


class RouteLLMBertRouter(TextRouter, TwoModelRouter):
    """An encoder with three classes: the large model wins, ties or loses against the small one.

    The score is 1 - (P(tie) + P(loss)), both of the large model, which is P(the large model wins). It is what the
    public code calls the win rate of the strong model: a tie speaks for the small model.

    What differs from the paper: labels are not human preferences but follow from sampled qualities, every pair of a
    small and a large sample being a battle, so that they are soft (`outcome_labels`); and a second head of the same
    encoder learns the mean quality of both experts (sigmoid outputs, binary cross-entropy), for policies that weigh
    quality against cost. Where the steps make several epochs, the one with the least loss on held-out prompts is kept.

    Args:
        small: id of the small expert; None: the cheapest of the data.
        large: id of the large expert; None: the dearest of the data.
        encoder: folder or hub's name of the encoder; safetensors weights only.
        tie: difference in quality that still counts as a tie.
        side: names of the side information to read as lines before the text.
        max_tokens: most tokens that are read, fewer where the encoder takes fewer.
        epochs: most passes over the prompts.
        batch_size: prompts of one step.
        learning_rate: its peak.
        weight_decay: of weight matrices.
        warmup: share of the steps in which the learning rate rises.
        dropout: dropout probability; None: the encoder's own.
        max_steps: most steps; None: as many as the epochs make.
        held_out: share of the prompts that picks the best epoch.
        patience: epochs without improvement after which training stops.
        augment: noisy copies to every prompt that is read as it is, fresh ones in each epoch (not in the paper).
        seed: of the heads, held-out prompts, order, dropout and noise.

    Attributes:
        reader_: the fine-tuned encoder.
    """

    name: ClassVar[str] = "routellm-bert"
    paper: ClassVar[str] = "RouteLLM, arXiv 2406.18665"
    needs: ClassVar[tuple[str, ...]] = ("torch", "transformers", "an encoder checkpoint")
    describes: ClassVar[str] = "How likely the large model wins against the small one, read by a fine-tuned BERT."

    def __init__(
        self,
        *,
        small: str | None = None,
        large: str | None = None,
        encoder: Checkpoint = "google-bert/bert-base-uncased",
        tie: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        side: list[str] | None = None,
        max_tokens: MaxTokens = 512,
        epochs: Epochs = 5,
        batch_size: BatchSize = 16,
        learning_rate: LearningRate = 1e-5,
        weight_decay: WeightDecay = 0.01,
        warmup: Warmup = 0.05,
        dropout: Dropout = None,
        max_steps: MaxSteps = 2000,
        held_out: HeldOut = 0.1,
        patience: Patience = 2,
        augment: Augment = 0.0,
        seed: Seed = 0,
    ) -> None:
        self.small = small
        self.large = large
        self.encoder = encoder
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
        return self.encoder

    def _new_reader(self) -> Encoder:
        return Encoder([Head("softmax", 3), Head("sigmoid", 2)], self.max_tokens, self.side or ())

    def _targets(self, data: RoutingData) -> NDArray[np.float64]:
        outcomes = outcome_labels(data.samples(self.small_), data.samples(self.large_), self.tie)
        return np.column_stack([outcomes, data.quality()])

    def _read_out(self, outputs: NDArray[np.float32]) -> Prediction:
        tie_or_loss = outputs[:, 1] + outputs[:, 2]
        return Prediction(quality=outputs[:, 3:], large_needed=np.clip(1 - tie_or_loss, 0, 1))
