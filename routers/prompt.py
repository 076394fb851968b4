"""A prompt's text, with what else is known of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from routers.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Prompt", "SideValue", "side_of", "side_values"]

SideValue = str | int | float | bool | None
_NOTHING: Mapping[str, SideValue] = {}


class Prompt(str):
    """A text that carries side information, such as its task, domain, language or number of images.

    Wherever routers take texts they take prompts: what does not look at side information sees a plain string. As a
    string it equals its text, whatever its side information is, and what string methods make of it carries none.

    Args:
        text: the text.
        side: values by name; a copy is kept. A string is a category, a number or truth value a quantity, None unknown
            (`SideFeatures` says how they are read).
    """

    __slots__ = ("side",)

    side: Mapping[str, SideValue]

    def __new__(cls, text: str = "", side: Mapping[str, SideValue] | None = None) -> Self:
        """A string of this text."""
        prompt = super().__new__(cls, text)
        prompt.side = dict(side) if side else _NOTHING
        return prompt


def side_of(text: str) -> Mapping[str, SideValue]:
    """Side information of a prompt; none for a plain string."""
    return text.side if isinstance(text, Prompt) else _NOTHING


def side_values(frame: pd.DataFrame, names: Sequence[str]) -> list[dict[str, SideValue]]:
    """Side information of each row of a frame, from columns of these names, else keys of its `metadata`.

    Args:
        frame: one row a prompt. Its `metadata` may hold objects as they are or as JSON; other metadata has no keys.
        names: what to take. What is missing, not a number, a list or an object becomes None.

    Raises:
        DataError: neither a column nor the metadata of any row has one of the names.
    """
    metadata = [_object(value) for value in frame["metadata"]] if "metadata" in frame else [{}] * len(frame)
    sides: list[dict[str, SideValue]] = [{} for _ in range(len(frame))]
    for name in names:
        held = frame[name].tolist() if name in frame else [found.get(name) for found in metadata]
        values = [_plain(value) for value in held]
        if all(value is None for value in values):
            columns = ", ".join(map(str, frame.columns))
            raise DataError(f"There is no side information {name!r} in the data: its columns are {columns}.")
        for side, value in zip(sides, values, strict=True):
            side[name] = value
    return sides


def _object(value: Any) -> Mapping[str, Any]:
    import orjson

    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            return {}
    return value if isinstance(value, Mapping) else {}


def _plain(value: Any) -> SideValue:
    """A value as one of Python's own; None where it is missing or no single value."""
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float) and value != value:
        return None
    return value if isinstance(value, str | int | float | bool) else None
