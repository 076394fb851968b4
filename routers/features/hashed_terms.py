"""TF-IDF weights by the hashes of terms, for all texts at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from routers.features.hashing import HashArray, changes, sizes, term_hashes
from routers.features.key_table import KeyTable
from routers.features.rows import IntArray, SparseRow, SparseRows
from routers.features.terms import Tfidf

__all__ = ["HashedTerms"]

_LEAST = 1e-12
"""Length below which a block is taken for one without a known term."""


class HashedTerms:
    """The terms of several `Tfidf`, whose counts are all sublinear, side by side.

    Args:
        blocks: the trained `Tfidf`, and what is added to the hash of each piece of their terms.

    Raises:
        ArtifactError: two terms have the same hash.
    """

    def __init__(self, blocks: Sequence[tuple[Tfidf, int]]) -> None:
        self._table = KeyTable(np.concatenate([term_hashes(tfidf.terms, added) for tfidf, added in blocks]))
        self._idf = np.concatenate([tfidf.idf for tfidf, _ in blocks])
        self._first_columns = np.cumsum([0, *(len(tfidf.terms) for tfidf, _ in blocks)])[:-1]

    def rows(self, hashes: HashArray, place: IntArray, n_texts: int) -> SparseRows:
        """Weights of texts, (n_texts, n_terms), of unit length in each block or zero where no term of it is known.

        Args:
            hashes: (n,) hashes of the texts' terms, each as often as it occurs.
            place: (n,) place of the text that each is in.
            n_texts: number of texts.
        """
        width = len(self._idf)
        found, known = self._table.find(hashes)
        keys = place.take(found) * width + known
        # Half of the bits are sorted in half of the time.
        dtype: type[np.unsignedinteger[Any]] = np.uint32 if n_texts * width < 2**32 else np.uint64
        ordered = keys.astype(dtype)
        ordered.sort()
        first = np.flatnonzero(changes(ordered))
        weights = 1 + np.log(sizes(first, len(ordered)).astype(np.float32))
        cells: IntArray = ordered.take(first).astype(np.int64)
        row_starts = np.arange(n_texts) * width
        block_starts = np.searchsorted(cells, (row_starts[:, None] + self._first_columns).ravel())
        block_sizes = sizes(block_starts, len(cells))
        starts = np.empty(n_texts + 1, dtype=np.int64)
        starts[:-1], starts[-1] = block_starts[:: len(self._first_columns)], len(cells)
        columns = cells - np.repeat(row_starts, starts[1:] - starts[:-1])
        weights *= self._idf.take(columns)
        block = np.repeat(np.arange(len(block_sizes)), block_sizes)
        lengths = np.sqrt(np.bincount(block, weights * weights, minlength=len(block_sizes)))
        weights /= lengths.astype(np.float32).take(block)
        return SparseRows(starts, columns, weights, width)

    def row(self, hashes: HashArray) -> SparseRow:
        """The same of one text, by the hashes of its terms, (n,), without what it takes to keep texts apart."""
        _, known = self._table.find(hashes)
        known.sort()
        first = np.flatnonzero(changes(known))
        columns: IntArray = known.take(first).astype(np.int64)
        weights = np.log(sizes(first, len(known)).astype(np.float32))
        weights += 1
        weights *= self._idf.take(columns)
        start = 0
        for end in [*columns.searchsorted(self._first_columns[1:]).tolist(), len(columns)]:
            block = weights[start:end]
            block /= max(math.sqrt(float(block @ block)), _LEAST)
            start = end
        return columns, weights
