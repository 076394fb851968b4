"""The processes of a server by what they do, and the processor time that each kind of them uses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress

import psutil

__all__ = ["OTHERS", "ROUTER", "kind_of", "processor_s", "the_router"]

ROUTER = "Router"
OTHERS = "Ray's other processes"
# Words of a command line, each with what such a process does; the first that occurs decides.
_KINDS = {
    "ServeReplica:pointsman:Router": ROUTER,
    "OpenAiIngress": "ingress of ray.serve.llm",
    "ServeReplica:": "engine's HTTP server",
    "vllm.entrypoints": "engine's HTTP server",
    "VLLM::EngineCore": "engine's scheduler",
    "VLLM::Worker": "engine's model",
    "haproxy": "HAProxy",
    "instant_expert": "instant expert",
    "ray::DashboardAgent": "Ray's dashboard agent",
}


def kind_of(command: str) -> str:
    """What a process does, by its command line."""
    return next((kind for word, kind in _KINDS.items() if word in command), OTHERS)


def processor_s(roots: Iterable[psutil.Process]) -> Counter[str]:
    """Processor seconds, user and system, that each kind of process has used.

    Args:
        roots: the processes that were started; all that they started counts too.
    """
    used: Counter[str] = Counter()
    for kind, process in _kinds(roots):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        used[kind] += times.user + times.system
    return used


def the_router(roots: Iterable[psutil.Process]) -> psutil.Process | None:
    """A Router among the processes that were started, if there is one."""
    return next((process for kind, process in _kinds(roots) if kind == ROUTER), None)


def _kinds(roots: Iterable[psutil.Process]) -> list[tuple[str, psutil.Process]]:
    found = []
    for root in roots:
        with suppress(psutil.NoSuchProcess):
            found += [each for process in (root, *root.children(recursive=True)) for each in _kind(process)]
    return found


def _kind(process: psutil.Process) -> list[tuple[str, psutil.Process]]:
    """The process with what it does; nothing if it has ended."""
    try:
        return [(kind_of(" ".join(process.cmdline())), process)]
    except psutil.NoSuchProcess:
        return []
