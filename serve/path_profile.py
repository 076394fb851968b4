"""``python -m serve.path_profile``: where a request's time goes in a Router, by a sampling profiler.

Pointsman runs in front of an expert that answers at once, so that nothing but the path itself takes time.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer
from rich.console import Console
from rich.table import Table

from loadtests.closed_loop import Load, measure
from loadtests.errors import LoadTestError
from loadtests.rounds import MAX_TOKENS
from loadtests.stacks import Stack, running
from routers.errors import PointsmanError
from serve.bench_session import terminable, warn_of_strays
from serve.benchmark import read_source
from serve.peers.servers import instant_stacks

__all__ = ["PARTS", "part_of", "shares"]

PARTS = {
    "the decision": ("routers/", "deployments/decisions.py", "deployments/routes.py", "deployments/scoring.py"),
    "asking the expert": ("deployments/http_", "deployments/upstream.py"),
    "metrics": ("deployments/telemetry.py", "ray/util/metrics.py", "ray/serve/metrics.py"),
    "Pointsman besides": ("deployments/",),
    "Ray Serve's replica": ("ray/", "starlette/"),
    "HTTP server": ("uvicorn/",),
}
"""Parts of the path, each with the beginnings of its files' names; the innermost frame that belongs to one decides."""
EVENT_LOOP = "event loop and sockets"
_RATE_HZ = 250
_ROUTER = "ServeReplica:pointsman:Router"
_WARMUP_S = 30.0
# The thread whose stacks hold the HTTP server is the one that answers requests.
_ANSWERS = "uvicorn/"


def profile(
    config: Annotated[Path, typer.Argument(help="Configuration that `pointsman serve` runs.")] = Path("config.yaml"),
    expert: Annotated[str, typer.Option(help="The expert that the instant one stands in for.")] = "small",
    users: Annotated[int, typer.Option(min=1, help="Concurrent users.")] = 64,
    seconds: Annotated[float, typer.Option(min=2, help="Time of each of the two loads.")] = 10.0,
    stream: Annotated[bool, typer.Option("--stream", help="Ask for server-sent events.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write everything to this file.")] = None,
) -> None:
    """Say what a request costs each process, and what the Router spends it on."""
    console = Console(soft_wrap=True)
    try:
        source = read_source(config, expert)
        warn_of_strays(console)
        with tempfile.TemporaryDirectory(prefix="pointsman-profile-") as folder, terminable():
            (stack,) = instant_stacks(source, Path(folder), Path(folder), peers=[], workers=1)[1:]
            said = _measured(stack, Path(folder), users, seconds, stream)
    except PointsmanError as error:
        Console(stderr=True, soft_wrap=True).print(f"[bold red]Error:[/] {error}", highlight=False)
        raise typer.Exit(2) from error
    console.print(_table(said))
    if json_file is not None:
        json_file.write_text(json.dumps(said, indent=2))


def part_of(stack: Iterable[str]) -> str:
    """The part that a stack of frames, outermost first, belongs to.

    Args:
        stack: frames as py-spy writes them: ``function (path/to/file.py:12)``.
    """
    for frame in reversed(list(stack)):
        file = frame.rpartition("(")[2]
        for part, beginnings in PARTS.items():
            if file.startswith(beginnings):
                return part
    return EVENT_LOOP


def shares(raw: str) -> dict[str, float]:
    """Share of each part in the time of the thread that answers requests, largest first.

    Args:
        raw: py-spy's raw format with a thread's name in each line: frames by semicolons, and a count.

    Raises:
        LoadTestError: no thread answered requests.
    """
    threads: dict[str, Counter[str]] = {}
    answering: Counter[str] = Counter()
    for line in raw.splitlines():
        frames, _, count = line.rpartition(" ")
        thread, *stack = frames.split(";")
        threads.setdefault(thread, Counter())[part_of(stack)] += int(count)
        answering[thread] += int(count) if _ANSWERS in frames else 0
    if not answering.total():
        raise LoadTestError("The profile shows no thread that answers requests: give a longer --seconds.")
    parts = threads[answering.most_common(1)[0][0]]
    return {part: count / parts.total() for part, count in parts.most_common()}


def _measured(stack: Stack, folder: Path, users: int, seconds: float, stream: bool) -> dict[str, Any]:
    (model,) = stack.models.values()
    load = Load(stack.url, model, users, seconds, stream, MAX_TOKENS, warmup_s=_WARMUP_S)
    log = folder / "server.log"
    with running(stack, log, expected_tokens=MAX_TOKENS) as started, ProcessPoolExecutor(1) as generator:
        generator.submit(measure, load).result()
        before, began_s = _processor_s(started), time.perf_counter()
        result = generator.submit(measure, load).result()
        elapsed_s = time.perf_counter() - began_s
        spent = Counter(_processor_s(started))
        spent.subtract(before)
        again = generator.submit(measure, load)
        raw = _sampled(_router(started), folder / "profile.txt", seconds)
        again.result()
    answers = result.requests_per_s * elapsed_s
    return {
        "users": users,
        "stream": stream,
        "requests_per_s": result.requests_per_s,
        "processor_ms_a_request": {name: 1000 * used_s / answers for name, used_s in spent.most_common()},
        "router": shares(raw),
    }


def _processor_s(started: Iterable[psutil.Process]) -> dict[str, float]:
    """Processor seconds that each kind of process has used."""
    used: Counter[str] = Counter()
    for process in _processes(started):
        try:
            times = process.cpu_times()
            used[_kind(process)] += times.user + times.system
        except psutil.NoSuchProcess:
            continue
    return dict(used)


def _processes(started: Iterable[psutil.Process]) -> list[psutil.Process]:
    return [process for root in started for process in (root, *root.children(recursive=True))]


def _kind(process: psutil.Process) -> str:
    command = " ".join(process.cmdline())
    kinds = {_ROUTER: "Router", "haproxy": "HAProxy", "instant_expert": "instant expert"}
    return next((kind for word, kind in kinds.items() if word in command), "Ray")


def _router(started: Iterable[psutil.Process]) -> psutil.Process:
    return next(process for process in _processes(started) if _kind(process) == "Router")


def _sampled(process: psutil.Process, file: Path, seconds: float) -> str:
    """What py-spy writes of a process under load.

    Raises:
        LoadTestError: it is not installed, or may not look.
    """
    program = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")
    if program is None:
        raise LoadTestError("py-spy is not installed: pip install py-spy.")
    options = ["--pid", str(process.pid), "--rate", str(_RATE_HZ), "--duration", str(max(1, int(seconds)))]
    command = [program, "record", "--format", "raw", "--threads", "--output", str(file), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or not file.is_file():
        raise LoadTestError(f"py-spy could not look into the Router: {done.stderr.strip()[-300:]}")
    return file.read_text()


def _table(said: Mapping[str, Any]) -> Table:
    router_ms = said["processor_ms_a_request"]["Router"]
    kind = "streamed" if said["stream"] else "whole"
    made = Table(title=f"{said['users']} users, {kind} answers: {said['requests_per_s']:,.0f} requests/s")
    made.add_column("process, or part of the Router")
    made.add_column("processor µs a request", justify="right")
    made.add_column("share of the Router", justify="right")
    for name, spent_ms in said["processor_ms_a_request"].items():
        made.add_row(name, f"{1000 * spent_ms:,.0f}", "")
    made.add_section()
    for part, share in said["router"].items():
        made.add_row(part, f"{1000 * router_ms * share:,.0f}", f"{share:.0%}")
    return made


if __name__ == "__main__":
    typer.run(profile)
