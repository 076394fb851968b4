"""A probability from one number: a logistic line on soft labels, as Platt scaling has it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["LogisticLine", "fit_line"]

_RIDGE = 1e-3


@dataclass(frozen=True, slots=True)
class LogisticLine:
    """P(x) = sigmoid(slope * x + offset)."""

    slope: float
    offset: float

    def __call__(self, x: ArrayLike) -> NDArray[np.float32]:
        """Probability at x, of its shape, float32."""
        z = self.slope * np.asarray(x, dtype=np.float64) + self.offset
        return (0.5 * (1.0 + np.tanh(0.5 * z))).astype(np.float32)


def fit_line(
    x: ArrayLike,
    y: ArrayLike,
    *,
    bounds: tuple[float, float] = (-np.inf, np.inf),
    prior: LogisticLine | None = None,
    strength: float = _RIDGE,
) -> LogisticLine:
    """The line with the least cross-entropy against soft labels y (n,) in [0, 1] at x (n,).

    Args:
        x: (n,), n >= 1.
        y: (n,).
        bounds: least and largest slope allowed.
        prior: line that is kept to where the labels say little; None: the flat one at 1/2.
        strength: weight of the squared distance from the prior, half of which is added to the summed cross-entropy.
    """
    from scipy.optimize import minimize

    at, label = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    center = np.zeros(2) if prior is None else np.array([prior.slope, prior.offset])

    def loss(line: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        z = line[0] * at + line[1]
        gap = 0.5 * (1.0 + np.tanh(0.5 * z)) - label
        away = line - center
        value = (np.logaddexp(0.0, z) - label * z).sum() + 0.5 * strength * away @ away
        return float(value), np.array([gap @ at, gap.sum()]) + strength * away

    start = np.array([np.clip(center[0], *bounds), center[1]])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[bounds, (-np.inf, np.inf)])
    return LogisticLine(float(found.x[0]), float(found.x[1]))
