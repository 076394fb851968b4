"""Rows of features: dense, or of mostly zeros."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = [
    "FloatArray",
    "IntArray",
    "Rows",
    "SparseRow",
    "SparseRows",
    "as_matrix",
    "beside",
    "minus",
    "side_by_side",
    "stacked",
]

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]

SparseRow = tuple[IntArray, FloatArray]
"""Column indices and values of one row; both (n_nonzero,)."""


class SparseRows:
    """Rows of mostly zeros, (n, n_columns), that multiply fast without scipy, which a server need not load.

    Args:
        starts: (n + 1,) where each row starts in `columns` and `values`, and where the last one ends.
        columns: (n_values,) the column of each value.
        values: (n_values,) float32.
        n_columns: number of columns.
    """

    __slots__ = ("columns", "n_columns", "starts", "values")

    def __init__(self, starts: IntArray, columns: IntArray, values: FloatArray, n_columns: int) -> None:
        self.starts = starts
        self.columns = columns
        self.values = values
        self.n_columns = n_columns

    @classmethod
    def of(cls, rows: Sequence[SparseRow], n_columns: int) -> Self:
        """Rows by the columns and values of each."""
        starts = np.cumsum([0, *(len(columns) for columns, _ in rows)])
        columns = np.concatenate([np.zeros(0, np.int64), *(columns for columns, _ in rows)])
        values = np.concatenate([np.zeros(0, np.float32), *(values for _, values in rows)])
        return cls(starts, columns, values, n_columns)

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self), self.n_columns

    def __matmul__(self, weights: FloatArray) -> FloatArray:
        """Product with (n_columns, k): (n, k)."""
        # Columns are never out of range, and clipping spares numpy a copy that it checks them in.
        if len(self) == 1:
            return self.values[None] @ weights.take(self.columns, axis=0, mode="clip")
        out = np.empty((len(self), weights.shape[1]), dtype=np.float32)
        starts = self.starts.tolist()
        for row, (start, end) in enumerate(pairwise(starts)):
            there = weights.take(self.columns[start:end], axis=0, mode="clip")
            np.dot(self.values[start:end], there, out=out[row])
        return out

    def __getitem__(self, places: Sequence[int] | NDArray[np.int64]) -> Self:
        """The rows at these places."""
        chosen = self.matrix()[places]
        return type(self)(chosen.indptr.astype(np.int64), chosen.indices.astype(np.int64), chosen.data, self.n_columns)

    def row_of_values(self) -> IntArray:
        """The row of each value, (n_values,)."""
        return np.repeat(np.arange(len(self)), np.diff(self.starts))

    def squared_lengths(self) -> FloatArray:
        """Squared Euclidean length of each row, (n,)."""
        return np.bincount(self.row_of_values(), self.values**2, minlength=len(self)).astype(np.float32)

    def last_columns(self, n: int) -> FloatArray:
        """The last n columns, dense, (n_rows, n)."""
        out = np.zeros((len(self), n), dtype=np.float32)
        there = np.flatnonzero(self.columns >= self.n_columns - n)
        row = np.searchsorted(self.starts, there, side="right") - 1
        out[row, self.columns[there] - (self.n_columns - n)] = self.values[there]
        return out

    def matrix(self) -> csr_array[Any]:
        """The same rows as scipy's sparse matrix."""
        from scipy.sparse import csr_array

        return csr_array((self.values, self.columns, self.starts), shape=self.shape)


Rows = FloatArray | SparseRows
"""Features of n prompts, (n, n_features): both kinds have a length, a shape, row indexing and `@`."""


def as_matrix(rows: Rows) -> Any:
    """What scikit-learn and scipy take: a sparse matrix, or the dense one as it is."""
    return rows.matrix() if isinstance(rows, SparseRows) else rows


def beside(first: Rows, second: Rows) -> Rows:
    """The features of both, (n, n_first + n_second), of the same n prompts; sparse unless both are dense."""
    if not isinstance(first, SparseRows) and not isinstance(second, SparseRows):
        return np.concatenate([first, second], axis=1)
    first = _sparse(first)
    if not isinstance(second, SparseRows):
        return side_by_side(first, second)
    before = np.repeat(first.starts[1:], np.diff(second.starts))
    columns = np.insert(first.columns, before, second.columns + first.n_columns)
    values = np.insert(first.values, before, second.values)
    return SparseRows(first.starts + second.starts, columns, values, first.n_columns + second.n_columns)


def minus(first: Rows, second: Rows) -> Rows:
    """The difference of two features of the same n columns and rows; sparse unless both are dense."""
    if not isinstance(first, SparseRows) and not isinstance(second, SparseRows):
        return first - second
    first, second = _sparse(first), _sparse(second)
    width = first.n_columns
    places = [rows.row_of_values() * width + rows.columns for rows in (first, second)]
    there, place = np.unique(np.concatenate(places), return_inverse=True)
    summed = np.bincount(place, np.concatenate([first.values, -second.values]), minlength=len(there))
    starts = np.searchsorted(there, np.arange(len(first) + 1) * width)
    return SparseRows(starts, there % max(width, 1), summed.astype(np.float32), width)


def _sparse(rows: Rows) -> SparseRows:
    if isinstance(rows, SparseRows):
        return rows
    nothing = SparseRows(np.zeros(len(rows) + 1, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32), 0)
    return side_by_side(nothing, rows)


def side_by_side(rows: SparseRows, dense: FloatArray) -> SparseRows:
    """Rows, and dense ones, (n, n_more), to the right of them."""
    n_columns = rows.n_columns + dense.shape[1]
    if len(rows) == 1:
        column = np.flatnonzero(dense[0])
        columns = np.concatenate([rows.columns, column + rows.n_columns])
        values = np.concatenate([rows.values, dense[0].take(column)])
        return SparseRows(np.array([0, len(columns)]), columns, values, n_columns)
    row, column = np.nonzero(dense)
    starts = rows.starts + np.searchsorted(row, np.arange(len(rows) + 1))
    before = rows.starts[1:][row]
    columns = np.insert(rows.columns, before, column + rows.n_columns)
    values = np.insert(rows.values, before, dense[row, column])
    return SparseRows(starts, columns, values, n_columns)


def stacked(blocks: Sequence[SparseRows]) -> SparseRows:
    """Blocks of the same columns as one, their rows below each other."""
    if len(blocks) == 1:
        return blocks[0]
    ends = np.cumsum([len(block.values) for block in blocks])
    starts = [blocks[0].starts, *(block.starts[1:] + end for block, end in zip(blocks[1:], ends, strict=False))]
    columns, values = (np.concatenate([getattr(block, name) for block in blocks]) for name in ("columns", "values"))
    return SparseRows(np.concatenate(starts), columns, values, blocks[0].n_columns)
