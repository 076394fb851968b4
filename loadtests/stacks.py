"""Servers to be measured: started as processes of their own, watched, and gone without a trace afterwards."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from loadtests.errors import LoadTestError
from loadtests.processes import family

__all__ = [
    "Memory",
    "Stack",
    "clean_environment",
    "free_port",
    "has_ended",
    "last_error",
    "memory_of",
    "running",
    "stray_engines",
]

_ENGINE = re.compile(r"^(?:VLLM|ray)::|vllm\.entrypoints")
_ERROR_LINE = re.compile(r"^.*(?:Error|Exception): .+$", re.MULTILINE)
_POLL_S = 0.5
_PROBE_TIMEOUT_S = 60.0
_STOP_S = 45.0


@dataclass(frozen=True, slots=True)
class Stack:
    """A server that speaks the OpenAI API.

    Attributes:
        name: what reports call it.
        command: how it is started.
        url: its base URL, ending in ``/v1``.
        models: the models to ask it for, by the name that reports give the row.
        environment: all of its environment.
        behind: servers that this one hands requests on to; they are started before it and end after it.
        body: what every request's body has beside the usual.
    """

    name: str
    command: Sequence[str]
    url: str
    models: Mapping[str, str]
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    behind: Sequence[Stack] = ()
    body: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Memory:
    """What a tree of processes holds: proportional set size, which counts shared pages once."""

    pss_bytes: int
    processes: int


def clean_environment(prefixes: Sequence[str] = ("RAY_", "RAYLLM_", "VLLM_", "OMP_")) -> dict[str, str]:
    """This process's environment without variables that would change what a server does."""
    return {name: value for name, value in os.environ.items() if not name.startswith(tuple(prefixes))}


def free_port() -> int:
    """A TCP port of 127.0.0.1 on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def stray_engines() -> list[str]:
    """Engines and Ray workers that run on this machine already, and would disturb a measurement."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        command = " ".join(process.info["cmdline"] or [])
        if _ENGINE.search(command):
            found.append(f"{process.info['pid']}: {command[:80].strip()}")
    return found


@contextmanager
def running(
    stack: Stack,
    log: Path,
    *,
    expected_tokens: int,
    timeout_s: float = 300.0,
    on_wait: Callable[[float], None] | None = None,
) -> Iterator[list[psutil.Process]]:
    """Start a server and those behind it, wait until every model answers, and stop them with all that they started.

    Yields the processes that were started: the server's own first, then those of the servers behind it.

    Args:
        stack: the server.
        log: where its output goes; that of servers behind it into files beside this one.
        expected_tokens: output tokens that every answer must have.
        timeout_s: how long it may take to start.
        on_wait: told the seconds waited, now and then.

    Raises:
        LoadTestError: it did not start, or it answers otherwise than asked.
    """
    with ExitStack() as opened:
        behind = []
        for number, server in enumerate(stack.behind):
            beside = log.with_name(f"{log.stem}-behind-{number}{log.suffix}")
            waiting = running(server, beside, expected_tokens=expected_tokens, timeout_s=timeout_s, on_wait=on_wait)
            behind += opened.enter_context(waiting)
        process = opened.enter_context(_started(stack, log, expected_tokens, timeout_s, on_wait))
        yield [process, *behind]


@contextmanager
def _started(
    stack: Stack, log: Path, expected_tokens: int, timeout_s: float, on_wait: Callable[[float], None] | None
) -> Iterator[psutil.Process]:
    with log.open("wb") as output:
        started = subprocess.Popen(
            stack.command,
            env=dict(stack.environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    process = psutil.Process(started.pid)
    try:
        _wait_until_ready(stack, started, log, expected_tokens, timeout_s, on_wait)
        yield process
    finally:
        _stop(started, process)


def memory_of(*processes: psutil.Process) -> Memory:
    """What processes and all that they started hold; those that have ended hold nothing."""
    held, count = 0, 0
    for member in family(process for process in processes if not has_ended(process)):
        try:
            held += member.memory_full_info().pss
            count += 1
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return Memory(pss_bytes=held, processes=count)


def has_ended(process: psutil.Process) -> bool:
    """Whether a process is gone, or would be if its parent had asked for its end."""
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def _wait_until_ready(
    stack: Stack,
    started: subprocess.Popen[bytes],
    log: Path,
    expected_tokens: int,
    timeout_s: float,
    on_wait: Callable[[float], None] | None,
) -> None:
    from_s = time.monotonic()
    waiting = list(stack.models.values())
    while (waited_s := time.monotonic() - from_s) < timeout_s:
        if started.poll() is not None:
            raise LoadTestError(f"{stack.name} ended with {started.returncode} at its start: {last_error(log)}")
        if on_wait is not None:
            on_wait(waited_s)
        waiting = [model for model in waiting if not _answers(stack, model, expected_tokens)]
        if not waiting:
            return
        time.sleep(_POLL_S)
    raise LoadTestError(f"{stack.name} did not answer within {timeout_s:g} s: {last_error(log)}")


def _answers(stack: Stack, model: str, expected_tokens: int) -> bool:
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": "What is 3 plus 4?"}],
        "max_tokens": expected_tokens,
        "ignore_eos": True,
        **stack.body,
    }
    try:
        answer = httpx.post(f"{stack.url}/chat/completions", json=body, timeout=_PROBE_TIMEOUT_S)
    except httpx.HTTPError:
        return False
    if answer.status_code != 200:
        return False
    tokens = answer.json()["usage"]["completion_tokens"]
    # Where the best of several answers is given, the usage is that of all of them.
    if tokens == 0 or tokens % expected_tokens:
        raise LoadTestError(
            f"{stack.name} answers {model!r} with {tokens} tokens instead of {expected_tokens}: "
            "it does not honour max_tokens and ignore_eos, so its figures could not be compared."
        )
    return True


def _stop(started: subprocess.Popen[bytes], process: psutil.Process) -> None:
    """Ask the server to end, then end by force what it left behind."""
    descendants = process.children(recursive=True) if process.is_running() else []
    started.terminate()
    try:
        started.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        started.kill()
        started.wait()
    _, alive = psutil.wait_procs(descendants, timeout=1)
    for orphan in alive:
        orphan.kill()
    psutil.wait_procs(alive, timeout=_STOP_S)


def last_error(log: Path) -> str:
    """The last error that a process wrote to its log, or else its last line."""
    text = log.read_text(errors="replace")
    errors = _ERROR_LINE.findall(text)
    lines = errors or text.strip().splitlines()
    return str(lines[-1]).strip() if lines else "it said nothing."
