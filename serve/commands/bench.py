"""``pointsman bench``: the endpoint beside ``ray.serve.llm``'s own ingress, what plans add, and the routers alone."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from routers.errors import ParameterError
from serve.bench_session import RAY, TABLE_WIDTH, terminable, user_counts, warn_of_strays

if TYPE_CHECKING:
    from loadtests.rounds import Plan
    from loadtests.stacks import Stack
    from routers import RouterInfo

__all__ = ["bench"]

_ROUTERS_WIDTH = 190
_COLUMNS = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())


class Part(StrEnum):
    """What can be measured by itself."""

    ENDPOINT = "endpoint"
    PLANS = "plans"
    ROUTERS = "routers"


def bench(
    config: Annotated[Path, typer.Argument(help="Configuration that `pointsman serve` runs.")] = Path("config.yaml"),
    only: Annotated[Part | None, typer.Option(help="Measure this part alone; all otherwise.")] = None,
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
    plans: Annotated[Path, typer.Option(help="Configuration with the plans to measure.")] = Path(
        "serve/configs/demo-plans.yaml"
    ),
    plan_users: Annotated[str, typer.Option(help="Concurrent users of the plans, separated by commas.")] = "1,64",
    routers: Annotated[
        str | None, typer.Option(help="Only these routers, by name, separated by commas.", metavar="NAMES")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Routers learn from few prompts: for trying it.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write everything to this file.")] = None,
) -> None:
    """Measure the endpoint beside ray.serve.llm's own ingress over the same engine, then plans, then routers alone."""
    import orjson

    found: dict[str, Any] = {}
    if only in (None, Part.ENDPOINT):
        load = _plan(users, "--users", rounds, starts, seconds)
        found = _endpoint(config, expert, load, direct=direct, bare=bare)
    if only in (None, Part.PLANS):
        found["plans"] = _plans(plans, _plan(plan_users, "--plan-users", rounds, starts, seconds))
    if only in (None, Part.ROUTERS):
        found["routers"] = _routers(data, routers, quick=quick)
    if json_file is not None:
        json_file.write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2))


def _plan(users: str, option: str, rounds: int, starts: int, seconds: float) -> Plan:
    """How much is measured, streaming and not."""
    from loadtests.comparison import Point
    from loadtests.rounds import Plan

    points = [Point(count, stream) for count in user_counts(users, option) for stream in (False, True)]
    return Plan(points, rounds, starts, seconds)


def _plans(config: Path, plan: Plan) -> dict[str, Any]:
    """What plans add to a single expert; everything measured, for programs."""
    from loadtests.comparison import Comparison
    from loadtests.rounds import run_rounds
    from serve.bench_plans import SINGLE, STEP_S, plan_stacks

    console = Console(soft_wrap=True)
    comparison = Comparison(SINGLE)
    with tempfile.TemporaryDirectory(prefix="pointsman-bench-") as folder, terminable():
        warn_of_strays(console)
        console.print(
            f"The plans of {config} over simulated engines that take {1000 * STEP_S:g} ms for a token, "
            f"{plan.rounds} rounds of {plan.seconds:g} s. × is the ratio to {SINGLE}.",
            highlight=False,
        )
        run_rounds(plan_stacks(config, Path(folder)), plan, comparison, Path(folder))
    Console(width=max(console.width, TABLE_WIDTH)).print(comparison.table())
    return {"seconds": plan.seconds, "starts": plan.starts, "step_s": STEP_S, **comparison.as_json()}


def _endpoint(config: Path, expert: str, plan: Plan, *, direct: bool, bare: bool) -> dict[str, Any]:
    """What the endpoint costs; everything measured, for programs."""
    from loadtests.comparison import Comparison
    from loadtests.rounds import MAX_TOKENS, run_rounds

    console = Console(soft_wrap=True)
    comparison = Comparison(RAY)
    with tempfile.TemporaryDirectory(prefix="pointsman-bench-") as folder, terminable():
        stacks = _stacks(config, expert, Path(folder), direct=direct, bare=bare)
        _introduce(console, stacks, plan, expert)
        run_rounds(stacks, plan, comparison, Path(folder))
    Console(width=max(console.width, TABLE_WIDTH)).print(comparison.table())
    about = {"expert": expert, "seconds": plan.seconds, "starts": plan.starts, "max_tokens": MAX_TOKENS}
    return {**about, **comparison.as_json()}


def _routers(data: Path | None, only: str | None, *, quick: bool) -> dict[str, Any]:
    """What training and asking routers costs; everything measured, for programs."""
    from routers import list_routers
    from serve.router_bench import QUICK, Scale, as_json, material, measure, table
    from serve.router_cases import cases

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


def _stacks(path: Path, expert: str, folder: Path, *, direct: bool, bare: bool) -> list[Stack]:
    """The servers to measure; their configurations are written to the folder."""
    from serve.bench_stacks import bare_stack, pointsman_stack, ray_stack
    from serve.benchmark import llm_config, read_source

    source = read_source(path, expert)
    engine = llm_config(source)
    stacks = [pointsman_stack(source, folder, direct=direct), ray_stack(source, engine, folder)]
    return [*stacks, bare_stack(source, engine)] if bare else stacks


def _introduce(console: Console, stacks: list[Stack], plan: Plan, expert: str) -> None:
    """Say what is measured and how, and warn of what would disturb it."""
    from loadtests.rounds import MAX_TOKENS

    warn_of_strays(console)
    names = " then ".join(stack.name for stack in stacks)
    console.print(
        f"The engine of the expert {expert} behind each server in turn: {names}, started "
        f"{'once' if plan.starts == 1 else f'{plan.starts} times'} one after the other, never two at a time. "
        f"{plan.rounds} rounds in a start, {plan.seconds:g} s each, {MAX_TOKENS} output tokens. "
        "The load generator runs on this machine too. Cells: median of the rounds (lowest–highest); "
        f"× is the ratio to {RAY}."
    )
    if not any(row.startswith("Pointsman, route") for row in stacks[0].models):
        console.print("[yellow]No router's artifact is there, so no decision is measured: train one first.[/]")
