"""Small heads that turn features into calibrated probabilities, trained on soft labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from routers.base import Progress
from routers.errors import ParameterError
from routers.features import FloatArray, Rows, as_matrix, checked_tensor

__all__ = ["HeadSettings", "ProbabilityHead"]

Layers = list[tuple[FloatArray, FloatArray]]

_BATCH = 64
_LEARNING_RATE = 2e-3
_WEIGHT_DECAY = 1e-4
_DROPOUT = 0.2
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
        C: inverse strength of the L2 penalty of the logistic regression.
        folds: parts for cross-fitting.
        seed: of folds, initial weights, shuffles and dropout.
    """

    kind: Literal["linear", "mlp"] = "linear"
    hidden: int = 64
    max_epochs: int = 40
    patience: int = 4
    C: float = 1.0
    folds: int = 5
    seed: int = 0


class ProbabilityHead:
    """Sigmoid outputs on features; binary cross-entropy against soft labels.

    Calibration is Platt's, cross-fitted: each fold is scored by a head trained on the others (which for the
    MLP also stops on that fold), and one slope and offset an output are fitted to these held-out logits. The
    head that is kept learns from all rows, the MLP for as many epochs as the folds needed on average.
    """

    def __init__(self) -> None:
        self.layers: Layers = []
        self.slope: FloatArray = np.ones(0, dtype=np.float32)
        self.offset: FloatArray = np.zeros(0, dtype=np.float32)

    def fit(self, rows: Rows, y: NDArray[np.float64], settings: HeadSettings, progress: Progress) -> Self:
        """Learn from features (n, n_features) and soft labels (n, n_outputs) in [0, 1].

        Raises:
            ParameterError: the MLP is asked for without torch.
        """
        train = _train_mlp if settings.kind == "mlp" else _train_linear
        x = as_matrix(rows)
        n, n_outputs = y.shape
        held_out = np.zeros((n, n_outputs))
        epochs = []
        n_folds = settings.folds if n >= _FEWEST_ROWS else 0
        fold = np.random.default_rng(settings.seed).permutation(n) % max(n_folds, 1)
        for k in range(n_folds):
            progress("cross-fitting", k / (n_folds + 1))
            rest, part = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
            layers, epoch = train(x[rest], y[rest], settings, (x[part], y[part]))
            held_out[part] = _forward(x[part] @ layers[0][0], layers)
            epochs.append(epoch)
        progress("training on all rows", n_folds / (n_folds + 1))
        wanted = max(1, round(float(np.mean(epochs)))) if epochs else settings.max_epochs
        self.layers, _ = train(x, y, settings, wanted)
        self.slope, self.offset = np.ones(n_outputs, np.float32), np.zeros(n_outputs, np.float32)
        if n_folds:
            for output in range(n_outputs):
                weight, bias = _logistic(held_out[:, [output]], y[:, output], 1e6)
                self.slope[output], self.offset[output] = max(float(weight[0]), 1e-3), bias
        progress("training on all rows", 1.0)
        return self

    def adapt(self, rows: Rows, y: NDArray[np.float64], settings: HeadSettings, progress: Progress) -> Self:
        """Go on from the learned weights on further rows."""
        raise NotImplementedError

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


def _forward(first: Any, layers: Layers) -> FloatArray:
    """Logits (n, n_outputs) from the first layer's product (n, n_units)."""
    out: FloatArray = first + layers[0][1]
    for weights, bias in layers[1:]:
        out = np.maximum(out, 0.0) @ weights + bias
    return out


def _sigmoid(z: FloatArray) -> FloatArray:
    out: FloatArray = (0.5 * (1.0 + np.tanh(0.5 * z))).astype(np.float32)
    return out


def _logistic(x: Any, y: NDArray[np.float64], C: float) -> tuple[NDArray[np.float64], float]:
    """Logistic regression on soft labels: a row counts as a 1 with weight y and as a 0 with weight 1 - y."""
    from scipy.sparse import issparse, vstack
    from sklearn.linear_model import LogisticRegression

    mean = float(np.clip(y.mean(), 0.5 / (len(y) + 1), 1 - 0.5 / (len(y) + 1)))
    constant = np.zeros(x.shape[1]), float(np.log(mean / (1 - mean)))
    weight = np.concatenate([y, 1 - y])
    used = weight > 0
    target = np.repeat([1, 0], len(y))[used]
    if len(np.unique(target)) < 2 or np.ptp(y) == 0:
        return constant
    model = LogisticRegression(C=C, max_iter=1000)
    twice = vstack([x, x]).tocsr() if issparse(x) else np.concatenate([x, x])
    model.fit(twice[used], target, sample_weight=weight[used])
    return model.coef_[0], float(model.intercept_[0])


def _train_linear(x: Any, y: NDArray[np.float64], settings: HeadSettings, watch: Any) -> tuple[Layers, int]:
    fitted = [_logistic(x, y[:, output], settings.C) for output in range(y.shape[1])]
    weights = np.stack([weight for weight, _ in fitted], axis=1).astype(np.float32)
    return [(weights, np.array([bias for _, bias in fitted], dtype=np.float32))], 1


def _train_mlp(
    x: Any,
    y: NDArray[np.float64],
    settings: HeadSettings,
    watch: tuple[Any, NDArray[np.float64]] | int,
) -> tuple[Layers, int]:
    """Train for `watch` epochs, or while the loss on its rows falls; gives the best epoch's weights."""
    try:
        import torch
    except ImportError:
        raise ParameterError("head='mlp' needs torch: install it, or use head='linear'.") from None

    def dense(rows: Any) -> torch.Tensor:
        return torch.from_numpy(_dense(rows))

    targets = torch.from_numpy(y.astype(np.float32))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        net = torch.nn.Sequential(
            torch.nn.Linear(x.shape[1], settings.hidden),
            torch.nn.ReLU(),
            torch.nn.Dropout(_DROPOUT),
            torch.nn.Linear(settings.hidden, y.shape[1]),
        )
        optimizer = torch.optim.AdamW(net.parameters(), lr=_LEARNING_RATE, weight_decay=_WEIGHT_DECAY)
        loss_of = torch.nn.BCEWithLogitsLoss()
        best_loss, best_epoch, best = np.inf, 0, _layers(net)
        for epoch in range(1, (watch if isinstance(watch, int) else settings.max_epochs) + 1):
            net.train()
            for batch in torch.randperm(len(targets)).split(_BATCH):
                optimizer.zero_grad()
                loss_of(net(dense(x[batch.numpy()])), targets[batch]).backward()
                optimizer.step()
            if isinstance(watch, int):
                best_epoch, best = epoch, _layers(net)
                continue
            net.eval()
            with torch.no_grad():
                loss = float(loss_of(net(dense(watch[0])), torch.from_numpy(watch[1].astype(np.float32))))
            if loss < best_loss:
                best_loss, best_epoch, best = loss, epoch, _layers(net)
            elif epoch - best_epoch >= settings.patience:
                break
    return best, best_epoch


def _dense(rows: Any) -> FloatArray:
    return np.asarray(rows.toarray() if hasattr(rows, "toarray") else rows, dtype=np.float32)


def _layers(net: Any) -> Layers:
    linear = [layer for layer in net if hasattr(layer, "weight")]
    return [(layer.weight.detach().numpy().T.copy(), layer.bias.detach().numpy().copy()) for layer in linear]
