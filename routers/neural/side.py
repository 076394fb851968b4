"""Side information of prompts, written out for models that read text."""

from __future__ import annotations

from collections.abc import Sequence

from routers.neural.tokens import Text
from routers.prompt import side_of

__all__ = ["with_side"]


def with_side(texts: Sequence[Text], side: Sequence[str]) -> list[Text]:
    """Each text after one line `name: value` for each of these values that is known of it.

    Args:
        texts: (n,) prompts, or tuples that begin with one.
        side: names of the values, in the order of the lines.
    """
    return [_written(text, side) if isinstance(text, str) else (_written(text[0], side), *text[1:]) for text in texts]


def _written(text: str, side: Sequence[str]) -> str:
    known = side_of(text)
    lines = [f"{name}: {known[name]}".replace("\n", " ") for name in side if known.get(name) is not None]
    return "\n".join([*lines, str(text)]) if lines else str(text)
