"""``pointsman loadtest``: load an endpoint with Locust's users, and report what came of it."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from serve.bench_session import terminable, user_counts

if TYPE_CHECKING:
    from loadtests.results import Outcome
    from loadtests.scenario import Scenario

__all__ = ["loadtest", "run_shown"]

_USERS_A_PROCESS = 1000
_COLUMNS = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
_TABLE_WIDTH = 124
_FULL = 0.95


_Url = Annotated[str, typer.Argument(help="The endpoint's base URL, ending in /v1.")]
_Model = Annotated[str, typer.Option(help="The requests' model: a route or an expert.")]
_Shape = Annotated[str, typer.Option(help="constant, steps or spike; or a trace: azure-conv, azure-code or servegen.")]
_Users = Annotated[int, typer.Option(min=1, help="Users of constant, and at the top of spike.")]
_Steps = Annotated[str, typer.Option(help="Users of each of the steps.")]
_Seconds = Annotated[float, typer.Option(min=1, help="How long all of it takes.")]
_Rate = Annotated[
    float | None,
    typer.Option(min=0.001, help="Requests a second: Azure's mean [its own], ServeGen's peak [default: 10]."),
]
_Mix = Annotated[str, typer.Option(help="What is asked: exam, zeroeval, long, chat or mixed.")]
_Stream = Annotated[bool, typer.Option(help="Ask for server-sent events.")]
_MaxTokens = Annotated[int, typer.Option(min=1, help="The most output tokens of an answer.")]
_FixedLength = Annotated[bool, typer.Option("--fixed-length", help="Exactly as many (vLLM's ignore_eos).")]
_PromptTokens = Annotated[int, typer.Option(min=1, help="Tokens of the prompts of long; of Azure's, the most.")]
_ThinkS = Annotated[float, typer.Option(min=0, help="Mean seconds between an answer and the next question.")]
_Thinking = Annotated[str, typer.Option(help="How these vary: exponential, or azure for its gaps.")]
_SpawnRate = Annotated[float, typer.Option(min=0.1, help="Users that come or go a second.")]
_SettleS = Annotated[float, typer.Option(min=0, help="Left out of each stage after its users have come.")]
_TimeoutS = Annotated[float, typer.Option(min=0.1, help="The longest that a request may take.")]
_MostRequests = Annotated[int, typer.Option(min=1, help="End after as many requests.")]
_MostOpen = Annotated[int, typer.Option(min=1, help="Requests of a trace under way at a time.")]
_Processes = Annotated[
    int | None, typer.Option(min=1, help="Locust processes [default: one for 1,000 users, as processors allow].")
]
_Data = Annotated[Path, typer.Option(envvar="POINTSMAN_DATA", help="Folder of the public data, see docs/data.md.")]
_Seed = Annotated[int, typer.Option(help="Seed of everything random.")]
_Anywhere = Annotated[bool, typer.Option("--anywhere", help="Load another machine than this one; ask first.")]
_Dashboard = Annotated[
    str | None, typer.Option(help="URL of Ray's dashboard, for replicas and queues [default: found on this machine].")
]
_Report = Annotated[Path, typer.Option(help="Folder for the page, its plots and report.json.")]
_JsonFile = Annotated[Path | None, typer.Option("--json", help="Also write all figures to this file.")]


def loadtest(
    url: _Url = "http://127.0.0.1:8000/v1",
    model: _Model = "auto",
    shape: _Shape = "constant",
    users: _Users = 100,
    steps: _Steps = "1,10,100,250,500,1000",
    seconds: _Seconds = 60.0,
    rate: _Rate = None,
    mix: _Mix = "exam",
    stream: _Stream = True,
    max_tokens: _MaxTokens = 64,
    fixed_length: _FixedLength = False,
    prompt_tokens: _PromptTokens = 1000,
    think_s: _ThinkS = 0.0,
    thinking: _Thinking = "exponential",
    spawn_rate: _SpawnRate = 100.0,
    settle_s: _SettleS = 1.0,
    timeout_s: _TimeoutS = 60.0,
    most_requests: _MostRequests = 1_000_000,
    most_open: _MostOpen = 1000,
    processes: _Processes = None,
    data: _Data = Path("../shared/data"),
    seed: _Seed = 0,
    anywhere: _Anywhere = False,
    dashboard: _Dashboard = None,
    report: _Report = Path("loadtest-report"),
    json_file: _JsonFile = None,
) -> None:
    """Load an endpoint of this machine with many users, and report what they saw: docs/loadtests.md."""
    import orjson

    from loadtests.checking import check
    from loadtests.results import describe
    from loadtests.scenario import Scenario
    from serve.reporting import write_load_report
    from serve.reporting.canvas import new_figure
    from serve.reporting.writing import prepare_folder

    given = {name: value for name, value in locals().items() if name in Scenario.__dataclass_fields__}
    scenario = Scenario(**{**given, "steps": tuple(user_counts(steps, "--steps")), "processes": processes or 1})
    if processes is None:
        scenario = dataclasses.replace(scenario, processes=_processes(scenario))
    check(scenario)
    # A load test that could not be reported would be lost.
    prepare_folder(report)
    new_figure()
    found = describe(run_shown(scenario, dashboard))
    if json_file is not None:
        json_file.write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2))
    _show(found)
    Console(soft_wrap=True).print(f"Report: {write_load_report(found, report)}", highlight=False)


def _processes(scenario: Scenario) -> int:
    wanted = -(-scenario.most_users // _USERS_A_PROCESS)
    return max(1, min(wanted, len(os.sched_getaffinity(0))))


def run_shown(scenario: Scenario, dashboard: str | None) -> Outcome:
    """Run a load test, with a bar that shows how far it is.

    Args:
        scenario: the load test.
        dashboard: URL of Ray's dashboard; where it is not given, it is looked for on this machine.

    Raises:
        LoadTestError: Locust is not installed, or it ended before it had to.
    """
    from loadtests.locust_process import Progress as HowFar
    from loadtests.locust_process import run_locust
    from loadtests.results import Outcome
    from loadtests.watch import find_dashboard, watching

    with (
        tempfile.TemporaryDirectory(prefix="pointsman-loadtest-") as folder,
        terminable(),
        watching(dashboard or find_dashboard(scenario.address.port)) as server,
        Progress(*_COLUMNS, console=Console(stderr=True)) as bar,
    ):
        task = bar.add_task("Starting", total=scenario.seconds)

        def show(far: HowFar) -> None:
            bar.update(
                task,
                completed=min(scenario.seconds, far.at_s - far.started_s),
                description=f"{far.users} users, {far.requests:,} requests, {far.failures:,} failures",
            )

        samples, far = run_locust(scenario, Path(folder), show)
    return Outcome(scenario, samples, far.started_s, far.at_s, server)


def _show(found: dict[str, Any]) -> None:
    """The figures as a table, and what to know about them."""
    from rich.table import Table

    from serve.reporting.load_page import rows_of

    table = Table("part", title="times in ms: median / 95 % / 99 %")
    for name in ("requests", "failures", "good/s", "tokens/s", "first token", "token interval", "whole answer"):
        table.add_column(name, justify="right")
    for row in rows_of(found):
        table.add_row(*row.values())
    console = Console(soft_wrap=True)
    Console(width=max(console.width, _TABLE_WIDTH)).print(table)
    for kind, count in found["summary"]["failures"].items():
        console.print(f"[red]{count} × {escape(kind)}[/]: {escape(found['about']['messages'].get(kind, ''))}")
    shares = ", ".join(f"{name} {100 * of['share']:.1f} %" for name, of in found["experts"].items())
    if shares:
        console.print(f"Answered by: {shares}.", highlight=False)
    if found["about"]["simulated"]:
        console.print(f"[yellow]Simulated:[/] {', '.join(found['about']['simulated'])}.", highlight=False)
    client = found["client"]
    if client["was_limit"]:
        console.print(
            f"[yellow]The client was a limit:[/] {'; '.join(client['reasons'])}. Give more --processes or, where the "
            "machine is full, load from another one.",
            highlight=False,
        )
    elif client["cpu_max"] is not None:
        console.print(f"The client was no limit (at most {client['cpu_max']:.0%} of a processor).", highlight=False)
    if (client["machine_cpu"] or 0.0) > _FULL:
        console.print(
            f"All of this machine's processors were in use ({client['machine_cpu']:.0%} on average): what the endpoint "
            "and the load took from each other is in these figures.",
            highlight=False,
        )
    if found["server"]["unreachable"]:
        console.print(f"No replicas and queues: {found['server']['unreachable']}.", highlight=False)
