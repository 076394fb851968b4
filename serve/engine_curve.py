"""A real engine's speed by load, and the simulated expert's timing that reproduces it.

    python -m serve.engine_curve measure curve.json          start the demo's engine alone, and measure it
    python -m serve.engine_curve measure curve.json --url …  measure an engine that runs already, on a GPU for instance
    python -m serve.engine_curve fit curve.json              fit, check on the points left out, print the settings

Measured is what clients see, so the fitted times hold the server's and the machine's share too.
"""

from __future__ import annotations

import os
import platform
import random
import re
import statistics
import string
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import httpx
import orjson
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from deployments.experts.simulation.fitting import QUANTITIES, Measured, fit_timing, simulate
from deployments.experts.simulation.timing import Capacity, Timing
from routers.errors import DataError, ParameterError, PointsmanError
from serve.commands.bench import terminable, user_counts

__all__ = ["Curve", "read_curve", "split"]

_USERS = "1,8,64,256"
_MAX_SEQUENCES, _MAX_STEP_TOKENS = 128, 2048
_PROMPTS = 4096
_PROBES = 8
_MOST_FAILURES = 0.02
_HELD_OUT_EVERY = 3

app = typer.Typer(add_completion=False, help=__doc__)


class Curve(NamedTuple):
    """Measured points of one engine, and what it holds."""

    about: dict[str, Any]
    capacity: Capacity
    points: list[Measured]


class _Shape(NamedTuple):
    """Words behind a question, and tokens of an answer."""

    words: int
    output_tokens: int


# Short answers of short prompts, long answers, long prompts.
_SHAPES = (_Shape(0, 16), _Shape(0, 64), _Shape(30, 16))


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
    config: Annotated[Path, typer.Option(help="Configuration with the engine to start.")] = Path("config.yaml"),
    expert: Annotated[
        str, typer.Option(help="The vLLM expert of the configuration, or the model at the --url.")
    ] = "small",
    url: Annotated[str | None, typer.Option(help="A vLLM server on this machine that runs already, to /v1.")] = None,
    users: Annotated[str, typer.Option(help="Concurrent users, separated by commas.")] = _USERS,
    seconds: Annotated[float, typer.Option(min=0.5, help="Measured time of each point and round.")] = 4.0,
    rounds: Annotated[int, typer.Option(min=1, help="Times that each point is measured; the best counts.")] = 3,
) -> None:
    """Measure an engine under closed loops of users, with streaming answers of fixed lengths."""
    counts = user_counts(users)
    with _engine(config, expert) if url is None else _nothing(url) as served:
        capacity = _capacity(served)
        version = _vllm_version(served)
        points = _measure_all(served, expert, list(product(_SHAPES, counts)), seconds, rounds)
    record = {
        "about": {
            "engine": f"vLLM {version}",
            "model": expert if url else f"{config}, {expert}",
            "machine": f"{platform.machine()}, {_cpus()} processors, shared with the load generator",
            "seconds": seconds,
            "rounds": rounds,
        },
        "capacity": asdict(capacity),
        "points": [point.as_json() for point in points],
    }
    out.write_bytes(orjson.dumps(record, option=orjson.OPT_INDENT_2) + b"\n")
    Console(soft_wrap=True).print(
        f"{len(points)} points in {out}: fit them with `python -m serve.engine_curve fit {out}`."
    )


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


@contextmanager
def _nothing(url: str) -> Iterator[str]:
    yield url.rstrip("/")


@contextmanager
def _engine(config: Path, expert: str) -> Iterator[str]:
    """The engine of an expert as a vLLM server alone, with known limits; yields its URL."""
    from loadtests.stacks import Stack, clean_environment, free_port, running
    from serve.benchmark import bare_command, llm_config, read_source

    engine = llm_config(read_source(config, expert))
    limits = {"max_num_seqs": _MAX_SEQUENCES, "max_num_batched_tokens": _MAX_STEP_TOKENS}
    # Prompts of this measurement share no prefix but the template's; the simulation shares none at all.
    engine["engine_kwargs"] = {**engine["engine_kwargs"], **limits, "enable_prefix_caching": False}
    port = free_port()
    command, variables = bare_command(engine, port)
    url = f"http://127.0.0.1:{port}/v1"
    stack = Stack("vLLM", command, url, {expert: expert}, {**clean_environment(), **variables})
    with tempfile.TemporaryDirectory(prefix="pointsman-curve-") as folder, ExitStack() as until_ready:
        until_ready.enter_context(Console(stderr=True).status("Starting vLLM …"))
        with running(stack, Path(folder) / "log", expected_tokens=16):
            until_ready.close()
            yield url


