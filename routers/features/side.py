"""Side information beside the text: task, domain, language, number of images, or whatever else is known."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from routers.errors import ArtifactError, DataError, NotFittedError
from routers.features.base import Features, Tensors
from routers.features.rows import FloatArray, Rows, beside
from routers.features.tensors import checked_lines, checked_tensor
from routers.features.terms import decode_terms, encode_terms
from routers.prompt import SideValue, side_of

__all__ = ["SideFeatures", "WithSide"]

_CLIP = 4.0
_MOST_CATEGORIES = 1000
_LEAST_SPREAD = 1e-6


@dataclass(frozen=True, slots=True)
class _Column:
    """What is known of one column, and where its features are.

    Attributes:
        name: name of the side information.
        start: place of its first feature.
        width: its features, without the one that says it is missing.
        categories: place of each category among these; None for a quantity.
        mean: of the logarithms of a quantity.
        spread: their standard deviation.
        usual: (width,) what stands for a missing value.
        marks_missing: whether one more feature says that it is missing.
    """

    name: str
    start: int
    width: int
    categories: dict[str, int] | None
    mean: float
    spread: float
    usual: FloatArray
    marks_missing: bool


class SideFeatures(Features):
    """Columns of side information as numbers.

    A column in which any training prompt has a string is a set of categories: one indicator each, for the 1,000 most
    frequent; all are zero for a category that training did not see. Numbers and truth values in such a column are
    categories by their JSON form, so that 3 and 3.0 are the same.

    Any other column is a quantity, true being 1 and false 0: its signed logarithm sign(x) ln(1 + |x|), standardised,
    limited to four standard deviations and divided by four.

    A value is missing if there is none, if it is not finite, not a single value, or a string where a quantity is
    wanted. Then the column reads as the mean of the training prompts that have it: the shares of the categories, zero
    for a quantity. So a prompt about which nothing is known is neither near to nor far from any of them. Where training
    prompts lack a value too, one more feature is 1 for those that do, since missing may tell something.

    Args:
        columns: names of the side information to read.
    """

    kind: ClassVar[str] = "side"

    def __init__(self, columns: tuple[str, ...] = ()) -> None:
        self.columns = columns

    @property
    def n_features_(self) -> int:
        """Columns of the rows."""
        return len(self._usual)

    def fit(self, texts: Sequence[str], y: Any = None) -> Self:
        """Learn categories and scales from prompts that carry side information, (n,); y is ignored.

        Raises:
            DataError: there are no prompts, or none of them has one of the columns.
        """
        if not len(texts):
            raise DataError("Side information cannot be learned from no prompts: give at least one.")
        learned: list[_Column] = []
        for name in self.columns:
            column = _learned(name, [side_of(text).get(name) for text in texts])
            if column is None:
                raise DataError(
                    f"No prompt of the data has the side information {name!r}: leave it out of 'side', or add a "
                    "column of this name."
                )
            learned.append(column)
        self._lay_out(learned)
        return self

    def transform(self, texts: Sequence[str]) -> FloatArray:
        """Features of each prompt, (n, n_features_) float32 in [-1, 1].

        Raises:
            NotFittedError: nothing has been learned or restored.
        """
        if not hasattr(self, "_learned"):
            raise NotFittedError("These SideFeatures know no columns yet: call fit first.")
        out = np.empty((len(texts), len(self._usual)), dtype=np.float32)
        out[:] = self._usual
        for row, text in zip(out, texts, strict=True):
            side = side_of(text)
            if side:
                for column in self._learned:
                    _fill(row, column, side.get(column.name))
        return out

    def tensors(self) -> Tensors:
        """The learned state, for saving."""
        scale = [(column.mean, column.spread) for column in self._learned]
        tensors: Tensors = {
            "side.scale": np.array(scale, dtype=np.float32).reshape(len(scale), 2),
            "side.missing": np.array([column.marks_missing for column in self._learned], dtype=np.uint8),
        }
        for i, column in enumerate(self._learned):
            if column.categories is not None:
                tensors[f"side.{i}.categories"] = encode_terms(list(column.categories))
                tensors[f"side.{i}.shares"] = column.usual
        return tensors

    def restore(self, tensors: Mapping[str, NDArray[Any]]) -> Self:
        """Take the state that `tensors` gave.

        Raises:
            ArtifactError: a tensor is missing or of the wrong type, shape or range.
        """
        n = len(self.columns)
        scale = checked_tensor(tensors, "side.scale", np.float32, (n, 2))
        missing = checked_tensor(tensors, "side.missing", np.uint8, (n,))
        if (scale[:, 1] <= 0).any():
            raise ArtifactError("The scale of the router's side information is not positive: train and save it again.")
        restored = []
        for i, name in enumerate(self.columns):
            known, usual = None, np.zeros(1, np.float32)
            if f"side.{i}.categories" in tensors or f"side.{i}.shares" in tensors:
                found = decode_terms(checked_lines(tensors, f"side.{i}.categories"))
                known = {category: place for place, category in enumerate(found)}
                usual = checked_tensor(tensors, f"side.{i}.shares", np.float32, (len(known),))
            mean, spread = map(float, scale[i])
            restored.append(_Column(name, 0, len(usual), known, mean, spread, usual, bool(missing[i])))
        self._lay_out(restored)
        return self

    def _lay_out(self, columns: Sequence[_Column]) -> None:
        """Give each column its place in the rows, and make the row of a prompt about which nothing is known."""
        self._learned: list[_Column] = []
        usual: list[FloatArray] = [np.zeros(0, np.float32)]
        start = 0
        for column in columns:
            self._learned.append(replace(column, start=start))
            usual += [column.usual, np.ones(int(column.marks_missing), np.float32)]
            start += column.width + int(column.marks_missing)
        self._usual: FloatArray = np.concatenate(usual)


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
        self.dense = text.dense
        self.slow = text.slow

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
        return beside(self.text.transform(texts), self.side.transform(texts))

    async def transform_async(self, texts: Sequence[str]) -> Rows:
        """The same as `transform`, without holding up the event loop."""
        return beside(await self.text.transform_async(texts), self.side.transform(texts))

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


def _learned(name: str, values: Sequence[Any]) -> _Column | None:
    """A column by the values that training prompts have of it, (n,); None where none of them has any."""
    there = [value for value in values if isinstance(value, str) or _number(value) is not None]
    if not there:
        return None
    missing = len(there) < len(values)
    if any(isinstance(value, str) for value in there):
        counts = Counter(_category(value) for value in there)
        kept = sorted(sorted(counts, key=lambda category: (-counts[category], category))[:_MOST_CATEGORIES])
        shares = np.array([counts[category] / len(there) for category in kept], dtype=np.float32)
        places = {category: place for place, category in enumerate(kept)}
        return _Column(name, 0, len(kept), places, 0.0, 1.0, shares, missing)
    sizes = np.array([_size(float(value)) for value in there], dtype=np.float32)
    mean, spread = float(sizes.mean()), float(sizes.std())
    return _Column(name, 0, 1, None, mean, spread if spread > _LEAST_SPREAD else 1.0, np.zeros(1, np.float32), missing)


def _fill(row: FloatArray, column: _Column, value: Any) -> None:
    """Write the features of a value over those of a missing one."""
    number = _number(value)
    if column.categories is None:
        if number is None:
            return
        row[column.start] = min(max((_size(number) - column.mean) / column.spread, -_CLIP), _CLIP) / _CLIP
    else:
        if number is None and not isinstance(value, str):
            return
        row[column.start : column.start + column.width] = 0.0
        place = column.categories.get(_category(value))
        if place is not None:
            row[column.start + place] = 1.0
    if column.marks_missing:
        row[column.start + column.width] = 0.0


def _category(value: SideValue) -> str:
    if isinstance(value, str):
        return value.replace("\n", " ")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value)


def _number(value: Any) -> float | None:
    """A finite number, or None for anything else."""
    if not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _size(number: float) -> float:
    """Signed logarithm of a quantity."""
    return math.copysign(math.log1p(abs(number)), number)
