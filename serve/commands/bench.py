"""``pointsman bench``: Pointsman beside ``ray.serve.llm``'s own ingress over the same engine, and the routers alone."""

from __future__ import annotations

import itertools
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from enum import StrEnum
from multiprocessing import get_context
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from routers.errors import ParameterError
from serve.commands.serve import PRIORITY_ENVIRONMENT

if TYPE_CHECKING:
    from loadtests.comparison import Comparison, Point
    from loadtests.stacks import Stack
    from routers import RouterInfo

__all__ = ["bench", "terminable", "user_counts"]

_BASELINE = "ray.serve.llm"
_MAX_TOKENS = 16
_DECISION_HEADER = "x-pointsman-decision-us"
_WARMUP_S = 5.0
_TABLE_WIDTH = 124
_ROUTERS_WIDTH = 190
_SAME_FOR_ALL = {
    **PRIORITY_ENVIRONMENT,
    "RAY_ADDRESS": "local",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


_COLUMNS = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())


class _Plan(NamedTuple):
    """How much is measured."""

    points: list[Point]
    rounds: int
    starts: int
    seconds: float


class Part(StrEnum):
    """What can be measured by itself."""

    ENDPOINT = "endpoint"
    ROUTERS = "routers"


def bench(
    config: Annotated[Path, typer.Argument(help="Configuration that `pointsman serve` runs.")] = Path("config.yaml"),
    only: Annotated[Part | None, typer.Option(help="Measure this part alone; both otherwise.")] = None,
    expert: Annotated[str, typer.Option(help="The vLLM expert whose engine answers everything.")] = "small",
    users: Annotated[str, typer.Option(help="Concurrent users, separated by commas.")] = "1,64,256",
    seconds: Annotated[float, typer.Option(min=0.5, help="Measured time of each load.")] = 4.0,
    rounds: Annotated[int, typer.Option(min=1, help="Times that each load is measured in one start.")] = 3,
    starts: Annotated[int, typer.Option(min=1, help="Times that each server is started, in turn.")] = 1,
    direct: Annotated[bool, typer.Option(help="Also Pointsman without a decision, by the expert's id.")] = True,
    bare: Annotated[bool, typer.Option("--bare", help="Also a vLLM server alone: the floor.")] = False,
    data: Annotated[
        Path | None,
        typer.Option(envvar="POINTSMAN_DATA", help="Folder that holds mmlu_pro/, which routers are measured with."),
    ] = None,
    routers: Annotated[
        str | None, typer.Option(help="Only these routers, by name, separated by commas.", metavar="NAMES")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Routers learn from few prompts: for trying it.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write everything to this file.")] = None,
) -> None:
    """Measure the endpoint beside ray.serve.llm's own ingress, over the same engine; then the routers alone."""
    import orjson

    found: dict[str, Any] = {}
    if only is not Part.ROUTERS:
        from loadtests.comparison import Point

        points = [Point(count, stream) for count in user_counts(users) for stream in (False, True)]
        found = _endpoint(config, expert, _Plan(points, rounds, starts, seconds), direct=direct, bare=bare)
    if only is not Part.ENDPOINT:
        found["routers"] = _routers(data, routers, quick=quick)
    if json_file is not None:
        json_file.write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2))


def _endpoint(config: Path, expert: str, plan: _Plan, *, direct: bool, bare: bool) -> dict[str, Any]:
    """What the endpoint costs; everything measured, for programs."""
    from loadtests.comparison import Comparison

    console = Console(soft_wrap=True)
    comparison = Comparison(_BASELINE)
    with tempfile.TemporaryDirectory(prefix="pointsman-bench-") as folder, terminable():
        stacks = _stacks(config, expert, Path(folder), direct=direct, bare=bare)
        _introduce(console, stacks, plan, expert)
        _run(stacks, plan, comparison, Path(folder))
    Console(width=max(console.width, _TABLE_WIDTH)).print(comparison.table())
    about = {"expert": expert, "seconds": plan.seconds, "starts": plan.starts, "max_tokens": _MAX_TOKENS}
    return {**about, **comparison.as_json()}


def _routers(data: Path | None, only: str | None, *, quick: bool) -> dict[str, Any]:
    """What training and asking routers costs; everything measured, for programs."""
    from routers import list_routers
    from serve.router_bench import QUICK, Scale, as_json, cases, material, measure, table

    scale = QUICK if quick else Scale()
    infos = _named(only, list_routers())
    console = Console(soft_wrap=True)
    measured = {}
    with tempfile.TemporaryDirectory(prefix="pointsman-bench-") as folder, terminable():
        using = material(data, scale, Path(folder))
        console.print(f"{using.about}.", highlight=False)
        console.print(f"Two-model routers: {using.pair['small']} and {using.pair['large']}.", highlight=False)
        rows = cases(infos, using.pair)
        with Progress(*_COLUMNS, console=Console(stderr=True)) as bar:
            every, one = bar.add_task("Routers", total=len(rows)), bar.add_task("", total=1.0)
            for case in rows:
                bar.reset(one, description=f"{case.name}: training")
                measured[case.name] = measure(case, using, scale, lambda share: bar.update(one, completed=share))
                bar.advance(every)
    found = as_json(measured)
    Console(width=max(console.width, _ROUTERS_WIDTH)).print(table(found))
    return {"about": using.about, "pair": using.pair, "rounds": scale.rounds, "seconds": scale.seconds, "rows": found}


