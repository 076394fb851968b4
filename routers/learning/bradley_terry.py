"""Battles between experts, and Bradley-Terry strengths from weighted ones (RouteLLM, arXiv 2406.18665, section 4.2)."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routers.features import FloatArray
from routers.learning.labels import relaxed_labels

if TYPE_CHECKING:
    from routers.data import RoutingData

__all__ = ["battle_table", "similarity_weights", "strengths", "win_shares"]

Float64Array = NDArray[np.float64]

_LEAST_SIMILARITY = 1e-6
_TOLERANCE = 1e-10
_MOST_STEPS = 100


def win_shares(first: ArrayLike, second: ArrayLike) -> Float64Array:
    """Share of battles that the first expert wins, over all pairs of samples of a prompt; a tie is half a win.

    Args:
        first: (n_prompts, n_first_samples) qualities; NaN where a sample is missing.
        second: (n_prompts, n_second_samples) likewise.

    Returns:
        (n_prompts,) in [0, 1].

    Raises:
        DataError: the shapes do not match, or a prompt has no sample of an expert.
    """
    return (1 + relaxed_labels(first, second) - relaxed_labels(second, first)) / 2


def battle_table(data: RoutingData) -> FloatArray:
    """One battle a prompt between every two experts of the data, as shares won: (n_prompts, n_experts, n_experts).

    [i, a, b] is the share of prompt i's battles that expert a wins against b; [i, a, b] + [i, b, a] = 1, and the
    diagonal is 0. Experts are in the order of `data.experts`.

    Raises:
        DataError: a prompt has no sample of an expert.
    """
    samples = [data.samples(expert) for expert in data.experts]
    table = np.zeros((len(samples[0]), len(samples), len(samples)), dtype=np.float32)
    for a, b in combinations(range(len(samples)), 2):
        won = win_shares(samples[a], samples[b])
        table[:, a, b], table[:, b, a] = won, 1 - won
    return table


def similarity_weights(similarity: FloatArray, gamma: float) -> FloatArray:
    """Weights of battles for each request, omega = gamma^(1 + s / max s).

    A request without any positive similarity (such as one whose features are all zero) has no max s to compare
    with; its battles all weigh gamma, as for a similarity of 0.

    Args:
        similarity: (n_requests, n_battles) cosine similarities.
        gamma: base of the weights, >= 1.

    Returns:
        (n_requests, n_battles) float32.
    """
    top = similarity.max(axis=1, keepdims=True)
    relative = np.divide(similarity, top, out=np.zeros_like(similarity), where=top > _LEAST_SIMILARITY)
    relative += 1
    relative *= np.float32(np.log(gamma))
    weights: FloatArray = np.exp(relative, out=relative)
    return weights


def strengths(wins: ArrayLike, C: float, start: ArrayLike | None = None) -> Float64Array:
    """Bradley-Terry strengths xi that minimise the weighted loss, for many requests at once.

    The loss over battles, sum of omega_i * log(1 + exp(xi_loser - xi_winner)), depends on the battles only through
    the total weight with which each expert beat each other one; so a request costs one such matrix and a few Newton
    steps in n_experts unknowns, however many battles there are, and the result is the exact minimum. It is
    scikit-learn's logistic regression without intercept on rows that are +1 for the one expert and -1 for the other.

    Args:
        wins: (n, n_experts, n_experts), [.., a, b] the weight >= 0 with which a beat b; the diagonal is 0.
        C: inverse strength of the penalty |xi|^2 / 2, which keeps strengths finite where somebody always wins, and
            makes them sum to 0.
        start: (n_experts,) strengths to begin with; None: all equal.

    Returns:
        (n, n_experts).
    """
    won = np.asarray(wins, dtype=np.float64)
    fought = won + won.transpose(0, 2, 1)
    n, k = won.shape[:2]
    xi = np.zeros((n, k)) + (0.0 if start is None else np.asarray(start, dtype=np.float64))
    diagonal = np.arange(k)
    for _ in range(_MOST_STEPS):
        p = 0.5 * (1.0 + np.tanh(0.5 * (xi[:, :, None] - xi[:, None, :])))
        expected = fought * p
        gradient = (expected - won).sum(axis=2) + xi / C
        curvature = expected * (1 - p)
        hessian = -curvature
        hessian[:, diagonal, diagonal] += curvature.sum(axis=2) + 1 / C
        step = np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
        reach = step.max(axis=1, keepdims=True) - step.min(axis=1, keepdims=True)
        # Along t * step the curvature of a logistic loss grows by at most a factor e^(t * reach), so a step of this
        # length never climbs: e^(t * reach) - 1 <= reach. It nears a full Newton step at the end.
        xi -= step * np.where(reach > _TOLERANCE, np.log1p(reach) / np.maximum(reach, _TOLERANCE), 1.0)
        if np.abs(step).max(initial=0.0) < _TOLERANCE:
            break
    return xi
