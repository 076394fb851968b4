"""Logistic regression on soft labels, and its maximum a posteriori around weights that are there already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from routers.base import Progress
from routers.learning.mlp import Folds, Layers

if TYPE_CHECKING:
    from routers.learning.heads import HeadSettings

__all__ = ["adapt_linear", "best_penalty", "logistic", "train_linear"]

_PENALTIES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
_PARTS = 5
_MANY_ROWS = 5000
_FEW_ROWS_PENALTY = 1.0
_STRENGTHS = (np.inf, 300.0, 100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1)
_FEW_ROWS_STRENGTH = 10.0


def logistic(x: Any, y: NDArray[np.float64], C: float) -> tuple[NDArray[np.float64], float]:
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


def best_penalty(x: Any, y: NDArray[np.float64], seed: int) -> float:
    """The inverse strength C of the L2 penalty, from 0.03 to 30, with the least cross-entropy on held-out rows.

    The sum over the outputs counts. Penalties are tried from the strongest on, until two weaker ones in a row do worse.
    Of five parts each is held out once, or only the first where there are more than 5,000 rows; with fewer than 20
    rows nothing can be held out, and 1 stands in.

    Args:
        x: features (n, n_features), dense or sparse.
        y: soft labels (n, n_outputs) in [0, 1].
        seed: of the parts.
    """
    n = len(y)
    if n < 4 * _PARTS:
        return _FEW_ROWS_PENALTY
    part = np.random.default_rng(seed).permutation(n) % _PARTS
    losses: list[float] = []
    for C in _PENALTIES:
        losses.append(sum(_held_out_loss(x, y, C, part == k) for k in range(1 if n > _MANY_ROWS else _PARTS)))
        if len(losses) - 1 - int(np.argmin(losses)) >= 2:
            break
    return _PENALTIES[int(np.argmin(losses))]


def _held_out_loss(x: Any, y: NDArray[np.float64], C: float, held_out: NDArray[np.bool_]) -> float:
    rest, part = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    loss = 0.0
    for output in range(y.shape[1]):
        weights, bias = logistic(x[rest], y[rest, output], C)
        loss += float(_cross_entropy(x[part] @ weights + bias, y[part, output]).sum())
    return loss


def train_linear(x: Any, y: NDArray[np.float64], settings: HeadSettings, watch: Any) -> tuple[Layers, int]:
    """One layer, each output fitted on its own; there is nothing to watch."""
    fitted = [logistic(x, y[:, output], settings.C) for output in range(y.shape[1])]
    weights = np.stack([weight for weight, _ in fitted], axis=1).astype(np.float32)
    return [(weights, np.array([bias for _, bias in fitted], dtype=np.float32))], 1


def adapt_linear(
    x: Any, y: NDArray[np.float64], layers: Layers, settings: HeadSettings, folds: Folds, progress: Progress
) -> Layers:
    """The most likely weights under a Gaussian prior around those of the layer."""
    from scipy.sparse import issparse

    old_weights, old_bias = layers[0]
    # Weights of columns that no row has stay where they are.
    used = np.unique(x.indices) if issparse(x) else np.arange(x.shape[1])
    x = x[:, used]
    start = x @ old_weights[used] + old_bias
    weights, bias = old_weights.astype(np.float64), old_bias.astype(np.float64)
    for output in range(y.shape[1]):
        progress("adapting", output / y.shape[1])
        strength = settings.prior_strength
        if strength is None:
            strength = _best_strength(x, y[:, output], start[:, output], folds)
        moved, moved_bias = _map_shift(x, y[:, output], start[:, output], strength)
        weights[used, output] += moved
        bias[output] += moved_bias
    return [(weights.astype(np.float32), bias.astype(np.float32))]


def _best_strength(x: Any, y: NDArray[np.float64], start: NDArray[np.float64], folds: Folds) -> float:
    """The strength of the prior that does best on held-out rows, infinite for staying as it is.

    Of those that are within one standard error of the best, which differs from them by chance, the strongest
    (the one standard error rule of Breiman et al., 1984, on differences row by row).
    """
    fold, n_folds = folds
    if not n_folds:
        return _FEW_ROWS_STRENGTH
    losses = []
    for strength in _STRENGTHS:
        held_out = start.astype(np.float64)
        for k in range(n_folds):
            rest, part = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
            weights, bias = _map_shift(x[rest], y[rest], start[rest], strength)
            held_out[part] += x[part] @ weights + bias
        losses.append(_cross_entropy(held_out, y))
    excess = np.array(losses) - losses[int(np.sum(losses, axis=1).argmin())]
    near = excess.mean(axis=1) <= excess.std(axis=1) / np.sqrt(len(y))
    return _STRENGTHS[int(near.argmax())]


def _map_shift(
    x: Any, y: NDArray[np.float64], start: NDArray[np.float64], strength: float
) -> tuple[NDArray[np.float64], float]:
    """By how much the most likely weights and bias differ from those that gave the logits `start`, (n,)."""
    from scipy.optimize import minimize

    def loss(shift: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        z = start + x @ shift[:-1] + shift[-1]
        gap = 0.5 * (1.0 + np.tanh(0.5 * z)) - y
        gradient = np.append(x.T @ gap, gap.sum()) + strength * shift
        return float(_cross_entropy(z, y).sum()) + 0.5 * strength * float(shift @ shift), gradient

    shift = np.zeros(x.shape[1] + 1)
    if np.isfinite(strength):
        shift = minimize(loss, shift, jac=True, method="L-BFGS-B").x
    return shift[:-1], float(shift[-1])


def _cross_entropy(z: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each row, for logits z (n,) against soft labels y (n,)."""
    loss: NDArray[np.float64] = np.logaddexp(0.0, z) - y * z
    return loss
