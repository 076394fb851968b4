"""Tables that a command writes into a page of docs/, between marks, so that the prose around them stays."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from routers.errors import ParameterError

__all__ = ["between", "replace_part", "table"]


def between(text: str, name: str, new: str) -> str:
    """A page with another text between ``<!-- begin: name -->`` and ``<!-- end: name -->``.

    Raises:
        ParameterError: it does not have these marks once, one after the other.
    """
    begin, end = f"<!-- begin: {name} -->", f"<!-- end: {name} -->"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if len(pattern.findall(text)) != 1 or text.count(begin) != 1 or text.count(end) != 1:
        raise ParameterError(f"The page must have the lines {begin!r} and {end!r} once, in this order: put them there.")
    inside = f"{begin}\n{new.strip()}\n{end}" if new.strip() else f"{begin}\n{end}"
    return pattern.sub(lambda _: inside, text)


def replace_part(page: Path, name: str, text: str) -> None:
    """Replace what lies between the marks of a page.

    Raises:
        ParameterError: the page cannot be read or written, or has no such marks.
    """
    try:
        before = page.read_text(encoding="utf-8")
        page.write_text(between(before, name, text), encoding="utf-8")
    except OSError as error:
        reason = error.strerror or error
        raise ParameterError(f"{page} cannot be written ({reason}): name another folder with --out.") from None


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, first column to the left."""
    lines = [headings, ["---", *["---:"] * (len(headings) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
