"""``pointsman import``: routing data from public sets and from one's own files."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from routers.errors import DataError, ParameterError

__all__ = ["import_"]


def import_(
    source: Annotated[
        str,
        typer.Argument(
            help="routellm-mmlu, routellm-gsm8k, routellm-mtbench, mmlu-pro or zeroeval; csv or jsonl for your own."
        ),
    ],
    data: Annotated[
        Path, typer.Option(help="Folder that holds routellm/, mmlu_pro/ and zeroeval/; the file of csv and jsonl.")
    ],
    out: Annotated[Path, typer.Option(help="Parquet file to write; one that is there is replaced.")],
    experts: Annotated[str | None, typer.Option(help="Experts to take, separated by commas; all otherwise.")] = None,
    incomplete: Annotated[
        bool, typer.Option("--incomplete", help="Also experts of mmlu-pro and zeroeval that lack some answers.")
    ] = False,
    drop: Annotated[
        list[str] | None,
        typer.Option(help="Column of true and false: leave out the rows where it is true; may be repeated."),
    ] = None,
    prices: Annotated[
        Path | None, typer.Option(help="YAML or JSON: {expert: {input_per_million: …, output_per_million: …}}.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Turn public sets, or data of your own, into routing data: docs/data.md describes both."""
    from serve.importing import Choice, import_data
    from serve.importing.prices import read_prices

    started = time.perf_counter()
    names = None if experts is None else tuple(name.strip() for name in experts.split(",") if name.strip())
    if names == ():
        raise ParameterError(
            f"--experts {experts!r} names no expert: separate names by commas, or leave it out for all."
        )
    choice = Choice(names, incomplete, tuple(drop or ()), {} if prices is None else read_prices(prices))
    with Console(stderr=True).status(f"Reading {escape(source)}"):
        imported = import_data(source, data, choice)
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"{out} cannot be written: {error.strerror or error}.") from None
        imported.data.write(out)
    summary = {"source": source, "path": str(out), **_summary(imported)}
    if as_json:
        typer.echo(orjson.dumps(summary, option=orjson.OPT_INDENT_2).decode())
    else:
        _show(summary, time.perf_counter() - started)


def _summary(imported: Any) -> dict[str, Any]:
    frame = imported.data.frame
    by_expert = frame.groupby("expert").agg(
        quality=("quality", "mean"), cost=("cost", "mean"), n_answers=("quality", "size")
    )
    return {
        "n_prompts": len(imported.data.texts),
        "n_rows": len(frame),
        "splits": frame.drop_duplicates("prompt_id")["split"].value_counts().to_dict(),
        "experts": {
            str(expert): {"quality": float(row.quality), "cost": float(row.cost), "n_answers": int(row.n_answers)}
            for expert, row in by_expert.sort_values("quality").iterrows()
        },
        "dropped": imported.dropped,
        "left_out": imported.left_out,
        "not_measured": list(imported.notes),
    }


def _show(summary: dict[str, Any], took_s: float) -> None:
    console = Console()
    title = f"{summary['source']}: {summary['n_prompts']:,} prompts, {len(summary['experts'])} experts"
    table = Table("expert", title=escape(title))
    for heading in ("answers", "mean quality", "mean cost"):
        table.add_column(heading, justify="right")
    for expert, of in summary["experts"].items():
        table.add_row(escape(expert), f"{of['n_answers']:,}", f"{of['quality']:.4f}", f"{of['cost']:.3g}")
    console.print(table)
    splits = ", ".join(f"{name} {count:,}" for name, count in summary["splits"].items())
    lines = [f"Prompts of each split: {splits}."]
    lines += [f"Left out for --drop {name}: {count:,} prompts." for name, count in summary["dropped"].items()]
    if summary["left_out"]:
        lines.append(
            f"Left out {len(summary['left_out'])} experts without an answer to some prompts (--incomplete takes them): "
            + ", ".join(f"{name} ({count:,})" for name, count in summary["left_out"].items())
            + "."
        )
    if summary["not_measured"]:
        lines.append(f"Not measured: {'; '.join(summary['not_measured'])}.")
    lines.append(f"{summary['path']}: {summary['n_rows']:,} answers in {took_s:.1f} s.")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
