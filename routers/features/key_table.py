"""Finding many 64-bit numbers among many."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from routers.errors import ArtifactError

__all__ = ["KeyTable"]

_ODD = np.uint64(0x9E3779B97F4A7C15)
"""2^64 over the golden ratio, next odd: products with it are spread, and those of different keys differ."""


class KeyTable:
    """Where each of n keys is, found for many keys in a few steps of numpy.

    The high bits of a spread key say nearly where it is among the sorted ones, and a few steps of a binary search,
    of all keys together, do the rest.

    Args:
        keys: (n,) uint64.

    Raises:
        ArtifactError: two keys are the same.
    """

    def __init__(self, keys: NDArray[np.uint64]) -> None:
        spread = keys * _ODD
        places = np.argsort(spread)
        spread = spread[places]
        if (spread[1:] == spread[:-1]).any():
            raise ArtifactError("Two terms of the router's vocabulary cannot be told apart: train and save it again.")
        bits = len(keys).bit_length() + 1
        self._shift = np.uint64(64 - bits)
        size = np.bincount((spread >> self._shift).astype(np.int64), minlength=1 << bits)
        self._starts = (np.cumsum(size) - size).astype(np.int32)
        self._steps = [1 << power for power in reversed(range(int(size.max()).bit_length()))]
        # After the last key come enough copies of it that no step leaves the array; a search finds the first of them.
        self._spread = np.pad(spread, (0, 2 * max(self._steps, default=1)), mode="edge" if len(keys) else "constant")
        self._places = np.append(places, np.full(len(self._spread) - len(places), -1)).astype(np.int32)

    def find(self, keys: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Which of the keys, (m,), are there, as their indices, (n_found,), and the places of these, (n_found,)."""
        spread = keys * _ODD
        at = self._starts[spread >> self._shift]
        for step in self._steps:
            at += (self._spread[at + np.int32(step - 1)] < spread) * np.int32(step)
        found = np.flatnonzero(self._spread[at] == spread)
        return found, self._places[at[found]]
