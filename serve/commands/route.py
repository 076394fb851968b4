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

from routers import Decision, ParameterError, Policy, Prompt, decide, load_router
from routers.prompt import SideValue

__all__ = ["route"]


def route(
    artifact: Annotated[Path, typer.Argument(help="Directory of a trained router.")],
    prompt: Annotated[str, typer.Argument(help="The prompt.")],
    threshold: Annotated[
        float | None, typer.Option(help="Score from which the large expert answers; two-model routers only.")
    ] = None,
    budget: Annotated[float | None, typer.Option(help="Most that an answer may cost on average.")] = None,
    experts: Annotated[str | None, typer.Option(help="Allowed experts, separated by commas.")] = None,
    quality_cost: Annotated[
        float | None, typer.Option(help="Quality that the dearest answer must gain to be worth it.")
    ] = None,
    novelty: Annotated[
        float | None, typer.Option(help="Novelty above which the fallback expert answers; 1: as the training data.")
    ] = None,
    confidence: Annotated[
        float | None, typer.Option(help="Confidence below which the fallback expert answers.")
    ] = None,
    side: Annotated[
        list[str] | None,
        typer.Option(help="Side information as key=value, the value as JSON or text; may be repeated."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the decision as JSON.")] = False,
) -> None:
    """Decide which expert should answer a prompt, without asking it."""
    given: dict[str, Any] = {
        "threshold": threshold,
        "budget": budget,
        "experts": None if experts is None else [name.strip() for name in experts.split(",")],
        "quality_cost": quality_cost,
        "novelty": novelty,
        "confidence": confidence,
    }
    policy, known = Policy.parse(given), _side(side or [])
    router = load_router(artifact)
    decision = decide(router, Prompt(prompt, known) if known else prompt, policy)
    if as_json:
        typer.echo(orjson.dumps({"router": router.name, **asdict(decision)}).decode())
    else:
        _show(decision)


def _side(given: list[str]) -> dict[str, SideValue]:
    known: dict[str, SideValue] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ParameterError(f"--side {text!r} is not of the form key=value.")
        try:
            plain = orjson.loads(value)
        except orjson.JSONDecodeError:
            plain = value
        known[key] = plain if isinstance(plain, str | int | float) else value
    return known


def _show(decision: Decision) -> None:
    console = Console()
    console.print(f"[bold]{escape(decision.expert)}[/]: {escape(decision.reason)}", highlight=False)
    table = Table("Expert", "Predicted quality")
    for expert, quality in decision.qualities.items():
        table.add_row(escape(expert), f"{quality:.3f}")
    console.print(table)
    novelty = "unknown to this router" if decision.novelty is None else f"{decision.novelty:.3f}"
    confidence = "unknown" if decision.confidence is None else f"{decision.confidence:.3f}"
    console.print(f"confidence {confidence}, novelty {novelty}", highlight=False)
