"""Weights for what several members predict: how much each of them is worth beside the others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from routers.learning.heads import ProbabilityHead
from routers.learning.mlp import Layers

__all__ = ["equal_weights", "stacked"]

FloatArray = NDArray[np.float64]


def equal_weights(reads: NDArray[np.bool_]) -> Layers:
    """The mean of the inputs that each output reads, (n_inputs, n_outputs) bool, as weights and biases of 0."""
    weights = reads / np.maximum(reads.sum(axis=0), 1)
    return [(weights.astype(np.float32), np.zeros(reads.shape[1], dtype=np.float32))]


def stacked(logits: NDArray[np.float32], y: FloatArray, start: Layers, C: float) -> ProbabilityHead:
    """Stacked generalization of logits that members gave for rows which they have not learned from.

    A logistic regression on soft labels, as Ting and Witten (JAIR 10, 1999) have it for class probabilities, with
    Breiman's constraint (Machine Learning 24, 1996): no weight is negative. Members that say much the same
    otherwise get large weights of opposite sign, which fit the noise of the labels. A penalty of |w - start|^2 / 2C
    against the sum of the rows' losses holds the weights, not the bias, near where they start: with few rows the stack
    is what it started from.

    Args:
        logits: (n, n_inputs), what the members predict.
        y: (n, n_outputs) soft labels in [0, 1].
        start: one layer. An output reads the inputs whose weight there is above 0, and no other.
        C: inverse strength of the penalty.
    """
    weights, bias = np.zeros(start[0][0].shape, dtype=np.float32), np.empty_like(start[0][1])
    for output in range(y.shape[1]):
        read = np.flatnonzero(start[0][0][:, output] > 0)
        first = np.append(start[0][0][read, output], start[0][1][output]).astype(np.float64)
        found = _fitted(logits[:, read].astype(np.float64), y[:, output], first, C)
        weights[read, output], bias[output] = found[:-1], found[-1]
    head = ProbabilityHead()
    head.layers = [(weights, bias)]
    head.slope, head.offset = np.ones_like(bias), np.zeros_like(bias)
    return head


def _fitted(x: FloatArray, y: FloatArray, start: FloatArray, C: float) -> FloatArray:
    """Weights of the columns of x, at least 0, and a bias."""
    from scipy.optimize import minimize

    def loss(w: FloatArray) -> tuple[float, FloatArray]:
        z, shift = x @ w[:-1] + w[-1], np.append(w[:-1] - start[:-1], 0.0)
        gap = 0.5 * (1.0 + np.tanh(0.5 * z)) - y
        gradient = np.append(x.T @ gap, gap.sum()) + shift / C
        return float((np.logaddexp(0.0, z) - y * z).sum() + shift @ shift / (2 * C)), gradient

    limits = [(0.0, None)] * x.shape[1] + [(None, None)]
    found: FloatArray = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=limits).x
    return found
