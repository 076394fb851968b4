"""The training prompts most like a prompt: exact search by cosine similarity, fast for one prompt and for many."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from routers.features import FloatArray

__all__ = ["nearest", "similarities"]

IntArray = NDArray[np.int64]

_BLOCK = 64
_STRIDE = 16
_TIE = 1e-6
"""Similarities of one pair of rows differ by rounding with the size of the batch: so close ones are equal."""


def similarities(rows: FloatArray, stored: FloatArray) -> Iterator[FloatArray]:
    """Cosine similarities of rows (n, d) to all stored rows (n_stored, d), a block of rows at a time.

    Both must be of unit length or zero. Each block is (n_block, n_stored), of at most 64 rows.
    """
    for start in range(0, len(rows), _BLOCK):
        yield rows[start : start + _BLOCK] @ stored.T


def nearest(similarity: FloatArray, k: int) -> IntArray:
    """Places of the k highest of (n_stored,) similarities, in no order, and of all that equal the k-th.

    A sample of the similarities first gives a limit that about twice as many places reach, so that few of them need
    to be compared with each other. Where it lets fewer than k through, all are.
    """
    n = len(similarity)
    if k >= n:
        return np.arange(n)
    reached: IntArray = np.zeros(0, dtype=np.int64)
    sample = similarity[::_STRIDE]
    expected = 2 * k // _STRIDE + 8
    if expected < len(sample):
        limit = np.partition(sample, len(sample) - expected)[len(sample) - expected]
        reached = np.flatnonzero(similarity >= limit - _TIE)
    if len(reached) < k:
        reached = np.arange(n)
    among = similarity.take(reached)
    last = np.partition(among, len(among) - k)[len(among) - k]
    found: IntArray = reached[among >= last - _TIE]
    return found
