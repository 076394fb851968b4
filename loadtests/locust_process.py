"""Locust as a process of its own, so that gevent stays there: started, followed, ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import orjson

from loadtests.errors import LoadTestError
from loadtests.samples import Samples
from loadtests.scenario import Scenario
from loadtests.stacks import free_port, last_error

__all__ = ["Progress", "run_locust"]

_POLL_S = 0.25
_STOP_S = 15.0
_GRACE_S = 60.0
_SHORTEST_GRACE_S = 5.0
_ROOT = Path(__file__).parent.parent
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
        KeyboardInterrupt: it was interrupted before there was anything to report. Later an interrupt ends the load
            test, and what was seen until then is returned.
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
    interrupted = False
    try:
        _follow(process, scenario, progress_file, on_progress)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        _end(process, _grace_s(scenario) + _STOP_S)
    if interrupted and not samples.is_file():
        raise KeyboardInterrupt
    if not samples.is_file() or not progress_file.is_file():
        raise LoadTestError(f"Locust ended with {process.returncode}: {last_error(log)}")
    found = Samples.load(samples)
    if not len(found):
        raise LoadTestError(f"Not one request was made: {last_error(log)}")
    return found, Progress(**orjson.loads(progress_file.read_bytes()))


def _grace_s(scenario: Scenario) -> float:
    """How long requests that are under way at the end may take."""
    return max(_SHORTEST_GRACE_S, min(_GRACE_S, scenario.timeout_s))


def _follow(
    process: subprocess.Popen[bytes], scenario: Scenario, path: Path, on_progress: Callable[[Progress], None]
) -> None:
    """Wait for the end, or until it should have come."""
    must_end_s = time.monotonic() + scenario.seconds + _grace_s(scenario) + _GRACE_S
    while process.poll() is None and time.monotonic() < must_end_s:
        time.sleep(_POLL_S)
        if path.is_file():
            on_progress(Progress(**orjson.loads(path.read_bytes())))


def _end(process: subprocess.Popen[bytes], patience_s: float) -> None:
    """End Locust as Ctrl-C would, so that it writes what it has seen, then whatever is left of its processes."""
    try:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(patience_s)
    except subprocess.TimeoutExpired:
        pass
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
