"""Choosing among N experts by a value, and how sure that choice is."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["best_two", "certainty"]

FloatArray = NDArray[np.floating[Any]]
IntArray = NDArray[np.int64]

_TIE = 1e-6


def best_two(value: FloatArray, cost: FloatArray) -> tuple[IntArray, IntArray]:
    """The expert of the highest value and the runner-up, of equals the cheaper; (n,) each.

    Args:
        value: (n, n_experts).
        cost: (n_experts,). With one expert the runner-up is that expert too.
    """
    if len(value) == 1:
        first_of_one, second_of_one = _best_two_of_one(value[0].tolist(), cost.tolist())
        return np.array([first_of_one]), np.array([second_of_one])
    rows = np.arange(len(value))
    by_cost = np.argsort(cost, kind="stable")
    ranked = value[:, by_cost]
    first = (ranked >= ranked.max(axis=1, keepdims=True) - _TIE).argmax(axis=1)
    if value.shape[1] == 1:
        return by_cost[first], by_cost[first]
    ranked[rows, first] = -np.inf
    second = (ranked >= ranked.max(axis=1, keepdims=True) - _TIE).argmax(axis=1)
    return by_cost[first], by_cost[second]


def _best_two_of_one(value: list[float], cost: list[float]) -> tuple[int, int]:
    """The same of one prompt, whose few numbers lists hold in less time than arrays."""
    best = max(value) - _TIE
    first = min([i for i, worth in enumerate(value) if worth >= best], key=cost.__getitem__)
    if len(value) == 1:
        return first, first
    value[first] = -math.inf
    best = max(value) - _TIE
    return first, min([i for i, worth in enumerate(value) if worth >= best], key=cost.__getitem__)


def certainty(lead: FloatArray, variance: FloatArray) -> NDArray[np.float32]:
    """How sure it is that an estimated lead is above zero, (n,) in [0, 1]: 2 Phi(lead / standard error) - 1.

    Args:
        lead: (n,) estimated difference of two experts; below zero counts as zero.
        variance: (n,) its squared standard error; where that is zero, any lead is certain.
    """
    error = np.sqrt(np.maximum(variance, 1e-12))
    scaled = np.maximum(lead, 0.0) / (error * math.sqrt(2.0))
    return np.array([math.erf(z) for z in scaled.tolist()], dtype=np.float32)
