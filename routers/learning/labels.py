"""Labels for a two-model router, from sampled answers (Hybrid LLM, arXiv 2404.14618, section 3).

With s and l the qualities of a sampled answer of the small and of the large model, H = s - l is the quality
gap.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routers.errors import DataError, ParameterError

__all__ = ["deterministic_labels", "find_relaxation", "mean_gap", "relaxed_labels"]

FloatArray = NDArray[np.float64]

_TIE = 1e-9
"""Means of equal qualities differ by rounding: a gap this close to the limit counts as within it."""


def deterministic_labels(small: ArrayLike, large: ArrayLike) -> FloatArray:
    """y_det = 1[s >= l] from the first sample of each model; (n_prompts,) of 0.0 and 1.0.

    Args:
        small: (n_prompts, n_small_samples) qualities; NaN where a sample is missing.
        large: (n_prompts, n_large_samples) likewise.

    Raises:
        DataError: the shapes do not match, or a prompt has no sample of a model.
    """
    s, b = _samples(small, large)
    return (_first(s) >= _first(b) - _TIE).astype(np.float64)


def relaxed_labels(small: ArrayLike, large: ArrayLike, t: float = 0.0) -> FloatArray:
    """y_trans(t) = Pr[H >= -t], the mean over all pairs of samples of 1[s - l >= -t]; y_prob is t = 0.

    Args:
        small: (n_prompts, n_small_samples) qualities; NaN where a sample is missing.
        large: (n_prompts, n_large_samples) likewise.
        t: quality that the small model may fall behind, >= 0.

    Returns:
        (n_prompts,) in [0, 1].

    Raises:
        DataError: the shapes do not match, or a prompt has no sample of a model.
        ParameterError: t is negative.
    """
    if t < 0:
        raise ParameterError(f"The relaxation t is {t}: give 0 or more.")
    s, b = _samples(small, large)
    gaps = s[:, :, None] - b[:, None, :]
    pairs = np.isfinite(gaps)
    share: FloatArray = ((gaps >= -t - _TIE) & pairs).sum(axis=(1, 2)) / pairs.sum(axis=(1, 2))
    return share


def mean_gap(values: ArrayLike) -> float:
    """(1/N^2) times the sum over all i, i' of |y_i - y_i'|, in O(N log N) by sorting.

    Args:
        values: (n,), n >= 1.
    """
    y = np.sort(np.asarray(values, dtype=np.float64))
    n = len(y)
    return float(2.0 * ((2 * np.arange(1, n + 1) - n - 1) @ y) / n**2)


def find_relaxation(
    small: ArrayLike, large: ArrayLike, grid: ArrayLike | None = None
) -> tuple[float, NDArray[np.float64]]:
    """t* = argmax_t of `mean_gap` of y_trans(t): the t whose labels tell the prompts apart best (equation 3).

    Args:
        small: (n_prompts, n_small_samples) qualities; NaN where a sample is missing.
        large: (n_prompts, n_large_samples) likewise.
        grid: (n_t,) values of t to try, 0 to 1 in steps of 0.01 unless given. The first of equals wins.

    Returns:
        t*, and the objective at each t of the grid, (n_t,).

    Raises:
        DataError: the shapes do not match, or a prompt has no sample of a model.
        ParameterError: the grid is empty or holds a negative t.
    """
    ts = np.linspace(0.0, 1.0, 101) if grid is None else np.asarray(grid, dtype=np.float64)
    if not ts.size:
        raise ParameterError("The grid for t* is empty: give at least one value.")
    objective = np.array([mean_gap(relaxed_labels(small, large, float(t))) for t in ts])
    return float(ts[int((objective > objective.max() - _TIE).argmax())]), objective


def _samples(small: ArrayLike, large: ArrayLike) -> tuple[FloatArray, FloatArray]:
    s, b = np.asarray(small, dtype=np.float64), np.asarray(large, dtype=np.float64)
    if s.ndim != 2 or b.ndim != 2 or len(s) != len(b) or not len(s):
        raise DataError(
            f"Labels need two matrices (prompts, samples) over the same prompts, not {s.shape} and {b.shape}."
        )
    for name, samples in (("small", s), ("large", b)):
        empty = np.isnan(samples).all(axis=1)
        if empty.any():
            raise DataError(
                f"Prompt number {int(empty.argmax())} has no answer of the {name} model: label it or drop it."
            )
    return s, b


def _first(samples: FloatArray) -> FloatArray:
    first: FloatArray = samples[np.arange(len(samples)), np.isfinite(samples).argmax(axis=1)]
    return first
