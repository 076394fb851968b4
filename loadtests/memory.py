"""Memory of what answers: Ray Serve's replicas, engines and proxies of this user on this machine."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Sequence

import psutil

__all__ = ["kind_of", "memory_gib"]

_GIB = 1024**3
# A worker's title ends with the method that it runs, as in ray::ServeReplica:small:Expert.reconfigure.
_REPLICA = re.compile(r"ray::ServeReplica:([^:\s]+):([^:.\s]+)")
_OTHERS = (("VLLM::", "engines"), ("haproxy", "HAProxy"), ("ray::ServeController", "Serve's controller"))


def memory_gib() -> dict[str, float]:
    """GiB of proportional set size, which counts shared pages once, by `application/deployment` or kind of process."""
    found: defaultdict[str, float] = defaultdict(float)
    for process in psutil.process_iter():
        try:
            kind = kind_of(process.cmdline()) if process.uids().real == os.getuid() else None
            if kind is not None:
                found[kind] += process.memory_full_info().pss / _GIB
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return dict(found)


def kind_of(command: Sequence[str]) -> str | None:
    """What a process is, by its command line; None for what is not part of an endpoint."""
    if not command:
        return None
    if replica := _REPLICA.match(command[0]):
        return f"{replica[1]}/{replica[2]}"
    program = command[0].rpartition("/")[2]
    return next((kind for word, kind in _OTHERS if program.startswith(word)), None)