def _measure_all(
    url: str, model: str, cases: Sequence[tuple[_Shape, int]], seconds: float, rounds: int
) -> list[Measured]:
    prompts = {shape: _prompts(shape.words) for shape, _ in cases}
    tokens = {shape: _prompt_tokens(url, model, prompts[shape][:_PROBES]) for shape in prompts}
    seen: dict[tuple[_Shape, int], list[Measured]] = {case: [] for case in cases}
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=rounds * len(cases))
        for _, case in product(range(rounds), cases):
            shape, count = case
            progress.update(task, description=f"{count} users, {shape.output_tokens} tokens")
            seen[case].append(_measured(url, model, count, shape, prompts[shape], seconds, tokens[shape]))
            progress.advance(task)
    # Other programs of the machine only slow it down.
    return [max(points, key=lambda point: point.requests_per_s) for points in seen.values()]


def _measured(
    url: str, model: str, users: int, shape: _Shape, prompts: tuple[str, ...], seconds: float, prompt_tokens: int
) -> Measured:
    """One point, measured for longer where too few answers end in time."""
    from loadtests.closed_loop import Load
    from loadtests.closed_loop import measure as run

    for longer in (1, 3, 9):
        load = Load(url, model, users, seconds * longer, stream=True, max_tokens=shape.output_tokens, prompts=prompts)
        result = run(load)
        # A tiny model now and then answers with nothing but tokens that have no text.
        if sum(result.failures.values()) > max(1, _MOST_FAILURES * result.requests):
            raise DataError(f"{users} users had failures ({result.failures}): the engine cannot be measured so.")
        first, latency = result.first_token_ms, result.latency_ms
        if first is None or latency is None or result.requests < users:
            continue
        interval_s = (latency.p50 - first.p50) / 1e3 / (shape.output_tokens - 1)
        rate = result.requests_per_s
        return Measured(users, prompt_tokens, shape.output_tokens, rate, first.p50 / 1e3, interval_s)
    raise DataError(f"{users} users were not all answered within {9 * seconds:g} s: give more --seconds.")


def _prompts(words: int) -> tuple[str, ...]:
    """Different questions, always the same ones, with so many made-up words behind each."""
    chooser = random.Random(words)

    def question() -> str:
        padding = ("".join(chooser.choices(string.ascii_lowercase, k=5)) for _ in range(words))
        return " ".join(["calculate", str(chooser.randrange(1000)), "plus", str(chooser.randrange(1000)), *padding])

    return tuple(question() for _ in range(_PROMPTS))


def _prompt_tokens(url: str, model: str, prompts: Sequence[str]) -> int:
    """Tokens of prompts with the template around them, as the engine counts them, on average."""
    counts: list[int] = []
    for prompt in prompts:
        body = {"model": model, "messages": [{"role": "user", "content": prompt}], "max_tokens": 1}
        try:
            answer = httpx.post(f"{url}/chat/completions", json=body, timeout=60).raise_for_status()
        except httpx.HTTPError as error:
            raise ParameterError(f"{url} does not answer for {model!r} ({error}): name a running engine.") from error
        counts.append(answer.json()["usage"]["prompt_tokens"])
    return round(statistics.mean(counts))


def _capacity(url: str) -> Capacity:
    """What a vLLM server says of itself; limits that it does not tell are those `measure` starts it with."""
    root = url.removesuffix("/v1")
    try:
        text = httpx.get(f"{root}/metrics", timeout=10).raise_for_status().text
        longest = httpx.get(f"{url}/models", timeout=10).raise_for_status().json()["data"][0]["max_model_len"]
    except (httpx.HTTPError, KeyError, IndexError) as error:
        raise ParameterError(f"{url} is no vLLM server ({error}): name one, or leave --url out.") from error
    found = {name: re.search(rf'{name}="(\d+)"', text) for name in ("block_size", "num_gpu_blocks")}
    blocks = [int(match[1]) for match in found.values() if match is not None]
    kv_tokens = blocks[0] * blocks[1] if len(blocks) == 2 else int(longest) * _MAX_SEQUENCES
    return Capacity(kv_tokens, int(longest), _MAX_SEQUENCES, _MAX_STEP_TOKENS)


def _vllm_version(url: str) -> str:
    return str(httpx.get(f"{url.removesuffix('/v1')}/version", timeout=10).json().get("version", "of unknown version"))


def _cpus() -> int:
    return len(os.sched_getaffinity(0))


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
