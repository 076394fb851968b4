"""``python -m serve.scaling``: whether replicas follow a day and a spike, sleep and wake, and what growth gives."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.markdown import Markdown

from loadtests.scenario import Scenario
from routers.errors import ParameterError, PointsmanError
from serve.bench_session import TABLE_WIDTH, terminable, user_counts, warn_of_strays
from serve.reporting.canvas import new_figure, svg_file
from serve.reporting.tables_in_docs import replace_part
from serve.reporting.writing import prepare_folder, write_files
from serve.scaling.following import MAX_TOKENS, judge, run_load
from serve.scaling.growth import Counts, grow
from serve.scaling.page import following_text, growth_text, zero_text
from serve.scaling.pictures import draw_following, draw_growth
from serve.scaling.settings import find_pool, read_settings, sleepers_of
from serve.scaling.sleeping import sleep_and_wake


@dataclass(frozen=True)
class Options:
    """What the parts are run with; see the options of the command."""

    settings: Mapping[str, Any]
    data: Path
    day_s: float
    spike_s: float
    rate: float
    users: int
    compression: float
    sleeper: str | None
    growth: Counts


@dataclass(frozen=True)
class Part:
    """What a part found: all figures, what the page says of them, and a picture."""

    found: Mapping[str, Any]
    text: str
    figure: Any | None = None


def _day(options: Options, folder: Path, console: Console) -> Part:
    console.print(
        f"A day of ServeGen's rates in {options.day_s:g} s, {86_400 / options.day_s:,.0f} times as fast, at most "
        f"{options.rate:g} requests/s. Delays of scaling and draining are divided by {options.compression:g} only.",
        highlight=False,
    )
    scenario = Scenario(shape="servegen", seconds=options.day_s, rate=options.rate, **_asked(options))
    return _followed(options, scenario, folder)


def _spike(options: Options, folder: Path, console: Console) -> Part:
    console.print(
        f"{max(1, options.users // 10)} users, {options.users} in the middle fifth of {options.spike_s:g} s. Delays of "
        f"scaling and draining are divided by {options.compression:g}.",
        highlight=False,
    )
    scenario = Scenario(shape="spike", seconds=options.spike_s, users=options.users, think_s=2.0, **_asked(options))
    return _followed(options, scenario, folder)


def _asked(options: Options) -> dict[str, Any]:
    return {"mix": "exam", "max_tokens": MAX_TOKENS, "fixed_length": True, "timeout_s": 120.0, "data": options.data}


def _followed(options: Options, scenario: Scenario, folder: Path) -> Part:
    found = judge(run_load(options.settings, scenario, folder, options.compression))
    found["compression"] = options.compression
    return Part(found, following_text(found), draw_following(found))


def _zero(options: Options, folder: Path, console: Console) -> Part:
    sleepers = sleepers_of(options.settings)
    expert = options.sleeper or next(iter(sleepers), None)
    if expert is None:
        raise ParameterError("No expert of the configuration may sleep: give one of them `min_replicas: 0`.")
    if expert not in sleepers:
        find_pool(options.settings, expert)
        raise ParameterError(f"The expert {expert!r} never sleeps: give one of {', '.join(sleepers)} with --sleeper.")
    console.print(f"The expert {expert}, its delays divided by {options.compression:g}.", highlight=False)
    found = sleep_and_wake(options.settings, expert, folder, options.compression)
    return Part(found, zero_text(found))


def _growth(options: Options, folder: Path, console: Console) -> Part:
    found = grow(options.settings, folder, options.growth, lambda doing: console.print(f"  {doing} …", highlight=False))
    return Part(found, growth_text(found), draw_growth(found))


PARTS: Mapping[str, tuple[str, Callable[[Options, Path, Console], Part]]] = {
    "day": ("A day", _day),
    "spike": ("A spike", _spike),
    "zero": ("Sleeping and waking", _zero),
    "growth": ("Growth", _growth),
}


def scaling(
    config: Annotated[Path, typer.Argument(help="Configuration with simulated experts that scale.")] = Path(
        "serve/configs/autoscaling.yaml"
    ),
    only: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(PARTS)}; may be repeated.")] = None,
    data: Annotated[Path, typer.Option(envvar="POINTSMAN_DATA", help="Folder of the public data.")] = Path(
        "../shared/data"
    ),
    out: Annotated[
        Path | None, typer.Option(help="Write load/ into this folder, and tables into its autoscaling.md.")
    ] = None,
    day_s: Annotated[float, typer.Option(min=20, help="How long the day takes.")] = 240.0,
    spike_s: Annotated[float, typer.Option(min=20, help="How long the spike takes, with what is around it.")] = 150.0,
    rate: Annotated[float, typer.Option(min=0.1, help="Requests/s at the day's peak.")] = 14.0,
    users: Annotated[int, typer.Option(min=10, help="Users at the top of the spike.")] = 100,
    compression: Annotated[float, typer.Option(min=1, help="What delays of scaling are divided by.")] = 20.0,
    sleeper: Annotated[str | None, typer.Option(help="The expert that sleeps [default: the first that may].")] = None,
    routers: Annotated[str, typer.Option(help="Numbers of Routers in growth.")] = "1,2,4",
    experts: Annotated[str, typer.Option(help="Numbers of experts in growth.")] = "1,2,4,8,16,32",
    growth_s: Annotated[float, typer.Option(min=2, help="Measured time of each of them.")] = 12.0,
) -> None:
    """Measure autoscaling and growth, a part at a time; each is written once it is done."""
    console = Console(soft_wrap=True)
    try:
        for name in only or ():
            if name not in PARTS:
                raise ParameterError(f"There is no part {name!r}: use one of {', '.join(PARTS)}.")
        settings = read_settings(config)
        new_figure()
        if out is not None:
            prepare_folder(out / "load")
        growth = Counts(tuple(user_counts(routers, "--routers")), tuple(user_counts(experts, "--experts")), growth_s)
        options = Options(settings, data, day_s, spike_s, rate, users, compression, sleeper, growth)
        warn_of_strays(console)
        for name in only or PARTS:
            _run(name, options, out, console)
    except PointsmanError as error:
        Console(stderr=True, soft_wrap=True).print(f"[bold red]Error:[/] {error}", highlight=False)
        raise typer.Exit(2) from error


def _run(name: str, options: Options, out: Path | None, console: Console) -> None:
    heading, measure = PARTS[name]
    console.print(f"\n[bold underline]{heading}[/]\n")
    with tempfile.TemporaryDirectory(prefix="pointsman-scaling-") as folder, terminable():
        part = measure(options, Path(folder), console)
    Console(width=max(console.width, TABLE_WIDTH)).print(Markdown(part.text))
    if out is None:
        return
    files = {f"{name}.json": orjson.dumps(part.found, option=orjson.OPT_APPEND_NEWLINE)}
    if part.figure is not None:
        files[f"{name}.svg"] = svg_file(part.figure, name)
    write_files(out / "load", files)
    replace_part(out / "autoscaling.md", f"scaling-{name}", part.text)


if __name__ == "__main__":
    typer.run(scaling)
