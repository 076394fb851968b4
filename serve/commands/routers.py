"""``pointsman routers``: which routers there are."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.table import Table

from routers import list_routers

__all__ = ["routers"]

_MOST_COLUMNS = 100


def routers(
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list, for programs.")] = False,
) -> None:
    """List the routers that can be trained."""
    infos = list_routers()
    if as_json:
        typer.echo(orjson.dumps([asdict(info) for info in infos], option=orjson.OPT_INDENT_2).decode())
        return
    table = Table("Name", "Experts", "What it does", show_lines=True)
    for info in infos:
        needs = f" Needs {', '.join(info.needs)}." if info.needs else ""
        about = f"{info.summary}{needs}\n[dim]{info.paper}. Parameters: {', '.join(info.parameters)}.[/]"
        table.add_row(info.name, info.experts, about)
    console = Console()
    console.print(table, width=min(console.width, _MOST_COLUMNS))
