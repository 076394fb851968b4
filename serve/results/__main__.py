"""``python -m serve.results``: run the studies and write docs/results.md."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from routers.errors import ParameterError, PointsmanError
from routers.features import kept_embeddings
from serve.results.page import PARTS, write_section
from serve.results.study import FOLDS, Study


def results(
    data: Annotated[Path, typer.Option(help="Folder that holds routellm/, mmlu_pro/ and zeroeval/.")],
    out: Annotated[Path, typer.Option(help="Folder to write results.md and results/ to.")],
    only: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(PARTS)}; may be repeated.")] = None,
    resamples: Annotated[int, typer.Option(min=2, help="Bootstrap resamples of the prompts.")] = 500,
    judged_folds: Annotated[
        int,
        typer.Option(min=1, max=FOLDS, help="Of sets with over 5,000 prompts judge only so many of five folds."),
    ] = FOLDS,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of everything random.")] = 0,
) -> None:
    """Regenerate the page of published results, or parts of it; each part is written once it is done."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    try:
        for name in only or ():
            if name not in PARTS:
                raise ParameterError(f"There is no part {name!r}: use one of {', '.join(PARTS)}.")
        with Progress(*columns, console=console) as bar, kept_embeddings():
            for name in only or PARTS:
                _run(name, Study(data, seed, resamples, judged_folds), out, bar)
    except PointsmanError as error:
        console.print(f"Error: {error}", markup=False, highlight=False)
        raise typer.Exit(2) from error


def _run(name: str, study: Study, out: Path, bar: Progress) -> None:
    task = bar.add_task(name, total=1.0)
    study.told = lambda doing, share: bar.update(task, description=f"{name}: {doing}", completed=share)
    page = write_section(name, PARTS[name][1](study), study, out)
    bar.update(task, description=f"{name}: in {page}", completed=1.0)


if __name__ == "__main__":
    typer.run(results)
