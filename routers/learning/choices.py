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
    rows = np.arange(len(value))
    by_cost = np.argsort(cost, kind="stable")
    ranked = value[:, by_cost]
    first = (ranked >= ranked.max(axis=1, keepdims=True) - _TIE).argmax(axis=1)
    if value.shape[1] == 1:
        return by_cost[first], by_cost[first]
    ranked[rows, first] = -np.inf
    second = (ranked >= ranked.max(axis=1, keepdims=True) - _TIE).argmax(axis=1)
    return by_cost[first], by_cost[second]


def certainty(lead: FloatArray, variance: FloatArray) -> NDArray[np.float32]:
    """How sure it is that an estimated lead is above zero, (n,) in [0, 1]: 2 Phi(lead / standard error) - 1.

    Args:
        lead: (n,) estimated difference of two experts; below zero counts as zero.
        variance: (n,) its squared standard error; where that is zero, any lead is certain.
    """
    error = np.sqrt(np.maximum(variance, 1e-12))
    scaled = np.maximum(lead, 0.0) / (error * math.sqrt(2.0))
    return np.array([math.erf(z) for z in scaled.tolist()], dtype=np.float32)
