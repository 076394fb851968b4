"""Connections of asyncio that send at once."""

from __future__ import annotations

import contextlib
import socket
from asyncio import base_events

__all__ = ["send_at_once"]


def send_at_once() -> None:
    """Make this process send without waiting for acknowledgements, which takes asyncio 40 ms an answer.

    asyncio does so by itself, but only where a socket names its protocol, and Ray Serve's listening socket does not.
    """
    setattr(base_events, "_set_nodelay", _set_nodelay)  # noqa: B010


def _set_nodelay(sock: socket.socket) -> None:
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