def _named(only: str | None, infos: Sequence[RouterInfo]) -> Sequence[RouterInfo]:
    """The routers of these names; None: all."""
    if only is None:
        return infos
    known = {info.name: info for info in infos}
    names = only.split(",")
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ParameterError(f"There is no router {unknown[0]!r} to measure: --routers takes {', '.join(known)}.")
    return [known[name] for name in dict.fromkeys(names)]


def user_counts(users: str, option: str = "--users") -> list[int]:
    """Numbers of users in ascending order, from a list separated by commas.

    Raises:
        ParameterError: one of them is no whole number above 0.
    """
    try:
        counts = sorted({int(count) for count in users.split(",")})
    except ValueError:
        counts = [0]
    if counts[0] < 1:
        raise ParameterError(f"{option} is {users!r}: give whole numbers above 0, separated by commas, as 1,64,256.")
    return counts


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM end the run as Ctrl-C does, so that no server stays behind."""

    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _stacks(path: Path, expert: str, folder: Path, *, direct: bool, bare: bool) -> list[Stack]:
    """The servers to measure; their configurations are written to the folder."""
    from loadtests.stacks import Stack, clean_environment, free_port
    from serve.benchmark import bare_command, llm_config, pointsman_config, ray_config, read_source

    source = read_source(path, expert)
    engine = llm_config(source)
    environment = {**clean_environment(), **_SAME_FOR_ALL}
    programs = Path(sys.executable).parent
    port = free_port()
    ours, route = pointsman_config(source, port)
    models = {} if route is None else {f"Pointsman, route {route}": route}
    if direct or route is None:
        models[f"Pointsman, expert {expert}"] = expert
    command = [str(programs / "pointsman"), "serve", _written(ours, folder / "pointsman.yaml")]
    stacks = [Stack("Pointsman", command, _url(port), models, environment)]
    port = free_port()
    theirs = _written(ray_config(source, engine, port), folder / "ray-serve-llm.yaml")
    command = [str(programs / "serve"), "run", theirs]
    stacks.append(Stack(_BASELINE, command, _url(port), {_BASELINE: expert}, environment))
    if bare:
        port = free_port()
        command, variables = bare_command(engine, port)
        stacks.append(Stack("bare vLLM", command, _url(port), {"bare vLLM": expert}, {**environment, **variables}))
    return stacks


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}/v1"


def _written(settings: dict[str, Any], path: Path) -> str:
    import yaml

    path.write_text(yaml.safe_dump(settings, sort_keys=False))
    return str(path)


def _introduce(console: Console, stacks: list[Stack], plan: _Plan, expert: str) -> None:
    """Say what is measured and how, and warn of what would disturb it."""
    from loadtests.stacks import stray_engines

    strays = stray_engines()
    if strays:
        console.print("[yellow]Engines or Ray workers of another run are alive; figures will be too low:[/]")
        for stray in strays:
            console.print(f"  {stray}", markup=False, highlight=False)
    names = " then ".join(stack.name for stack in stacks)
    console.print(
        f"The engine of the expert {expert} behind each server in turn: {names}, started "
        f"{'once' if plan.starts == 1 else f'{plan.starts} times'} one after the other, never two at a time. "
        f"{plan.rounds} rounds in a start, {plan.seconds:g} s each, {_MAX_TOKENS} output tokens. "
        "The load generator runs on this machine too. Cells: median of the rounds (lowest–highest); "
        f"× is the ratio to {_BASELINE}."
    )
    if not any(row.startswith("Pointsman, route") for row in stacks[0].models):
        console.print("[yellow]No router's artifact is there, so no decision is measured: train one first.[/]")


def _run(stacks: list[Stack], plan: _Plan, comparison: Comparison, folder: Path) -> None:
    """Start the servers one after the other, and measure each."""
    from loadtests.stacks import memory_of, running

    total = plan.starts * sum(1 + plan.rounds * len(plan.points) * len(stack.models) for stack in stacks)
    # The load generator is a process of its own, so that this one's progress bar does not disturb it.
    generator = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
    with Progress(*_COLUMNS, console=Console(stderr=True)) as progress, generator:
        task = progress.add_task("", total=total)
        for start, stack in itertools.product(range(plan.starts), stacks):
            progress.update(task, description=f"Starting {stack.name}")
            log = folder / f"{stack.name}-{start}.log"
            with running(stack, log, expected_tokens=_MAX_TOKENS) as process:
                progress.advance(task)
                _measure(stack, plan, comparison, generator, (progress, task))
                comparison.memory[stack.name] = memory_of(process)


def _measure(
    stack: Stack,
    plan: _Plan,
    comparison: Comparison,
    generator: ProcessPoolExecutor,
    shown: tuple[Progress, TaskID],
) -> None:
    """All rounds of one started server; its models take turns, so that a drift of the machine hits all of them."""
    from loadtests.closed_loop import Load, measure

    progress, task = shown
    turns = [
        (row, model, point) for _ in range(plan.rounds) for point in plan.points for row, model in stack.models.items()
    ]
    for row, model, point in turns:
        progress.update(task, description=f"{row}: {point.users} users{', streaming' if point.stream else ''}")
        load = Load(
            stack.url,
            model,
            point.users,
            plan.seconds,
            point.stream,
            _MAX_TOKENS,
            warmup_s=_WARMUP_S,
            number_header=_DECISION_HEADER,
        )
        comparison.add(row, point, generator.submit(measure, load).result())
        progress.advance(task)
