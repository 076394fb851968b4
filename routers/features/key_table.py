"""Finding many 64-bit numbers among many."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from routers.errors import ArtifactError

__all__ = ["KeyTable"]

_ODD = np.uint64(0x9E3779B97F4A7C15)
"""2^64 over the golden ratio, next odd: products with it are spread, and those of different keys differ."""
_ROUNDS = 100
_MORE_BITS = 4
"""Keys that chance brings together need one more bit now and then; those that need more than this no chance made."""


class KeyTable:
    """Where each of n keys is, found for many keys in a few steps of numpy.

    Cuckoo hashing (Pagh and Rodler, Journal of Algorithms 51, 2004): a key is in one of two slots, which its bits say,
    so that two looks find it. Here both are bits of one spread key, and all keys move in together, round by round.

    Args:
        keys: (n,) uint64.

    Raises:
        ArtifactError: two keys are the same, or many were chosen to crowd together.
    """

    def __init__(self, keys: NDArray[np.uint64]) -> None:
        spread = keys * _ODD
        if len(np.unique(spread)) < len(spread):
            raise ArtifactError("Two terms of the router's vocabulary cannot be told apart: train and save it again.")
        least_bits = len(keys).bit_length() + 1
        for self._bits in range(least_bits, least_bits + _MORE_BITS + 1):
            slots = _moved_in(*self._slots(spread), 1 << self._bits)
            if slots is not None:
                break
        else:
            raise ArtifactError("The router's vocabulary was made to be slow to search: train and save it again.")
        # An empty slot holds a key that is not looked for there: 0 looks into slot 0, and 2^64 - 1 into the last.
        self._keys = np.zeros(len(slots), dtype=np.uint64)
        self._keys[0] = 2**64 - 1
        taken = np.flatnonzero(slots >= 0)
        self._keys[taken] = spread[slots[taken]]
        self._places = slots

    def find(self, keys: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Which of the keys, (m,), are there, as their indices, (n_found,), and the places of these, (n_found,)."""
        spread = keys * _ODD
        first, second = self._slots(spread)
        slot = np.where(self._keys.take(first) == spread, first, second)
        found = np.flatnonzero(self._keys.take(slot) == spread)
        return found, self._places.take(slot.take(found))

    def _slots(self, spread: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Both slots of each spread key: its highest bits, and the next ones."""
        first = spread >> np.uint64(64 - self._bits)
        second = (spread >> np.uint64(64 - 2 * self._bits)) & np.uint64((1 << self._bits) - 1)
        return first.view(np.int64), second.view(np.int64)


def _moved_in(first: NDArray[np.int64], second: NDArray[np.int64], n_slots: int) -> NDArray[np.int32] | None:
    """Which key is in each slot, (n_slots,), -1 where none is; None: the keys found no peace.

    Args:
        first: (n,) a slot of each key.
        second: (n,) its other slot.
        n_slots: number of slots.
    """
    slots = np.full(n_slots, -1, dtype=np.int32)
    at, homeless = first.copy(), np.arange(len(first), dtype=np.int32)
    for _ in range(_ROUNDS):
        wanted = at[homeless]
        evicted = np.unique(slots[wanted])
        slots[wanted] = homeless
        homeless = np.concatenate([homeless[slots[wanted] != homeless], evicted[evicted >= 0]])
        if not len(homeless):
            return slots
        at[homeless] = first[homeless] + second[homeless] - at[homeless]
    return None
