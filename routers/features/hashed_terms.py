"""TF-IDF weights by the hashes of terms, for all texts at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from routers.features.hashing import HashArray, term_hashes
from routers.features.key_table import KeyTable
from routers.features.rows import IntArray, SparseRows
from routers.features.terms import Tfidf

__all__ = ["HashedTerms"]


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
        cells = place[found] * width + known
        cells.sort()
        first = np.flatnonzero(np.diff(cells, prepend=-1))
        weights = 1 + np.log(np.diff(first, append=len(cells)).astype(np.float32))
        cells = cells[first]
        row_starts = np.arange(n_texts) * width
        block_starts = np.searchsorted(cells, (row_starts[:, None] + self._first_columns).ravel())
        sizes = np.diff(block_starts, append=len(cells))
        starts = np.append(block_starts[:: len(self._first_columns)], len(cells))
        columns = cells - np.repeat(row_starts, np.diff(starts))
        weights *= self._idf[columns]
        block = np.repeat(np.arange(len(sizes)), sizes)
        weights /= np.sqrt(np.bincount(block, weights * weights, minlength=len(sizes))).astype(np.float32)[block]
        return SparseRows(starts, columns, weights, width)
