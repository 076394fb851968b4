"""RouteLLM's matrix factorisation (arXiv 2406.18665, section 4.2): a bilinear score learned from battles."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from routers.base import Prediction, Progress, RouterState
from routers.features import FeatureSpec, FloatArray, Rows, checked_tensor
from routers.learning.bilinear import Bilinear, BilinearSettings, train_bilinear
from routers.learning.bradley_terry import battle_table
from routers.learning.line import LogisticLine, fit_line
from routers.methods.routellm import BattleRouter

if TYPE_CHECKING:
    from routers.data import RoutingData

__all__ = ["MatrixFactorizationRouter"]

_FEWEST_PROMPTS = 20
"""With fewer prompts than this nothing is held out, and all epochs are run."""
_ADAPT_STRENGTH = 10.0
"""A quality's line counts as much as about 40 further prompts (each informs by p (1 - p), at most 1/4)."""


class MatrixFactorizationRouter(BattleRouter):
    """Learns a vector of each expert and a projection of prompts, whose bilinear score says who wins.

    delta(M, q) = w2^T (v_M * (W1^T v_q + b)), and the score is Pr(large wins) = sigmoid(delta_large - delta_small).
    Dimensions, optimiser and batches are the paper's; v_M has length 1, and noise is put on the prompts' features while
    training, as in the public code. The difference of two deltas is linear in v_q, so a decision is one dot product
    (`Bilinear.difference`) and needs no torch.

    What differs from the paper:

    - Labels are soft, shares of battles won with ties as halves; the public code drops ties.
    - Training is cross-fitted: for each fold a model learns from the others and stops when the loss on the fold has not
      fallen for `patience` epochs. The model that is kept learns from all prompts, for as many steps as were best on
      average. The public code always runs 100 epochs, which would be too few steps for few prompts.
    - Predicted qualities are not the paper's. Each expert's is a logistic line (Platt's) on delta_large - delta_small,
      fitted to the mean qualities of held-out prompts, so it is calibrated, but knows nothing beyond the score.

    Args:
        small: id of the small expert; None: the cheapest of the data.
        large: id of the large expert; None: the dearest of the data.
        features: which features v_q is made of; their rows must be dense.
        side: names of the side information to read beside the text.
        battles: "pair" for battles of the two experts, "all" for those among all experts of the data, which then share
            one projection of the prompts.
        dim: dimensions of v_M.
        noise: standard deviation of the Gaussian noise on v_q in training.
        batch_size: battles a step.
        learning_rate: of Adam.
        weight_decay: of Adam, as an L2 penalty on every weight.
        max_epochs: most passes over the battles.
        patience: epochs without a lower loss on the held-out fold after which training stops.
        folds: parts for early stopping and calibration.
        adapt_rate: learning rate of `adapt`, as a share of `learning_rate`.
        adapt_epochs: passes of `adapt` over the new battles.
        large_share: share of the training prompts that `threshold_` sends to the large expert.
        seed: of features, folds, initial weights, shuffles and noise.

    Attributes:
        model_: the weights.
        direction_: (n_features,) float32 and a number, which give delta_large - delta_small.
        lines_: lines of the qualities of the small and of the large expert.
    """

    name: ClassVar[str] = "routellm-mf"
    needs: ClassVar[tuple[str, ...]] = ("torch",)
    describes: ClassVar[str] = "How likely the large model wins, by a bilinear score of models and prompts."

    model_: Bilinear
    direction_: tuple[FloatArray, float]
    lines_: tuple[LogisticLine, LogisticLine]

    def __init__(
        self,
        *,
        small: str | None = None,
        large: str | None = None,
        features: FeatureSpec = "tfidf-svd",
        side: list[str] | None = None,
        battles: Literal["pair", "all"] = "pair",
        dim: Annotated[int, Field(ge=1, le=4096)] = 128,
        noise: Annotated[float, Field(ge=0, le=10)] = 0.1,
        batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = 64,
        learning_rate: Annotated[float, Field(gt=0, le=1)] = 3e-4,
        weight_decay: Annotated[float, Field(ge=0, le=1)] = 1e-5,
        max_epochs: Annotated[int, Field(ge=1, le=10_000)] = 300,
        patience: Annotated[int, Field(ge=1, le=10_000)] = 5,
        folds: Annotated[int, Field(ge=2, le=20)] = 3,
        adapt_rate: Annotated[float, Field(gt=0, le=1)] = 0.3,
        adapt_epochs: Annotated[int, Field(ge=1, le=10_000)] = 20,
        large_share: Annotated[float, Field(ge=0, le=1)] = 0.5,
        seed: Annotated[int, Field(ge=0, lt=2**32)] = 0,
    ) -> None:
        self.small = small
        self.large = large
        self.features = features
        self.side = side
        self.battles = battles
        self.dim = dim
        self.noise = noise
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.max_epochs = max_epochs
        self.patience = patience
        self.folds = folds
        self.adapt_rate = adapt_rate
        self.adapt_epochs = adapt_epochs
        self.large_share = large_share
        self.seed = seed

    def _fit(self, data: RoutingData, progress: Progress) -> None:
        progress("battles", 0.0)
        battles = self._learn_battles(data)
        progress("features", 0.02)
        rows = np.asarray(self._learn_features(data))
        n_folds = self.folds if len(rows) >= _FEWEST_PROMPTS else 0
        epochs, held_out = self._cross_fitted(rows, battles, n_folds, progress)
        last = n_folds / (n_folds + 1)
        settings = replace(self._settings(), epochs=epochs)

        def watch(epoch: int, model: Bilinear) -> bool:
            progress("training on all prompts", max(0.1, last) + 0.99 * (1 - max(0.1, last)) * epoch / epochs)
            return False

        self._take(train_bilinear(rows, battles, settings, watch))
        scores = held_out if n_folds else self._differences(rows)
        self._set_threshold(_sigmoid(scores))
        quality = data.quality()
        self.lines_ = (fit_line(scores, quality[:, 0]), fit_line(scores, quality[:, 1]))
        self.summary_ = {
            "training_prompts": len(rows),
            "contenders": list(self.contenders_),
            "mean_label": float(battles[:, 1, 0].mean()),
            "epochs": epochs,
            "held_out_loss": _cross_entropy(held_out, battles[:, 1, 0]) if n_folds else None,
        }
        progress("training on all prompts", 1.0)

    def _cross_fitted(
        self, rows: FloatArray, battles: FloatArray, n_folds: int, progress: Progress
    ) -> tuple[int, NDArray[np.float64]]:
        """Epochs to train with all prompts, and each prompt's delta_large - delta_small by one that did not see it."""
        fold = np.random.default_rng(self.seed).permutation(len(rows)) % max(n_folds, 1)
        held_out, best_epochs = np.zeros(len(rows)), []
        for k in range(n_folds):
            rest, part = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
            stopping = _EarlyStopping(rows[part], battles[part, 1, 0], self.patience)

            def watch(epoch: int, model: Bilinear, k: int = k, stopping: _EarlyStopping = stopping) -> bool:
                progress("cross-fitting", max(0.02, (k + 0.99 * epoch / self.max_epochs) / (n_folds + 1)))
                return stopping(epoch, model)

            train_bilinear(rows[rest], battles[rest], self._settings(), watch)
            held_out[part] = stopping.scores
            best_epochs.append(stopping.epoch)
        # As many steps, not as many epochs, so that scores of the model that is kept are on the scale of these.
        epochs = round(float(np.mean(best_epochs)) * (1 - 1 / n_folds)) if best_epochs else self.max_epochs
        return max(1, epochs), held_out

    def _adapt(self, data: RoutingData, progress: Progress) -> None:
        """Training goes on with battles of the two experts on the new prompts, at a lower rate.

        The lines of the qualities become the most likely ones under a Gaussian prior around those learned.
        """
        rows, pair = np.asarray(self._rows_of(data)), battle_table(data)
        k = len(self.contenders_)
        model = self.model_
        settings = replace(
            self._settings(), epochs=self.adapt_epochs, learning_rate=self.learning_rate * self.adapt_rate
        )

        def watch(epoch: int, model: Bilinear) -> bool:
            progress("adapting", 0.99 * epoch / self.adapt_epochs)
            return False

        two = replace(model, experts=model.experts[:2])
        adapted = train_bilinear(rows, pair, settings, watch, start=two)
        others = model.experts[2:k]
        self._take(replace(adapted, experts=np.concatenate([adapted.experts, others])))
        scores, quality = self._differences(rows), data.quality()
        small, large = self.lines_
        self.lines_ = (
            fit_line(scores, quality[:, 0], prior=small, strength=_ADAPT_STRENGTH),
            fit_line(scores, quality[:, 1], prior=large, strength=_ADAPT_STRENGTH),
        )
        progress("adapting", 1.0)

    def _predict_rows(self, rows: Rows) -> Prediction:
        scores = self._differences(np.asarray(rows))
        small, large = self.lines_
        return Prediction(
            quality=np.stack([small(scores), large(scores)], axis=1),
            large_needed=_sigmoid(scores).astype(np.float32),
        )

    def _take(self, model: Bilinear) -> None:
        self.model_ = model
        self.direction_ = model.difference(1, 0)

    def _differences(self, rows: FloatArray) -> NDArray[np.float64]:
        """delta_large - delta_small of rows, (n,)."""
        direction, offset = self.direction_
        return (rows @ direction).astype(np.float64) + offset

    def _settings(self) -> BilinearSettings:
        return BilinearSettings(
            dim=self.dim,
            noise=self.noise,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            epochs=self.max_epochs,
            seed=self.seed,
        )

    def state(self) -> RouterState:
        """What was learned, for saving."""
        lines = np.array([[line.slope, line.offset] for line in self.lines_])
        calibration = {"method": "platt", "contenders": list(self.contenders_)}
        return self._feature_state(calibration, {**self.model_.tensors(), "lines": lines})

    def restore(self, state: RouterState) -> None:
        """Take what `state` gave.

        Raises:
            ArtifactError: a value or tensor is missing or of the wrong type or shape.
        """
        n_features = self._restore_features(state)
        self._restore_contenders(state)
        self._take(Bilinear.restore(state.tensors, len(self.contenders_), n_features))
        lines = checked_tensor(state.tensors, "lines", np.float64, (2, 2)).tolist()
        self.lines_ = (LogisticLine(*lines[0]), LogisticLine(*lines[1]))


