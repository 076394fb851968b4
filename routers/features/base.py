"""What turns prompts into numbers, and the rows of numbers that come out."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from routers.estimator import Estimator
from routers.features.terms import SparseRow, stack_rows

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["Features", "FloatArray", "Rows", "SparseRows", "Tensors", "as_matrix", "beside", "clip_text", "minus"]

FloatArray = NDArray[np.float32]
Tensors = dict[str, NDArray[Any]]


class SparseRows:
    """Rows of mostly zeros, (n, n_columns), that multiply fast when there are few of them.

    Args:
        rows: column indices and values of each row.
        n_columns: number of columns.
    """

    __slots__ = ("n_columns", "rows")

    def __init__(self, rows: Sequence[SparseRow], n_columns: int) -> None:
        self.rows = rows
        self.n_columns = n_columns

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.rows), self.n_columns

    def __matmul__(self, weights: FloatArray) -> FloatArray:
        """Product with (n_columns, k): (n, k)."""
        out = np.empty((len(self.rows), weights.shape[1]), dtype=np.float32)
        for i, (columns, values) in enumerate(self.rows):
            out[i] = values @ weights[columns]
        return out

    def __getitem__(self, places: Sequence[int] | NDArray[np.int64]) -> SparseRows:
        """The rows at these places."""
        return SparseRows([self.rows[place] for place in places], self.n_columns)

    def matrix(self) -> csr_array[Any]:
        """The same rows as scipy's sparse matrix."""
        return stack_rows(self.rows, self.n_columns)


Rows = FloatArray | SparseRows
"""Features of n prompts, (n, n_features): both kinds have a length, a shape, row indexing and `@`."""


def as_matrix(rows: Rows) -> Any:
    """What scikit-learn and scipy take: a sparse matrix, or the dense one as it is."""
    return rows.matrix() if isinstance(rows, SparseRows) else rows


def beside(first: Rows, second: Rows) -> Rows:
    """The features of both, (n, n_first + n_second), of the same n prompts; sparse unless both are dense."""
    if not isinstance(first, SparseRows) and not isinstance(second, SparseRows):
        return np.concatenate([first, second], axis=1)
    width = first.shape[1]
    joined = [
        (np.concatenate([columns, more + width]), np.concatenate([values, others]))
        for (columns, values), (more, others) in zip(_sparse(first), _sparse(second), strict=True)
    ]
    return SparseRows(joined, width + second.shape[1])


def minus(first: Rows, second: Rows) -> Rows:
    """The difference of two features of the same n columns and rows; sparse unless both are dense."""
    if not isinstance(first, SparseRows) and not isinstance(second, SparseRows):
        return first - second
    joined = []
    for (columns, values), (others, less) in zip(_sparse(first), _sparse(second), strict=True):
        there, place = np.unique(np.concatenate([columns, others]), return_inverse=True)
        summed = np.zeros(len(there), dtype=np.float32)
        np.add.at(summed, place, np.concatenate([values, -less]))
        joined.append((there, summed))
    return SparseRows(joined, first.shape[1])


def _sparse(rows: Rows) -> Sequence[SparseRow]:
    if isinstance(rows, SparseRows):
        return rows.rows
    there = [np.flatnonzero(row) for row in rows]
    return [(columns, row[columns]) for columns, row in zip(there, rows, strict=True)]


class Features(Estimator, ABC):
    """Numbers that describe prompts, by scikit-learn's transformer contract.

    Attributes:
        kind: what specifications of features call it.
        dense: whether rows are dense, of few columns that all matter, so that distances between them mean something.
        slow: whether a prompt takes more than about a millisecond, so that an event loop must not wait for it.
        argument: the parameter that `kind:value` sets, None where there is no such short form.
    """

    kind: ClassVar[str]
    dense: bool = True
    slow: bool = False
    argument: ClassVar[str | None] = None

    @property
    @abstractmethod
    def n_features_(self) -> int:
        """Columns of the rows."""

    @abstractmethod
    def fit(self, texts: Sequence[str], y: Any = None) -> Self:
        """Learn from texts, (n_texts,); y is ignored.

        Raises:
            DataError: there are no texts.
        """

    @abstractmethod
    def transform(self, texts: Sequence[str]) -> Rows:
        """Features of texts, (n_texts, n_features_) float32.

        Raises:
            NotFittedError: nothing has been learned or restored.
        """

    async def transform_async(self, texts: Sequence[str]) -> Rows:
        """The same as `transform`, without holding up the event loop."""
        return await asyncio.to_thread(self.transform, texts) if self.slow else self.transform(texts)

    def settings(self) -> dict[str, Any]:
        """What an artifact's `features` says: the kind and the parameters, as JSON values."""
        return {"kind": self.kind, **self.get_params()}

    @abstractmethod
    def tensors(self) -> Tensors:
        """The learned state, for saving."""

    @abstractmethod
    def restore(self, tensors: Mapping[str, NDArray[Any]]) -> Self:
        """Take the state that `tensors` gave.

        Raises:
            ArtifactError: a tensor is missing or of the wrong type or shape.
        """


def clip_text(text: str, max_chars: int) -> str:
    """The text itself, or its first and last halves of `max_chars` characters where it is longer."""
    if len(text) <= max_chars:
        return text
    half = max_chars // 2
    return f"{text[:half]}\n{text[-half:]}"
