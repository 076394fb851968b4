"""``python -m serve.peers``: Pointsman beside its peers, as ratios in one run."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.text import Text

from loadtests.aims import Aim, Rows, aims_of, aims_table
from loadtests.comparison import Comparison, Point
from loadtests.rounds import MAX_TOKENS, Plan, run_rounds
from loadtests.stacks import Stack
from routers.errors import ParameterError, PointsmanError
from serve.bench_session import RAY, TABLE_WIDTH, terminable, user_counts, warn_of_strays
from serve.bench_stacks import BARE
from serve.benchmark import BenchSource, read_source
from serve.peers.servers import INSTANT, LITELLM, PEERS, ROUTELLM, Experts, instant_stacks, missing, real_stacks

_BUILDERS: dict[Experts, Callable[..., list[Stack]]] = {Experts.INSTANT: instant_stacks, Experts.REAL: real_stacks}
_FLOORS = {Experts.INSTANT: INSTANT, Experts.REAL: BARE}
_TITLES = {
    Experts.INSTANT: "In front of a simulated expert that answers at once: what each server costs by itself",
    Experts.REAL: "In front of the real engine, vLLM on this machine",
}
_STAND_INS = (
    "Stand-ins: the instant expert has no model, and is a process of its own behind every server but "
    f"{RAY}, which hands requests to replicas of its own only, so there an engine without a model takes its place. "
    f"{ROUTELLM}'s router is its matrix factorization with random weights, since the real ones are on a hub, and its "
    "embeddings, which it asks of OpenAI, come from the instant expert. LiteLLM decides nothing: it has one model."
)


def peers(
    config: Annotated[Path, typer.Argument(help="Configuration that `pointsman serve` runs.")] = Path("config.yaml"),
    expert: Annotated[str, typer.Option(help="The vLLM expert whose engine answers.")] = "small",
    experts: Annotated[list[Experts] | None, typer.Option(help="What stands behind; both otherwise.")] = None,
    peer: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(PEERS)}; all otherwise.")] = None,
    users: Annotated[str, typer.Option(help="Concurrent users, separated by commas.")] = "1,64,256,1000",
    seconds: Annotated[float, typer.Option(min=0.5, help="Measured time of each load.")] = 3.0,
    rounds: Annotated[int, typer.Option(min=1, help="Times that each load is measured in one start.")] = 1,
    workers: Annotated[int, typer.Option(min=1, help="Router replicas, and processes of each proxy.")] = 1,
    minutes: Annotated[float, typer.Option(min=0, help="Begin nothing more after this time.")] = 25.0,
    installed: Annotated[Path, typer.Option(help="Folder of the peers' environments.")] = Path(".peers"),
    json_file: Annotated[Path | None, typer.Option("--json", help="Write everything to this file.")] = None,
) -> None:
    """Measure Pointsman beside ray.serve.llm's ingress, a LiteLLM proxy and RouteLLM's server over the same experts."""
    console = Console(soft_wrap=True)
    try:
        source = read_source(config, expert)
        wanted = _wanted(peer, installed, console)
        points = [Point(count, stream) for stream in (False, True) for count in user_counts(users)]
        plan = Plan(points, rounds, 1, seconds, frozenset(PEERS), time.monotonic() + 60 * minutes)
        _introduce(console, plan, workers)
        found = {
            kind.value: _measured(kind, source, plan, installed, wanted, workers) for kind in experts or list(Experts)
        }
    except PointsmanError as error:
        Console(stderr=True, soft_wrap=True).print(f"[bold red]Error:[/] {error}", highlight=False)
        raise typer.Exit(2) from error
    if json_file is not None:
        about = {"expert": expert, "seconds": seconds, "workers": workers, "max_tokens": MAX_TOKENS}
        json_file.write_bytes(orjson.dumps({**about, **found}, option=orjson.OPT_INDENT_2))


def _wanted(named: list[str] | None, installed: Path, console: Console) -> list[str]:
    """The peers to measure: those asked for that are installed; the others are named."""
    unknown = set(named or []) - set(PEERS)
    if unknown:
        raise ParameterError(f"There is no peer {unknown.pop()!r}: give one of {', '.join(PEERS)}.")
    wanted = list(named or PEERS)
    without = missing(installed, wanted)
    for peer in without:
        console.print(
            f"[yellow]{peer} is left out: {installed} has no environment of it; make bench-peers makes it.[/]"
        )
    return [peer for peer in wanted if peer not in without]


def _introduce(console: Console, plan: Plan, workers: int) -> None:
    warn_of_strays(console)
    console.print(
        "Each server by itself, one after the other. Router replicas, and workers of LiteLLM and RouteLLM: "
        f"{workers}. Rounds of {plan.seconds:g} s: {plan.rounds}. Output tokens: {MAX_TOKENS}. The load generator "
        "runs on this machine too; client is its share of one processor. Decision: median/99th percentile. Added ms is "
        f"what whole answers take longer than the floor's under the same number of users, × the ratio to {RAY}.",
        highlight=False,
    )
    console.print(_STAND_INS, highlight=False)


def _measured(
    kind: Experts, source: BenchSource, plan: Plan, installed: Path, wanted: list[str], workers: int
) -> dict[str, Any]:
    """One table: every server in front of one kind of expert."""
    comparison = Comparison(RAY, floor=_FLOORS[kind])
    with tempfile.TemporaryDirectory(prefix="pointsman-peers-") as folder, terminable():
        stacks = _BUILDERS[kind](source, Path(folder), installed, peers=wanted, workers=workers)
        left_out = run_rounds(stacks, plan, comparison, Path(folder))
    aims = _aims(kind, comparison)
    console = Console()
    wide = Console(width=max(console.width, TABLE_WIDTH))
    wide.print(Text(f"\n{_TITLES[kind]}\n", "bold underline"), comparison.table(), aims_table(aims))
    for line in left_out:
        console.print(line, style="yellow", highlight=False, soft_wrap=True)
    return {**comparison.as_json(), "aims": [aim.as_json() for aim in aims], "left_out": left_out}


def _aims(kind: Experts, comparison: Comparison) -> list[Aim]:
    """What is aimed at with one kind of expert: the engine's own server is a floor for the real one only."""
    ours = next((row for row in comparison.rows if row.startswith("Pointsman")), "Pointsman")
    return aims_of(comparison, Rows(ours, RAY, LITELLM, BARE if kind is Experts.REAL else None))


if __name__ == "__main__":
    typer.run(peers)
