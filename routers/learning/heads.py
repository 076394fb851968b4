"""Small heads that turn features into calibrated probabilities, trained on soft labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from routers.base import Progress
from routers.features import FloatArray, Rows, as_matrix, checked_tensor
from routers.learning.linear import adapt_linear, logistic, train_linear
from routers.learning.mlp import Folds, Layers, adapt_mlp, train_mlp

__all__ = ["HeadSettings", "ProbabilityHead", "fit_platt"]


_FEWEST_ROWS = 20
"""With fewer rows than this nothing is held out: no calibration, and all epochs are run."""


@dataclass(frozen=True, slots=True)
class HeadSettings:
    """How to train a head.

    Attributes:
        kind: "linear" for logistic regression, "mlp" for one hidden layer of rectified units (needs torch).
        hidden: hidden units of the MLP.
        max_epochs: most passes over the data for the MLP.
        patience: passes without improvement on the held-out fold after which the MLP stops.
        dropout: share of the MLP's hidden units that are left out at random in each step of training.
        weight_decay: of the MLP (AdamW).
        C: inverse strength of the L2 penalty of the logistic regression.
        folds: parts for cross-fitting.
        seed: of folds, initial weights, shuffles and dropout.
        prior_strength: of the L2 penalty toward what was learned when a head adapts; None: for the linear head the
            one from 0.1 to 300 that does best on held-out rows, or 10 where there are too few of them; 1 for the MLP.
            It stands against the sum of the rows' losses.
    """

    kind: Literal["linear", "mlp"] = "linear"
    hidden: int = 64
    max_epochs: int = 40
    patience: int = 4
    dropout: float = 0.2
    weight_decay: float = 1e-4
    C: float = 1.0
    folds: int = 5
    seed: int = 0
    prior_strength: float | None = None


class ProbabilityHead:
    """Sigmoid outputs on features; binary cross-entropy against soft labels.

    Calibration is Platt's (1999, with his targets short of 0 and 1), cross-fitted: each fold is scored by a head
    trained on the others (which for the MLP also stops on that fold), and one slope and offset an output are fitted
    to these held-out logits. The head that is kept learns from all rows, the MLP for as many epochs as the folds
    needed on average.
    """

    def __init__(self) -> None:
        self.layers: Layers = []
        self.slope: FloatArray = np.ones(0, dtype=np.float32)
        self.offset: FloatArray = np.zeros(0, dtype=np.float32)

    def fit(
        self,
        rows: Rows,
        y: NDArray[np.float64],
        settings: HeadSettings,
        progress: Progress,
        copies: tuple[Rows, NDArray[np.int64]] | None = None,
        groups: NDArray[np.int64] | None = None,
    ) -> Self:
        """Learn from features (n, n_features) and soft labels (n, n_outputs) in [0, 1].

        Args:
            rows: features.
            y: labels.
            settings: how to train.
            progress: told what is done.
            copies: features of noisy copies, (n_copies, n_features), and which of the rows each is a copy of. They
                are learned from beside the rows, never held out, and together weigh what the rows alone would.
            groups: (n,) numbers from 0 on of the group that each row belongs to, such as its prompt: a fold holds whole
                groups. None: each row is one of its own.

        Raises:
            ParameterError: the MLP is asked for without torch.
        """
        train = train_mlp if settings.kind == "mlp" else train_linear
        x, source = _with_copies(rows, copies)
        n, n_outputs = y.shape
        # Copies must not weaken the penalty, which stands against the sum over all rows.
        settings = replace(settings, C=settings.C * n / len(source))
        held_out = np.zeros((n, n_outputs))
        epochs = []
        fold, n_folds = _folds(n, settings, groups)
        for k in range(n_folds):
            progress("cross-fitting", k / (n_folds + 1))
            rest, part = np.flatnonzero(fold[source] != k), np.flatnonzero(fold == k)
            layers, epoch = train(x[rest], y[source[rest]], settings, (x[part], y[part]))
            held_out[part] = _forward(x[part] @ layers[0][0], layers)
            epochs.append(epoch)
        progress("training on all rows", n_folds / (n_folds + 1))
        wanted = max(1, round(float(np.mean(epochs)))) if epochs else settings.max_epochs
        self.layers, _ = train(x, y[source], settings, wanted)
        self.slope, self.offset = np.ones(n_outputs, np.float32), np.zeros(n_outputs, np.float32)
        if n_folds:
            for output in range(n_outputs):
                self.slope[output], self.offset[output] = fit_platt(held_out[:, output], y[:, output])
        progress("training on all rows", 1.0)
        return self

    def adapt(self, rows: Rows, y: NDArray[np.float64], settings: HeadSettings, progress: Progress) -> Self:
        """Go on from what was learned, on further rows (n, n_features) and soft labels (n, n_outputs).

        The calibration becomes part of the last layer, from where a penalty on the squared distance to the start
        holds the weights back (L2-SP; Li, Grandvalet and Davoine, ICML 2018). The linear head takes the optimum,
        which is the maximum a posteriori under a Gaussian prior around the old weights, bias included; the MLP takes
        a few passes at a lower learning rate. How strong the penalty is, and how many passes, is what does best on
        held-out folds, where "none" is among the choices; with fewer than 20 rows nothing can be held out, and a
        strong penalty and two passes stand in.

        Raises:
            ParameterError: the MLP is asked for without torch.
        """
        x = as_matrix(rows)
        layers = self._calibrated_layers()
        adapted = adapt_mlp if len(layers) > 1 else adapt_linear
        self.layers = adapted(x, y, layers, settings, _folds(len(y), settings), progress)
        self.slope, self.offset = np.ones_like(self.slope), np.zeros_like(self.offset)
        progress("adapting", 1.0)
        return self

    def _calibrated_layers(self) -> Layers:
        weights, bias = self.layers[-1]
        return [*self.layers[:-1], (weights * self.slope, bias * self.slope + self.offset)]

    def predict(self, rows: Rows) -> FloatArray:
        """Calibrated probabilities of rows, (n, n_features): (n, n_outputs) float32 in [0, 1]."""
        logits = _forward(rows @ self.layers[0][0], self.layers) * self.slope + self.offset
        return _sigmoid(logits)

    def tensors(self) -> dict[str, NDArray[Any]]:
        """The learned state, for saving."""
        state: dict[str, NDArray[Any]] = {"head.slope": self.slope, "head.offset": self.offset}
        for i, (weights, bias) in enumerate(self.layers):
            state |= {f"head.{i}.weights": weights, f"head.{i}.bias": bias}
        return state

    def restore(self, tensors: Mapping[str, NDArray[Any]], n_features: int, n_outputs: int) -> Self:
        """Take the state that `tensors` gave.

        Raises:
            ArtifactError: a tensor is missing or of the wrong type or shape.
        """
        n_layers = 2 if "head.1.weights" in tensors else 1
        self.layers = []
        width = n_features
        for i in range(n_layers):
            out = n_outputs if i == n_layers - 1 else None
            weights = checked_tensor(tensors, f"head.{i}.weights", np.float32, (width, out))
            width = weights.shape[1]
            self.layers.append((weights, checked_tensor(tensors, f"head.{i}.bias", np.float32, (width,))))
        self.slope = checked_tensor(tensors, "head.slope", np.float32, (n_outputs,))
        self.offset = checked_tensor(tensors, "head.offset", np.float32, (n_outputs,))
        return self


def fit_platt(logits: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """Slope > 0 and offset that make held-out logits (n,) say the soft labels (n,) best (Platt, 1999)."""
    weight, bias = logistic(logits[:, None], _platt_targets(y), 1e6)
    return max(float(weight[0]), 1e-3), bias


def _platt_targets(y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Labels (n,) as far from 0 and 1 as so many of them warrant, so that what is told apart stays finite."""
    most, least = (y.sum() + 1) / (y.sum() + 2), 1 / ((1 - y).sum() + 2)
    targets: NDArray[np.float64] = least + y * (most - least)
    return targets


