"""Rounds of load on several servers, each started by itself, so that what they show can be compared."""

from __future__ import annotations

import itertools
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from loadtests.closed_loop import Load, measure
from loadtests.comparison import Comparison, Point
from loadtests.errors import LoadTestError
from loadtests.stacks import Stack, has_ended, memory_of, running

__all__ = ["MAX_TOKENS", "Plan", "run_rounds"]

MAX_TOKENS = 16
_DECISION_HEADER = "x-pointsman-decision-us"
_WARMUP_S = 5.0
_COLUMNS = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured.

    Attributes:
        points: the loads.
        rounds: times that each load is measured in one start of a server.
        starts: times that each server is started.
        seconds: measured time of each load.
        may_fail: servers that are left out, with a note, if they do not start; others end the run.
        end_s: time on ``time.monotonic``'s clock after which nothing more is begun.
    """

    points: list[Point]
    rounds: int
    starts: int
    seconds: float
    may_fail: frozenset[str] = frozenset()
    end_s: float = float("inf")

    @property
    def over(self) -> bool:
        """Whether time is up."""
        return time.monotonic() > self.end_s


def run_rounds(stacks: list[Stack], plan: Plan, comparison: Comparison, folder: Path) -> list[str]:
    """Start the servers one after the other, never two of them at a time, and measure each.

    Args:
        stacks: the servers; the models of one take turns within a start.
        plan: how much is measured.
        comparison: takes what is measured.
        folder: where logs go.

    Returns:
        What was left out, and why, a sentence each.

    Raises:
        LoadTestError: a server that may not fail did not start.
    """
    total = plan.starts * sum(1 + plan.rounds * len(plan.points) * len(stack.models) for stack in stacks)
    left_out: list[str] = []
    # The load generator is a process of its own, so that this one's progress bar does not disturb it.
    generator = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
    with Progress(*_COLUMNS, console=Console(stderr=True)) as progress, generator:
        task = progress.add_task("", total=total)
        for start, stack in itertools.product(range(plan.starts), stacks):
            progress.update(task, description=f"Starting {stack.name}")
            log = folder / f"{stack.name}-{start}.log"
            left_out += _one_start(stack, plan, comparison, generator, log, (progress, task))
    return left_out


def _one_start(
    stack: Stack,
    plan: Plan,
    comparison: Comparison,
    generator: ProcessPoolExecutor,
    log: Path,
    shown: tuple[Progress, TaskID],
) -> list[str]:
    """Start one server and measure it, or say why not."""
    if plan.over:
        return [f"{stack.name} is left out: time was up."]
    try:
        return _start_and_measure(stack, plan, comparison, generator, log, shown)
    except LoadTestError as error:
        if stack.name not in plan.may_fail:
            raise
        return [f"{stack.name} is left out: {error}"]


def _start_and_measure(
    stack: Stack,
    plan: Plan,
    comparison: Comparison,
    generator: ProcessPoolExecutor,
    log: Path,
    shown: tuple[Progress, TaskID],
) -> list[str]:
    """All rounds of one server; its models take turns, so that a drift of the machine hits all of them."""
    progress, task = shown
    turns = [
        (row, model, point) for _ in range(plan.rounds) for point in plan.points for row, model in stack.models.items()
    ]
    with running(stack, log, expected_tokens=MAX_TOKENS) as processes:
        progress.advance(task)
        for done, (row, model, point) in enumerate(turns):
            if plan.over:
                return [f"{stack.name}: {len(turns) - done} of {len(turns)} loads are left out, as time was up."]
            progress.update(task, description=f"{row}: {point.users} users{', streaming' if point.stream else ''}")
            load = Load(
                stack.url,
                model,
                point.users,
                plan.seconds,
                point.stream,
                MAX_TOKENS,
                warmup_s=_WARMUP_S,
                number_header=_DECISION_HEADER,
                body=stack.body,
            )
            comparison.add(row, point, generator.submit(measure, load).result())
            progress.advance(task)
        comparison.memory[stack.name] = memory_of(*processes)
        return [f"{stack.name} ended by itself under this load."] if has_ended(processes[0]) else []
