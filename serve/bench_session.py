"""What the benchmarks' commands share: the users asked for, a run that can be ended, and a warning of other engines."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

import psutil

from routers.errors import ParameterError

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["RAY", "TABLE_WIDTH", "terminable", "user_counts", "warn_of_strays"]

RAY = "ray.serve.llm"
TABLE_WIDTH = 160
_WATCHED_S = 1.0
_BUSY_PERCENT = 25.0


def user_counts(users: str, option: str = "--users") -> list[int]:
    """The numbers of users in an option, each once and in order.

    Raises:
        ParameterError: they are not numbers above 0.
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


def warn_of_strays(console: Console) -> None:
    """Name the engines and Ray workers that run already, and other work, as they would disturb a measurement."""
    from loadtests.stacks import stray_engines

    # The load average would still tell of the measurement before this one.
    used = psutil.cpu_percent(interval=_WATCHED_S)
    if used > _BUSY_PERCENT:
        console.print(
            f"[yellow]Other work is under way ({used:.0f} % of the processors in use): "
            "figures will be too low, and ratios uncertain.[/]",
            highlight=False,
        )
    strays = stray_engines()
    if strays:
        console.print("[yellow]Engines or Ray workers of another run are alive; figures will be too low:[/]")
    for stray in strays:
        console.print(f"  {stray}", markup=False, highlight=False)
