"""Processes that may end while they are looked at."""

from __future__ import annotations

from collections.abc import Iterable

import psutil

__all__ = ["command_of", "family", "processor_s"]


def family(roots: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Processes and all that they started, leaving out those that have ended with all that they started."""
    members = []
    for root in roots:
        try:
            members += [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            continue
    return members


def command_of(process: psutil.Process) -> str:
    """A process's command line; empty if it has ended or may not be read."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def processor_s(process: psutil.Process) -> float:
    """Processor seconds, user and system, that a process has used; 0 if it has ended."""
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)
