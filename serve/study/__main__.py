"""``python -m serve.study``: run the study, or a part of it, and write docs/load.md's tables."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.markdown import Markdown

from routers.errors import ParameterError, PointsmanError
from serve.bench_session import TABLE_WIDTH, terminable, user_counts, warn_of_strays
from serve.reporting.canvas import new_figure
from serve.study.page import check_page, section, write_part
from serve.study.parts import PARTS, Settings, run_part
from serve.study.setups import NAMES

_Only = Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(PARTS)}; may be repeated. [default: both]")]
_Setup = Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(NAMES)}; may be repeated. [default: all]")]
_Config = Annotated[Path, typer.Option(help="Configuration with small, large and the routes auto, expert and frugal.")]
_Relayed = Annotated[
    float, typer.Option(min=1, help="Requests a second that this machine can relay; simulated GPUs are slowed to it.")
]


def study(
    only: _Only = None,
    setup: _Setup = None,
    users: Annotated[str, typer.Option(help="Concurrent users, separated by commas.")] = "1,10,100,250,500,1000",
    seconds: Annotated[float, typer.Option(min=1, help="Least measured time of each number of users.")] = 12.0,
    think_s: Annotated[float, typer.Option(min=0, help="Mean seconds between an answer and the next question.")] = 0.0,
    config: _Config = Path("serve/configs/demo-plans.yaml"),
    records: Annotated[Path, typer.Option(help="Folder of the demo's routes-….parquet.")] = Path("demo/data"),
    data: Annotated[Path, typer.Option(envvar="POINTSMAN_DATA", help="Folder of the public data.")] = Path(
        "../shared/data"
    ),
    max_tokens: Annotated[int, typer.Option(min=2, max=4096, help="The longest simulated answer.")] = 256,
    weight_bytes: Annotated[
        float, typer.Option(min=0.5, max=2, help="Of a parameter on simulated GPUs; FP8: 1.")
    ] = 2.0,
    relayed_per_s: _Relayed = 200.0,
    stream_interval: Annotated[int, typer.Option(min=1, help="Tokens of simulated streams sent together.")] = 32,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything random.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder with load.md, to write to.")] = Path("docs"),
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write all parts to this file.")] = None,
) -> None:
    """Compare one model for everybody with routes and cascades at equal resources; each part is written once done."""
    given = {name: value for name, value in locals().items() if name in Settings.__dataclass_fields__}
    console = Console(stderr=True, soft_wrap=True)
    began_s = time.monotonic()

    def told(doing: str) -> None:
        console.print(f"{time.monotonic() - began_s:6.0f} s  {doing}", markup=False, highlight=False)

    found: dict[str, Any] = {}
    try:
        parts = _known("--only", only, PARTS)
        kinds = _known("--setup", setup, NAMES)
        settings = Settings(**{**given, "kinds": kinds, "users": user_counts(users), "told": told})
        check_page(out, parts)
        new_figure()
        warn_of_strays(console)
        for part in parts:
            told(part)
            with terminable():
                found[part] = run_part(part, settings)
            page = write_part(found[part], out)
            _show(found[part])
            told(f"{part}: in {page}")
    except PointsmanError as error:
        console.print(f"[bold red]Error:[/] {error}", highlight=False)
        raise typer.Exit(2) from error
    if json_file is not None:
        json_file.write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2))


def _known(option: str, named: list[str] | None, all_of: Any) -> list[str]:
    """The names to take, in the order in which they are measured."""
    unknown = sorted(set(named or ()) - set(all_of))
    if unknown:
        raise ParameterError(f"{option} {unknown[0]!r} is unknown: use one of {', '.join(all_of)}.")
    return [name for name in all_of if not named or name in named]


def _show(found: dict[str, Any]) -> None:
    console = Console()
    Console(width=max(console.width, TABLE_WIDTH)).print(Markdown(section(found)))


if __name__ == "__main__":
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    typer.run(study)
