"""One hidden layer of rectified units on soft labels, trained with torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from routers.base import Progress
from routers.errors import ParameterError
from routers.features import FloatArray

if TYPE_CHECKING:
    from routers.learning.heads import HeadSettings

__all__ = ["Folds", "Layers", "adapt_mlp", "train_mlp"]

Layers = list[tuple[FloatArray, FloatArray]]
"""Weights (n_inputs, n_units) and bias (n_units,) of each layer."""
Folds = tuple[NDArray[np.int64], int]
"""The fold of each row, and how many folds there are."""

_BATCH = 64
_LEARNING_RATE = 2e-3
_ADAPT_LEARNING_RATE = 5e-4
_ADAPT_BATCH = 16
_ADAPT_STRENGTH = 1.0
_FEW_ROWS_EPOCHS = 2


def train_mlp(
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

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        net = _net(x.shape[1], settings.hidden, y.shape[1], settings.dropout)
        optimizer = torch.optim.AdamW(net.parameters(), lr=_LEARNING_RATE, weight_decay=settings.weight_decay)
        return _descend(net, optimizer, x, y, settings, watch)


def adapt_mlp(
    x: Any, y: NDArray[np.float64], layers: Layers, settings: HeadSettings, folds: Folds, progress: Progress
) -> Layers:
    """Go on from the layers, for as many epochs as the folds needed on average."""
    try:
        import torch
    except ImportError:
        raise ParameterError("Adapting an MLP head needs torch: install it.") from None

    def continued(rows: NDArray[np.int64], watch: tuple[Any, NDArray[np.float64]] | int) -> tuple[Layers, int]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            net = _net(layers[0][0].shape[0], layers[0][0].shape[1], y.shape[1], settings.dropout)
            _load(net, layers)
            optimizer = torch.optim.Adam(net.parameters(), lr=_ADAPT_LEARNING_RATE)
            strength = _ADAPT_STRENGTH if settings.prior_strength is None else settings.prior_strength
            return _descend(net, optimizer, x[rows], y[rows], settings, watch, anchor=strength / len(rows))

    fold, n_folds = folds
    epochs = []
    for k in range(n_folds):
        progress("adapting", k / (n_folds + 1))
        part = np.flatnonzero(fold == k)
        epochs.append(continued(np.flatnonzero(fold != k), (x[part], y[part]))[1])
    wanted = int(np.median(epochs)) if epochs else _FEW_ROWS_EPOCHS
    return continued(np.arange(len(y)), wanted)[0]


def _net(n_features: int, hidden: int, n_outputs: int, dropout: float) -> Any:
    from torch import nn

    return nn.Sequential(nn.Linear(n_features, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, n_outputs))


def _descend(
    net: Any,
    optimizer: Any,
    x: Any,
    y: NDArray[np.float64],
    settings: HeadSettings,
    watch: tuple[Any, NDArray[np.float64]] | int,
    anchor: float | None = None,
) -> tuple[Layers, int]:
    """Train for `watch` epochs, or while the loss on its rows falls; gives the best epoch and its weights.

    With an `anchor`, half of it times the squared distance to the start is added to the loss, and epoch 0, the
    start, may be the best.
    """
    import torch

    start = [parameter.detach().clone() for parameter in net.parameters()]
    targets = torch.from_numpy(y.astype(np.float32))
    loss_of = torch.nn.BCEWithLogitsLoss()

    def watched() -> float:
        if isinstance(watch, int):
            return 0.0
        net.eval()
        with torch.no_grad():
            return float(loss_of(net(_dense(watch[0])), torch.from_numpy(watch[1].astype(np.float32))))

    best_loss, best_epoch, best = np.inf if anchor is None else watched(), 0, _layers(net)
    for epoch in range(1, (watch if isinstance(watch, int) else settings.max_epochs) + 1):
        net.train()
        for batch in torch.randperm(len(targets)).split(_BATCH if anchor is None else _ADAPT_BATCH):
            optimizer.zero_grad()
            loss = loss_of(net(_dense(x[batch.numpy()])), targets[batch])
            if anchor is not None:
                moved = zip(net.parameters(), start, strict=True)
                loss = loss + 0.5 * anchor * sum(((now - then) ** 2).sum() for now, then in moved)
            loss.backward()
            optimizer.step()
        now_loss = watched()
        if isinstance(watch, int) or now_loss < best_loss:
            best_loss, best_epoch, best = now_loss, epoch, _layers(net)
        elif epoch - best_epoch >= settings.patience:
            break
    return best, best_epoch


def _dense(rows: Any) -> Any:
    """Rows as torch's dense matrix."""
    import torch

    return torch.from_numpy(np.asarray(rows.toarray() if hasattr(rows, "toarray") else rows, dtype=np.float32))


def _layers(net: Any) -> Layers:
    linear = [layer for layer in net if hasattr(layer, "weight")]
    return [(layer.weight.detach().numpy().T.copy(), layer.bias.detach().numpy().copy()) for layer in linear]


def _load(net: Any, layers: Layers) -> None:
    import torch

    linear = [layer for layer in net if hasattr(layer, "weight")]
    with torch.no_grad():
        for layer, (weights, bias) in zip(linear, layers, strict=True):
            layer.weight.copy_(torch.from_numpy(np.ascontiguousarray(weights.T)))
            layer.bias.copy_(torch.from_numpy(bias))
