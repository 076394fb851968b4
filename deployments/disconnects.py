"""Spares Ray Serve the watch for clients that leave, where the application watches itself.

Serve runs a request in a task of its own with another one beside it that listens for the client's leaving. The Router,
vLLM's server and simulated experts listen themselves, so that is time for nothing with every request.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from starlette.middleware import Middleware

__all__ = ["IMPORT_PATH", "WATCHED_HEADER", "middlewares", "this_process_watches"]

IMPORT_PATH = "deployments.disconnects:middlewares"
"""For ``RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH``."""
WATCHED_HEADER = "x-request-disconnect-disabled"
"""Ray Serve's header for requests whose client it need not watch."""
_RAW = (WATCHED_HEADER.encode(), b"?1")
# Serve asks before it knows the replica's class, but after the class has been made: so that tells us.
_watching = False


class _Watched:
    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            scope["headers"] = [*scope["headers"], _RAW]
        await self._app(scope, receive, send)


def this_process_watches() -> None:
    """Say that whatever answers requests in this process cancels its work when a client leaves."""
    global _watching  # noqa: PLW0603
    _watching = True


def middlewares() -> list[Middleware]:
    """What Serve puts around a process's HTTP server."""
    return [Middleware(_Watched)] if _watching else []
