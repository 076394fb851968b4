"""Soft labels from sampled answers, for routers that classify a pair of answers."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routers.learning.labels import relaxed_labels

__all__ = ["outcome_labels", "score_labels"]

FloatArray = NDArray[np.float64]


def outcome_labels(small: ArrayLike, large: ArrayLike, tie: float = 0.0) -> FloatArray:
    """How often the large model wins, ties and loses, over all pairs of samples.

    With s and l the qualities of a pair, the large model wins where l > s + tie and loses where s > l + tie.

    Args:
        small: (n_prompts, n_small_samples) qualities; NaN where a sample is missing.
        large: (n_prompts, n_large_samples) likewise.
        tie: difference that still counts as a tie, >= 0.

    Returns:
        (n_prompts, 3), rows that sum to 1.

    Raises:
        DataError: the shapes do not match, or a prompt has no sample of a model.
        ParameterError: `tie` is negative.
    """
    win, loss = 1 - relaxed_labels(small, large, tie), 1 - relaxed_labels(large, small, tie)
    return np.column_stack([win, np.maximum(1 - win - loss, 0.0), loss])


def score_labels(small: ArrayLike, large: ArrayLike, tie: float = 0.0) -> FloatArray:
    """How often the small model's answer deserves each score from 1 to 5, over all pairs of samples.

    With g = s - l the quality gap of a pair: 5 where g > tie (better), 4 where |g| <= tie (as good), 3 where it falls
    behind by at most a third, 2 by at most two thirds, 1 by more. So a score of 4 or 5 says that the small model
    will do.

    Args:
        small: (n_prompts, n_small_samples) qualities; NaN where a sample is missing.
        large: (n_prompts, n_large_samples) likewise.
        tie: difference that still counts as equal, in [0, 1/3].

    Returns:
        (n_prompts, 5), rows that sum to 1.

    Raises:
        DataError: the shapes do not match, or a prompt has no sample of a model.
        ParameterError: `tie` is negative.
    """
    better = 1 - relaxed_labels(large, small, tie)
    at_least = [relaxed_labels(small, large, behind) for behind in (2 / 3, 1 / 3, tie)]
    steps = np.column_stack([np.ones_like(better), *at_least, better, np.zeros_like(better)])
    shares: FloatArray = np.maximum(steps[:, :-1] - steps[:, 1:], 0.0)
    return shares
