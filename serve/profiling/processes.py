"""The processes of a server by what they do, and the processor time that each kind of them uses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import psutil

from loadtests.processes import command_of, family, processor_s

__all__ = ["OTHERS", "ROUTER", "kind_of", "the_router", "used_s"]

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


def used_s(roots: Iterable[psutil.Process]) -> defaultdict[str, float]:
    """Processor seconds that each kind of process has used.

    Args:
        roots: the processes that were started; all that they started counts too.
    """
    used: defaultdict[str, float] = defaultdict(float)
    for process in family(roots):
        used[kind_of(command_of(process))] += processor_s(process)
    return used


def the_router(roots: Iterable[psutil.Process]) -> psutil.Process | None:
    """A Router among the processes that were started, if there is one."""
    return next((process for process in family(roots) if kind_of(command_of(process)) == ROUTER), None)
