"""``pointsman routers``: which routers, plans and judges of answers there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.table import Table

from routers import JudgeInfo, RouterInfo, list_judges, list_routers

__all__ = ["routers"]

_MOST_COLUMNS = 100


def routers(
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list, for programs.")] = False,
    judges: Annotated[bool, typer.Option("--judges", help="List only the plans and judges of answers.")] = False,
) -> None:
    """List the routers that can be trained, and the plans and judges of answers."""
    if as_json:
        infos: Sequence[RouterInfo | JudgeInfo] = list_judges() if judges else list_routers()
        typer.echo(orjson.dumps([asdict(info) for info in infos], option=orjson.OPT_INDENT_2).decode())
        return
    console = Console()
    if not judges:
        _show(console, "Routers choose an expert by the prompt", "Experts", list_routers(), "experts")
    _show(console, "Plans ask several experts; judges say which answers are good", "Kind", list_judges(), "kind")


def _show(console: Console, title: str, column: str, infos: Sequence[RouterInfo | JudgeInfo], field: str) -> None:
    table = Table("Name", column, "What it does", show_lines=True, title=title, title_justify="left")
    for info in infos:
        needs = f" Needs {', '.join(info.needs)}." if info.needs else ""
        about = f"{info.summary}{needs}\n[dim]{info.paper}. Parameters: {', '.join(info.parameters)}.[/]"
        table.add_row(info.name, getattr(info, field), about)
    console.print(table, width=min(console.width, _MOST_COLUMNS))
