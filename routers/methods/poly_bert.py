"""PolyRouter's BERT (arXiv 2408.12320): which of N experts suits this prompt?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from routers.base import Prediction
from routers.learning.soft_labels import soft_labels
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
from routers.neural.training import Head

if TYPE_CHECKING:
    from routers.data import RoutingData

__all__ = ["PolyBertRouter"]


class PolyBertRouter(TextRouter):
    """An encoder with one class for each expert, trained on soft labels; the likeliest class is the choice.

    The labels are softmax(10 q) over the experts, q being their mean quality; `soft_labels` says why the temperature of
    the paper multiplies here.

    What differs from the paper: the labels are made of any quality, not of BERT similarity, and cost and time are left
    to the policy. Beyond it, a second head of the same encoder learns each expert's mean quality (sigmoid outputs,
    binary cross-entropy), because shares of a softmax say which expert is better and not how good it is. The paper's
    settings for training are not known to us; the defaults are the customary ones for BERT.

    Confidence is 1 - H / log(number of experts), with H the entropy of the classes.

    Args:
        encoder: folder or hub's name of the encoder; safetensors weights only.
        temperature: factor of the qualities in the softmax.
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

    name: ClassVar[str] = "poly-bert"
    paper: ClassVar[str] = "PolyRouter, arXiv 2408.12320"
    needs: ClassVar[tuple[str, ...]] = ("torch", "transformers", "an encoder checkpoint")
    describes: ClassVar[str] = "Which expert suits the prompt best, read by a fine-tuned BERT from soft labels."

    def __init__(
        self,
        *,
        encoder: Checkpoint = "google-bert/bert-base-uncased",
        temperature: Annotated[float, Field(gt=0, le=1000)] = 10.0,
        side: list[str] | None = None,
        max_tokens: MaxTokens = 512,
        epochs: Epochs = 4,
        batch_size: BatchSize = 16,
        learning_rate: LearningRate = 2e-5,
        weight_decay: WeightDecay = 0.01,
        warmup: Warmup = 0.05,
        dropout: Dropout = None,
        max_steps: MaxSteps = None,
        held_out: HeldOut = 0.1,
        patience: Patience = 2,
        augment: Augment = 0.0,
        seed: Seed = 0,
    ) -> None:
        self.encoder = encoder
        self.temperature = temperature
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
        n_experts = len(self.experts_)
        return Encoder([Head("softmax", n_experts), Head("sigmoid", n_experts)], self.max_tokens, self.side or ())

    def _targets(self, data: RoutingData) -> NDArray[np.float64]:
        quality = data.quality()
        return np.column_stack([soft_labels(quality, self.temperature), quality])

    def _read_out(self, outputs: NDArray[np.float32]) -> Prediction:
        n_experts = len(self.experts_)
        suits, quality = outputs[:, :n_experts], outputs[:, n_experts:]
        return Prediction(quality=quality, choice=suits.argmax(axis=1), confidence=_certainty(suits))


def _certainty(shares: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 - H / log k of shares, (n, k): 1 where one class has it all, 0 where all are equal."""
    if shares.shape[1] == 1:
        return np.ones(len(shares), dtype=np.float32)
    logs = np.log(np.maximum(shares, np.finfo(np.float32).tiny))
    entropy = -(shares * logs).sum(axis=1)
    certainty: NDArray[np.float32] = np.clip(1 - entropy / np.log(shares.shape[1]), 0, 1).astype(np.float32)
    return certainty
