"""The ``pointsman`` command."""

from __future__ import annotations

from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from typer.core import TyperGroup

from routers.errors import PointsmanError
from serve.commands.bench import bench
from serve.commands.calibrate import calibrate
from serve.commands.evaluate import evaluate
from serve.commands.import_ import import_
from serve.commands.label import label
from serve.commands.loadtest import loadtest
from serve.commands.route import route
from serve.commands.routers import routers
from serve.commands.serve import serve
from serve.commands.train import train

__all__ = ["app"]


class _Group(TyperGroup):
    """Commands whose expected errors are one line, not a stack trace."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except PointsmanError as error:
            Console(stderr=True, soft_wrap=True).print(f"[bold red]Error:[/] {escape(str(error))}", highlight=False)
            raise typer.Exit(2) from error


app = typer.Typer(
    name="pointsman",
    cls=_Group,
    help="One OpenAI-compatible endpoint in front of a pool of models, with a learned router choosing the model.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for command in (serve, routers, label, train, calibrate, evaluate, route, loadtest, bench):
    app.command()(command)
app.command("import")(import_)
