"""Side information beside the text: task, domain, language, number of images, or whatever else is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from routers.errors import ArtifactError, DataError
from routers.features.base import Features, FloatArray, Rows, SparseRows, Tensors
from routers.features.tensors import checked_tensor
from routers.features.terms import decode_terms, encode_terms
from routers.prompt import SideValue, side_of

__all__ = ["SideFeatures", "WithSide"]

_CLIP = 4.0
_MOST_CATEGORIES = 1000


class SideFeatures(Features):
    """Columns of side information as numbers.

    A column in which any training prompt has a string is a set of categories: one indicator each, the
    `1000` most frequent ones, all zero for an unknown one. Any other column is a quantity: its standardised
    signed logarithm, limited to four standard deviations and divided by four. Each column also has an indicator of
    being there at all; where a value is missing the column is zero otherwise.

    Args:
        columns: names of the side information to read.

    Attributes:
        categories_: known categories by column, None for a quantity.
    """

    kind: ClassVar[str] = "side"

    def __init__(self, columns: tuple[str, ...] = ()) -> None:
        self.columns = columns

    @property
    def n_features_(self) -> int:
        """Columns of the rows."""
        return sum(1 + (1 if known is None else len(known)) for known in self.categories_)

    def fit(self, texts: Sequence[str], y: Any = None) -> Self:
        """Learn categories and scales from prompts that carry side information, (n,); y is ignored.

        Raises:
            DataError: there are no prompts, or none of them has one of the columns.
        """
        if not len(texts):
            raise DataError("Side information cannot be learned from no prompts: give at least one.")
        self.categories_: list[dict[str, int] | None] = []
        scale = []
        for column in self.columns:
            values = [value for text in texts if (value := side_of(text).get(column)) is not None]
            if not values:
                raise DataError(
                    f"No prompt of the data has the side information {column!r}: leave it out of 'side', or add a "
                    "column of this name."
                )
            self.categories_.append(_categories(values))
            numbers = np.array([_size(value) for value in values if not isinstance(value, str)] or [0.0])
            scale.append((numbers.mean(), numbers.std() or 1.0))
        self.scale_ = np.array(scale, dtype=np.float32).reshape(len(self.columns), 2)
        return self

    def transform(self, texts: Sequence[str]) -> FloatArray:
        """Features of each prompt, (n, n_features_) float32 in [-1, 1]."""
        out = np.zeros((len(texts), self.n_features_), dtype=np.float32)
        for row, text in zip(out, texts, strict=True):
            side = side_of(text)
            place = 0
            for column, known, (mean, spread) in zip(self.columns, self.categories_, self.scale_, strict=True):
                value = side.get(column)
                if value is not None:
                    row[place] = 1.0
                    _fill(row[place + 1 :], value, known, float(mean), float(spread))
                place += 1 + (1 if known is None else len(known))
        return out

    def tensors(self) -> Tensors:
        """The learned state, for saving."""
        tensors: Tensors = {"side.scale": self.scale_}
        for i, known in enumerate(self.categories_):
            if known is not None:
                tensors[f"side.{i}.categories"] = encode_terms(list(known))
        return tensors

    def restore(self, tensors: Mapping[str, NDArray[Any]]) -> Self:
        """Take the state that `tensors` gave.

        Raises:
            ArtifactError: a tensor is missing or of the wrong type or shape.
        """
        self.scale_ = checked_tensor(tensors, "side.scale", np.float32, (len(self.columns), 2))
        if (self.scale_[:, 1] <= 0).any():
            raise ArtifactError("The scale of the router's side information is not positive: train and save it again.")
        self.categories_ = []
        for i in range(len(self.columns)):
            name = f"side.{i}.categories"
            found = decode_terms(checked_tensor(tensors, name, np.uint8, (None,))) if name in tensors else None
            self.categories_.append(None if found is None else {value: place for place, value in enumerate(found)})
        return self


class WithSide(Features):
    """Features of the text and of the side information, next to each other.

    Args:
        text: features of the text.
        side: features of the side information.
    """

    kind: ClassVar[str] = "with-side"

    def __init__(self, text: Features, side: SideFeatures) -> None:
        self.text = text
        self.side = side
        self.dense = text.dense  # type: ignore[misc]
        self.slow = text.slow  # type: ignore[misc]

    @property
    def n_features_(self) -> int:
        """Columns of the rows."""
        return self.text.n_features_ + self.side.n_features_

    def fit(self, texts: Sequence[str], y: Any = None) -> Self:
        """Let both learn.

        Raises:
            DataError: there are no prompts, or none of them has one of the columns.
        """
        self.text.fit(texts, y)
        self.side.fit(texts, y)
        return self

    def transform(self, texts: Sequence[str]) -> Rows:
        """Features of texts, (n_texts, n_features_) float32."""
        return self._join(self.text.transform(texts), texts)

    async def transform_async(self, texts: Sequence[str]) -> Rows:
        """The same as `transform`, without holding up the event loop."""
        return self._join(await self.text.transform_async(texts), texts)

    def settings(self) -> dict[str, Any]:
        """What an artifact's `features` says."""
        return {**self.text.settings(), "side": list(self.side.columns)}

    def tensors(self) -> Tensors:
        """The learned state, for saving."""
        return {**self.text.tensors(), **self.side.tensors()}

    def restore(self, tensors: Mapping[str, NDArray[Any]]) -> Self:
        """Take the state that `tensors` gave.

        Raises:
            ArtifactError: a tensor is missing or of the wrong type or shape.
        """
        self.text.restore(tensors)
        self.side.restore(tensors)
        return self

    def _join(self, rows: Rows, texts: Sequence[str]) -> Rows:
        side = self.side.transform(texts)
        if not isinstance(rows, SparseRows):
            return np.concatenate([rows, side], axis=1)
        columns = np.arange(rows.n_columns, rows.n_columns + side.shape[1])
        joined = [
            (np.concatenate([places, columns]), np.concatenate([values, extra]))
            for (places, values), extra in zip(rows.rows, side, strict=True)
        ]
        return SparseRows(joined, rows.n_columns + side.shape[1])


def _categories(values: Sequence[SideValue]) -> dict[str, int] | None:
    from collections import Counter

    if not any(isinstance(value, str) for value in values):
        return None
    counts = Counter(_name(value) for value in values)
    kept = sorted(counts, key=lambda name: (-counts[name], name))[:_MOST_CATEGORIES]
    return {name: place for place, name in enumerate(sorted(kept))}


def _fill(row: FloatArray, value: SideValue, known: dict[str, int] | None, mean: float, spread: float) -> None:
    if known is not None:
        place = known.get(_name(value))
        if place is not None:
            row[place] = 1.0
    elif not isinstance(value, str):
        row[0] = min(max((_size(value) - mean) / spread, -_CLIP), _CLIP) / _CLIP


def _name(value: SideValue) -> str:
    return str(value).replace("\n", " ")


def _size(value: SideValue) -> float:
    """Signed logarithm of a quantity; 0 for what is no finite number."""
    number = float(value or 0) if not isinstance(value, str) else 0.0
    return float(np.sign(number) * np.log1p(abs(number))) if np.isfinite(number) else 0.0
