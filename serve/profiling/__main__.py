"""``python -m serve.profiling``: where a request's time goes, by process, and in the Router by a sampling profiler.

In front of an expert that answers at once nothing but the path itself takes time; in front of the real engine a vLLM
server alone and ``ray.serve.llm``'s own ingress show what the path adds to what it costs anyway.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated

import psutil
import typer
from rich.console import Console
from rich.table import Table

from loadtests.closed_loop import Load, measure
from loadtests.rounds import MAX_TOKENS
from loadtests.stacks import Stack, running
from routers.errors import PointsmanError
from serve.bench_session import RAY, terminable, warn_of_strays
from serve.benchmark import BenchSource, read_source
from serve.peers.servers import Experts, instant_stacks, real_stacks
from serve.profiling.processes import ROUTER, the_router, used_s
from serve.profiling.sampling import sampled, shares

__all__ = ["Spent", "measured", "profile", "tables"]

_WARMUP_S = 30.0


@dataclass(frozen=True, slots=True)
class Spent:
    """What requests cost one server.

    Attributes:
        requests_per_s: good answers per second.
        processor_us: processor time of a request in microseconds by kind of process.
        router: share of each part of the path in the Router's time; empty where that was not sampled.
    """

    requests_per_s: float
    processor_us: dict[str, float]
    router: dict[str, float] = field(default_factory=dict)


def profile(
    config: Annotated[Path, typer.Argument(help="Configuration that `pointsman serve` runs.")] = Path("config.yaml"),
    expert: Annotated[str, typer.Option(help="The expert whose engine answers, or for which the instant one does.")] = (
        "small"
    ),
    experts: Annotated[Experts, typer.Option(help="What stands behind.")] = Experts.INSTANT,
    users: Annotated[int, typer.Option(min=1, help="Concurrent users.")] = 64,
    seconds: Annotated[float, typer.Option(min=2, help="Time of each of the two or three loads.")] = 10.0,
    stream: Annotated[bool, typer.Option("--stream", help="Ask for server-sent events.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write everything to this file.")] = None,
) -> None:
    """Say what a request costs each process, and what the Router spends it on where instant experts keep it busy."""
    console = Console(soft_wrap=True)
    try:
        source = read_source(config, expert)
        warn_of_strays(console)
        with tempfile.TemporaryDirectory(prefix="pointsman-profile-") as folder, terminable():
            stacks = _stacks(source, experts, Path(folder))
            load = Load("", "", users, seconds, stream, MAX_TOKENS, warmup_s=_WARMUP_S)
            # A Router that waits for an engine would be sampled waiting.
            sampling = experts is Experts.INSTANT
            spent = {stack.name: measured(stack, load, Path(folder), sampling=sampling) for stack in stacks}
    except PointsmanError as error:
        Console(stderr=True, soft_wrap=True).print(f"[bold red]Error:[/] {error}", highlight=False)
        raise typer.Exit(2) from error
    kind = f"{users:,} users, {'streamed' if stream else 'whole'} answers"
    console.print(*tables(spent, kind), sep="\n")
    if json_file is not None:
        about = {"experts": experts, "users": users, "stream": stream, "seconds": seconds}
        servers = {name: asdict(each) for name, each in spent.items()}
        json_file.write_text(json.dumps({**about, "servers": servers}, indent=2) + "\n")


def tables(spent: dict[str, Spent], kind: str) -> list[Table]:
    """What each server's processes use, and the parts of a Router, if one of them has it.

    Args:
        spent: what requests cost, by server.
        kind: what was asked, for the titles.
    """
    made = Table(title=f"Processor time of a request, µs: {kind}")
    made.add_column("process")
    for server in spent:
        made.add_column(server, justify="right")
    processes = dict.fromkeys(process for each in spent.values() for process in each.processor_us)
    for process in processes:
        made.add_row(process, *(_microseconds(each.processor_us.get(process)) for each in spent.values()))
    made.add_section()
    made.add_row("all of them", *(_microseconds(sum(each.processor_us.values())) for each in spent.values()))
    made.add_row("requests/s", *(f"{each.requests_per_s:,.0f}" for each in spent.values()))
    return [made, *(_parts(each, kind) for each in spent.values() if each.router)]


def _parts(spent: Spent, kind: str) -> Table:
    made = Table(title=f"The Router: {kind}")
    made.add_column("part")
    made.add_column("processor µs a request", justify="right")
    made.add_column("share", justify="right")
    for part, share in spent.router.items():
        made.add_row(part, _microseconds(spent.processor_us[ROUTER] * share), f"{share:.0%}")
    return made


def _microseconds(spent: float | None) -> str:
    return "" if spent is None else f"{spent:,.0f}"


def _stacks(source: BenchSource, experts: Experts, folder: Path) -> list[Stack]:
    if experts is Experts.INSTANT:
        return instant_stacks(source, folder, folder, peers=[], workers=1)[1:]
    return real_stacks(source, folder, folder, peers=[RAY], workers=1)


def measured(stack: Stack, load: Load, folder: Path, *, sampling: bool) -> Spent:
    """Load a server twice, counting the second time, and once more under a profiler.

    Args:
        stack: the server.
        load: the load, whose URL and model are the server's.
        folder: where logs and samples are written.
        sampling: look into the Router, if there is one.

    Raises:
        LoadTestError: the server does not start, or cannot be sampled.
    """
    (model,) = stack.models.values()
    load = replace(load, url=stack.url, model=model)
    with running(stack, folder / "server.log", expected_tokens=MAX_TOKENS) as started, ProcessPoolExecutor(1) as client:
        client.submit(measure, load).result()
        before, began_s = used_s(started), time.perf_counter()
        result = client.submit(measure, load).result()
        elapsed_s = time.perf_counter() - began_s
        used = {kind: after_s - before[kind] for kind, after_s in used_s(started).items()}
        parts = _router_parts(client, load, started, folder / "profile.txt") if sampling else {}
    answers = result.requests_per_s * elapsed_s
    largest_first = sorted(used, key=lambda kind: -used[kind])
    costs = {kind: 1e6 * used[kind] / answers for kind in largest_first if used[kind] > 0}
    return Spent(result.requests_per_s, costs, parts)


def _router_parts(
    client: ProcessPoolExecutor, load: Load, started: Sequence[psutil.Process], file: Path
) -> dict[str, float]:
    router = the_router(started)
    if router is None:
        return {}
    under_load = client.submit(measure, load)
    raw = sampled(router.pid, file, load.duration_s)
    under_load.result()
    return shares(raw)


if __name__ == "__main__":
    typer.run(profile)