def _folds(n: int, settings: HeadSettings, groups: NDArray[np.int64] | None = None) -> Folds:
    """The fold of each of n rows, and how many folds there are; none where the rows or their groups are too few."""
    n_groups = n if groups is None else int(groups.max()) + 1
    n_folds = settings.folds if n >= _FEWEST_ROWS and n_groups >= settings.folds else 0
    fold = np.random.default_rng(settings.seed).permutation(n_groups) % max(n_folds, 1)
    return fold if groups is None else fold[groups], n_folds


def _with_copies(rows: Rows, copies: tuple[Rows, NDArray[np.int64]] | None) -> tuple[Any, NDArray[np.int64]]:
    """The rows, with their copies below, and the row that each is or is a copy of."""
    x, source = as_matrix(rows), np.arange(rows.shape[0])
    if copies is None:
        return x, source
    from scipy.sparse import issparse, vstack

    more = as_matrix(copies[0])
    both = vstack([x, more]).tocsr() if issparse(x) else np.concatenate([x, more])
    return both, np.concatenate([source, copies[1]])


def _forward(first: Any, layers: Layers) -> FloatArray:
    """Logits (n, n_outputs) from the first layer's product (n, n_units)."""
    out: FloatArray = first + layers[0][1]
    for weights, bias in layers[1:]:
        out = np.maximum(out, 0.0) @ weights + bias
    return out


def _sigmoid(z: FloatArray) -> FloatArray:
    out: FloatArray = (0.5 * (1.0 + np.tanh(0.5 * z))).astype(np.float32)
    return out
