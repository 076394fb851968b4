"""Locust as a process of its own, so that gevent stays there: started, followed, ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import orjson

from loadtests.errors import LoadTestError
from loadtests.samples import Samples
from loadtests.scenario import Scenario
from loadtests.stacks import free_port

__all__ = ["Progress", "run_locust"]

_POLL_S = 0.25
_STOP_S = 20.0
_GRACE_S = 60.0
_SHORTEST_GRACE_S = 5.0
_LOCUSTFILE = Path(__file__).with_name("locustfile.py")


class Progress(NamedTuple):
    """How far a load test is; times are seconds since the epoch."""

    started_s: float
    at_s: float
    users: int
    requests: int
    failures: int


def run_locust(
    scenario: Scenario, folder: Path, on_progress: Callable[[Progress], None] = lambda progress: None
) -> tuple[Samples, Progress]:
    """Run a load test from its beginning to its end, in as many processes as the scenario says.

    Args:
        scenario: the load test.
        folder: an empty folder for files that are of no use afterwards.
        on_progress: told now and then how far it is.

    Raises:
        LoadTestError: Locust is not installed, or it ended before it had to.
        KeyboardInterrupt: it was interrupted; Locust's processes have ended.
    """
    if find_spec("locust") is None:
        raise LoadTestError("Load tests need Locust: install the extra 'loadtests' (pointsman[loadtests]).")
    samples, progress_file, log = folder / "samples.npz", folder / "progress.json", folder / "log"
    command = [sys.executable, "-m", "locust", "-f", str(_LOCUSTFILE), "--headless", "--only-summary"]
    command += ["--loglevel", "WARNING", "--stop-timeout", f"{_grace_s(scenario):.0f}", "--exit-code-on-error", "0"]
    command += scenario.options()
    command += [f"--load-samples-file={samples}", f"--load-progress-file={progress_file}"]
    if scenario.processes > 1:
        port = str(free_port())
        command += ["--processes", str(scenario.processes), "--master-bind-host", "127.0.0.1"]
        command += ["--master-bind-port", port, "--master-port", port]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")])),
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    try:
        progress = _follow(process, scenario, progress_file, on_progress)
    finally:
        _end(process)
    if not samples.is_file() or progress is None:
        raise LoadTestError(f"Locust ended with {process.returncode}: {_last_line(log)}")
    return Samples.load(samples), progress


_ROOT = Path(__file__).parent.parent


def _grace_s(scenario: Scenario) -> float:
    """How long requests that are under way at the end may take."""
    return max(_SHORTEST_GRACE_S, min(_GRACE_S, scenario.timeout_s))


def _follow(
    process: subprocess.Popen[bytes], scenario: Scenario, path: Path, on_progress: Callable[[Progress], None]
) -> Progress | None:
    """Wait for the end, which is forced where it does not come by itself."""
    progress = None
    must_end_s = time.monotonic() + scenario.seconds + _grace_s(scenario) + _GRACE_S
    while process.poll() is None:
        time.sleep(_POLL_S)
        if path.is_file():
            progress = Progress(**orjson.loads(path.read_bytes()))
            on_progress(progress)
        if time.monotonic() > must_end_s:
            break
    return Progress(**orjson.loads(path.read_bytes())) if path.is_file() else progress


def _end(process: subprocess.Popen[bytes]) -> None:
    """End Locust and the processes that it has started."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].removeprefix("Error: ") if lines else "it said nothing."
