"""The bootstrap over prompts: how far a figure would move on another draw of prompts of the same kind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from routers.errors import ParameterError

__all__ = ["draws", "interval", "p_value"]

FloatArray = NDArray[np.float64]

_CELLS = 2_000_000
_TAIL = 0.025


def draws(texts: Sequence[str], n_resamples: int, seed: int) -> Iterator[FloatArray]:
    """How often each prompt counts in each resample, in batches (n_batch, n_prompts).

    What is drawn with replacement are different texts: prompts of one text count together, for they are one piece of
    evidence. The same seed draws the same prompts, so that routers are compared on the same resamples.

    Raises:
        ParameterError: there are fewer than 2 resamples.
    """
    if n_resamples < 2:
        raise ParameterError(f"{n_resamples} resamples give no interval: ask for 2 or more, better 1000.")
    rng = np.random.default_rng(seed)
    _, text = np.unique(np.array(texts, dtype=object), return_inverse=True)
    n_texts = int(text.max()) + 1
    size = max(1, _CELLS // n_texts)
    for start in range(0, n_resamples, size):
        n = min(size, n_resamples - start)
        drawn = rng.integers(n_texts, size=(n, n_texts)) + n_texts * np.arange(n)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=n * n_texts).reshape(n, n_texts)
        yield counts[:, text].astype(np.float64)


def interval(values: FloatArray) -> tuple[float, float] | None:
    """The percentile interval at 95 % of resampled values (n,); None where it has no end.

    That is so where a figure is not defined (NaN) in more resamples than lie outside of one of its ends.
    """
    if np.isnan(values).mean() > _TAIL:
        return None
    low, high = np.nanquantile(values, [_TAIL, 1 - _TAIL])
    return float(low), float(high)


def p_value(differences: FloatArray) -> float | None:
    """Two-sided p-value of no difference, from resampled differences (n,).

    Twice the share of resamples on the rarer side of 0 (Efron and Tibshirani 1993, chapter 15), one resample added to
    each side so that it is never 0. None where the difference is not defined in more than 2.5 % of them.
    """
    if np.isnan(differences).mean() > _TAIL:
        return None
    held = differences[~np.isnan(differences)]
    rarer = min(int((held <= 0).sum()), int((held >= 0).sum()))
    return min(1.0, 2 * (rarer + 1) / (len(held) + 1))
