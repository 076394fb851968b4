"""`python -m demo`: write the exam, train the experts and the ranker, let the experts sit it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from demo.exam import SPLITS, write_exam
from routers.errors import ParameterError, PointsmanError

__all__ = ["app"]

app = typer.Typer(help="The demo's tiny language models and the exam they sit.", no_args_is_help=True)
_FOLDER = Path(__file__).parent
_PAGE_CHARS = 130
_WORK_FOLDER = _FOLDER / ".train"
_EXPERTS_FOLDER = _FOLDER / "experts"
_ANSWERS = _FOLDER / "data" / "experts.parquet"
_RANKER_FOLDER = _FOLDER / "plans" / "ranker"


def _bar(console: Console) -> Progress:
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(TextColumn("{task.description}"), *columns, console=console)


@app.command()
def exam(
    out: Annotated[Path, typer.Option(help="JSON-lines file to write.")],
    split: Annotated[str, typer.Option(help=f"One of {', '.join(SPLITS)}.")] = "test",
    count: Annotated[int, typer.Option(help="Number of prompts.")] = 1000,
    seed: Annotated[int, typer.Option(help="Another seed, another exam.")] = 0,
) -> None:
    """Write exam prompts with their answers, one JSON object a line."""
    written = write_exam(out, split, count, seed)
    Console(stderr=True).print(f"{written} {split} prompts in {out}")


@app.command()
def tokenizer(out: Annotated[Path, typer.Argument(help="Folder to write to.")]) -> None:
    """Build the tokenizer and save it in Hugging Face's format (every checkpoint has a copy)."""
    from demo.tokenizer import save_tokenizer

    save_tokenizer(out)
    Console(stderr=True).print(f"tokenizer in {out}")


@app.command()
def clusters(
    prompts: Annotated[int, typer.Option(help="Training prompts to cluster.")] = 4000,
    seed: Annotated[int, typer.Option(help="Seed of the prompts and of the clustering.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Cluster training prompts as the experts' training does, and show what each cluster holds."""
    from demo.clusters import find_clusters
    from demo.families import DOMAINS

    found = find_clusters(seed, prompts)
    shares = zip(found.names, found.counts.tolist(), strict=True)
    rows = {name: dict(zip(DOMAINS, row, strict=True)) for name, row in shares}
    if as_json:
        typer.echo(json.dumps(rows))
        return
    table = Table("cluster", *DOMAINS, title="Prompts of each domain in each cluster", title_justify="left")
    for name, row in rows.items():
        table.add_row(name, *map(str, row.values()))
    Console().print(table)


@app.command()
def train(
    experts: Annotated[list[str] | None, typer.Argument(help="Experts to train; default: all.")] = None,
    compiled: Annotated[bool, typer.Option(help="Compile the model (needs a C++ compiler).")] = True,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 2,
    out: Annotated[Path, typer.Option(help="Folder for the checkpoints.")] = _EXPERTS_FOLDER,
    work: Annotated[Path, typer.Option(help="Folder for the state of unfinished runs.")] = _WORK_FOLDER,
) -> None:
    """Train experts and write them as bf16 checkpoints. An interrupted run continues where it was."""
    from demo.school import train_experts

    console = Console(stderr=True)
    with _bar(console) as bar:
        for line in train_experts(experts or [], out, work, bar, compiled=compiled, threads=threads):
            console.print(line)


@app.command()
def reader(
    expert: Annotated[str, typer.Argument(help="Expert whose weights it starts from.")],
    out: Annotated[Path, typer.Option(help="Folder for the checkpoint.")],
    folder: Annotated[Path, typer.Option(help="Folder of the experts' checkpoints.")] = _EXPERTS_FOLDER,
) -> None:
    """Make an expert a reader, for `pointsman train … --param encoder=FOLDER`."""
    from demo.readers import write_reader

    parameters = write_reader(expert, out, folder)
    Console(stderr=True).print(f"reader of {parameters:,} parameters in {out}")


@app.command()
def ranker(
    out: Annotated[Path, typer.Option(help="Directory for the ranker.")] = _RANKER_FOLDER,
    data: Annotated[Path, typer.Option(help="Labelled answers of the experts to blend.")] = _ANSWERS,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 1,
) -> None:
    """Train the ranker that compares answers, for blends and best of n."""
    import torch

    from demo.ranker import train_ranker
    from routers import RoutingData

    torch.set_num_threads(threads)
    console = Console(stderr=True)
    with Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=console) as bar:
        task = bar.add_task("ranker", total=1.0)
        answers = RoutingData.read(data)
        trained = train_ranker(answers, out, lambda doing, share: bar.update(task, completed=share, description=doing))
    noted = trained.summary_
    console.print(
        f"ranker: {noted['comparisons']:,} comparisons, {noted['held_out_accuracy']:.1%} of held-out ones decided "
        f"rightly, {noted['training']['duration_s'] / 60:.1f} min, in {out}"
    )


@app.command()
def table(
    experts: Annotated[list[str] | None, typer.Argument(help="Experts to ask; default: all.")] = None,
    count: Annotated[int, typer.Option(help="Held-out prompts.")] = 1000,
    samples: Annotated[int, typer.Option(help="Answers to each prompt.")] = 10,
    temperature: Annotated[float, typer.Option(help="Sampling temperature.")] = 0.7,
    seed: Annotated[int, typer.Option(help="Seed of the prompts and of the sampling.")] = 0,
    folder: Annotated[Path, typer.Option(help="Folder of the checkpoints.")] = _EXPERTS_FOLDER,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Let the experts sit the held-out exam and print their shares of right answers."""
    from demo.clusters import find_clusters
    from demo.recipes import EXPERTS
    from demo.table import print_table, run_exam, summarise

    asked = experts or list(EXPERTS)
    unknown = sorted(set(asked) - set(EXPERTS))
    if unknown:
        raise ParameterError(f"Unknown expert {unknown[0]}: choose from {', '.join(EXPERTS)}.")
    with _bar(Console(stderr=True)) as bar:
        task = bar.add_task("exam", total=len(asked))
        told = bar.advance
        tasks, quality = run_exam(folder, asked, count, samples, temperature, seed, lambda _: told(task))
    homes = find_clusters().assign([item.prompt for item in tasks])
    summary = summarise(tasks, homes, quality)
    if as_json:
        typer.echo(json.dumps(summary))
    else:
        console = Console()
        # A file or a pipe has no width that a table would have to fit.
        print_table(summary, console if console.is_terminal else Console(width=_PAGE_CHARS))


@app.command()
def routes(
    data: Annotated[Path, typer.Argument(help="Answers of routes and experts, as `pointsman label` writes them.")],
    reference: Annotated[str, typer.Option(help="The expert that drops are measured against.")] = "large",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print quality, share and cost of each route, each expert, and random routing at the same shares."""
    from dataclasses import asdict

    from demo.routes import report, table
    from routers import RoutingData

    rows = report(RoutingData.read(data), reference)
    if as_json:
        typer.echo(json.dumps([asdict(row) for row in rows]))
    else:
        Console().print(table(rows, reference))


def main() -> None:
    """Run the command line; a user's mistake ends as one sentence and exit status 1."""
    try:
        app(prog_name="python -m demo")
    except PointsmanError as error:
        Console(stderr=True).print(f"Error: {error}", style="red", markup=False, soft_wrap=True)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
