"""What a process spends its time on, by a sampling profiler (py-spy)."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from loadtests.errors import LoadTestError

__all__ = ["EVENT_LOOP", "PARTS", "part_of", "sampled", "shares"]

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
# The thread whose stacks hold the HTTP server is the one that answers requests.
_ANSWERS = "uvicorn/"


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


def sampled(pid: int, file: Path, seconds: float) -> str:
    """What py-spy writes of a process under load, in its raw format.

    Args:
        pid: the process.
        file: where py-spy writes it.
        seconds: how long it looks.

    Raises:
        LoadTestError: py-spy is not installed, or may not look.
    """
    program = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")
    if program is None:
        raise LoadTestError("py-spy is not installed: pip install py-spy.")
    options = ["--pid", str(pid), "--rate", str(_RATE_HZ), "--duration", str(max(1, int(seconds)))]
    command = [program, "record", "--format", "raw", "--threads", "--output", str(file), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or not file.is_file():
        raise LoadTestError(f"py-spy could not look into the Router: {done.stderr.strip()[-300:]}")
    return file.read_text()