class _EarlyStopping:
    """Remembers the epoch with the least loss on held-out prompts, and says when to stop waiting for a lower one.

    Args:
        rows: (n, n_features), features of the held-out prompts.
        label: (n,), shares of their battles that the large expert wins.
        patience: epochs to wait.

    Attributes:
        epoch: the best epoch, from 1.
        scores: (n,), delta_large - delta_small at that epoch.
    """

    def __init__(self, rows: FloatArray, label: FloatArray, patience: int) -> None:
        self._rows = rows
        self._label = label
        self._patience = patience
        self._least = np.inf
        self.epoch = 0
        self.scores = np.zeros(len(rows))

    def __call__(self, epoch: int, model: Bilinear) -> bool:
        direction, offset = model.difference(1, 0)
        scores = (self._rows @ direction).astype(np.float64) + offset
        loss = _cross_entropy(scores, self._label)
        if loss < self._least:
            self._least, self.epoch, self.scores = loss, epoch, scores
        return epoch - self.epoch >= self._patience


def _sigmoid(z: NDArray[np.float64]) -> NDArray[np.float64]:
    p: NDArray[np.float64] = 0.5 * (1.0 + np.tanh(0.5 * z))
    return p


def _cross_entropy(z: NDArray[np.float64], label: FloatArray) -> float:
    """Mean over prompts, of logits z (n,) against soft labels (n,)."""
    return float((np.logaddexp(0.0, z) - label * z).mean())
