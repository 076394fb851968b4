"""Tables that a command writes into a page of docs/, between marks, so that the prose around them stays."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from routers.errors import ParameterError

__all__ = ["markdown_table", "replace_part"]


def replace_part(page: Path, name: str, text: str) -> None:
    """Replace what lies between ``<!-- begin: name -->`` and ``<!-- end: name -->``.

    Raises:
        ParameterError: the page cannot be read or written, or has no such marks.
    """
    begin, end = f"<!-- begin: {name} -->", f"<!-- end: {name} -->"
    try:
        before = page.read_text(encoding="utf-8")
        pattern = re.compile(f"{re.escape(begin)}\n.*?{re.escape(end)}", re.DOTALL)
        if len(pattern.findall(before)) != 1:
            raise ParameterError(f"{page} must have one place between {begin} and {end}: add these lines to it.")
        page.write_text(pattern.sub(lambda _: f"{begin}\n{text.strip()}\n{end}", before), encoding="utf-8")
    except OSError as error:
        reason = error.strerror or error
        raise ParameterError(f"{page} cannot be written ({reason}): name another folder with --out.") from None


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
