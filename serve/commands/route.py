"""``pointsman route``: what a trained router decides for a prompt."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from routers import Decision, Policy, decide, load_router

__all__ = ["route"]


def route(
    artifact: Annotated[Path, typer.Argument(help="Directory of a trained router.")],
    prompt: Annotated[str, typer.Argument(help="The prompt.")],
    threshold: Annotated[
        float | None, typer.Option(help="Score from which the large expert answers; two-model routers only.")
    ] = None,
    budget: Annotated[float | None, typer.Option(help="Most that an answer may cost on average.")] = None,
    experts: Annotated[str | None, typer.Option(help="Allowed experts, separated by commas.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the decision as JSON.")] = False,
) -> None:
    """Decide which expert should answer a prompt, without asking it."""
    given: dict[str, Any] = {
        "threshold": threshold,
        "budget": budget,
        "experts": None if experts is None else [name.strip() for name in experts.split(",")],
    }
    router = load_router(artifact)
    decision = decide(router, prompt, Policy.parse(given))
    if as_json:
        typer.echo(orjson.dumps({"router": router.name, **asdict(decision)}).decode())
    else:
        _show(decision)


def _show(decision: Decision) -> None:
    console = Console()
    console.print(f"[bold]{escape(decision.expert)}[/]: {escape(decision.reason)}", highlight=False)
    table = Table("Expert", "Predicted quality")
    for expert, quality in decision.qualities.items():
        table.add_row(escape(expert), f"{quality:.3f}")
    console.print(table)
