"""Soft labels over N experts (PolyRouter, also TO-Router, arXiv 2408.12320)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routers.errors import DataError, ParameterError

__all__ = ["soft_labels"]


def soft_labels(quality: ArrayLike, temperature: float = 10.0) -> NDArray[np.float64]:
    """Softmax over experts of `temperature` times quality.

    The paper's labels are a softmax "with temperature 10" of scores in [0, 1]. We take 10 as a factor: an expert that
    is right where another is wrong weighs e^10 times as much, so the label is all but shared among the best experts,
    ties equally. As a divisor it would let two such experts differ by a factor of 1.1, next to nothing to learn from.

    Args:
        quality: (n_prompts, n_experts) in [0, 1].
        temperature: > 0; 1 / T of a softmax written with a divisor T.

    Returns:
        (n_prompts, n_experts), rows that sum to 1.

    Raises:
        DataError: the quality is not a finite matrix with at least one expert.
        ParameterError: the temperature is not positive and finite.
    """
    q = np.asarray(quality, dtype=np.float64)
    if q.ndim != 2 or q.shape[1] == 0 or not np.isfinite(q).all():
        raise DataError("Soft labels need a finite matrix (prompts, experts) with at least one expert.")
    if not (np.isfinite(temperature) and temperature > 0):
        raise ParameterError(f"The temperature of soft labels is {temperature}: give a positive number.")
    weight = np.exp(temperature * (q - q.max(axis=1, keepdims=True)))
    labels: NDArray[np.float64] = weight / weight.sum(axis=1, keepdims=True)
    return labels
