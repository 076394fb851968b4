"""Both sides of the Router in one process: a client that keeps what it is sent, and experts on real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from deployments.asgi import Response

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Client:
    """The side that Pointsman answers to."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.received_body = asyncio.Event()
        self.response = Response(self._send)

    async def _send(self, message: Any) -> None:
        self.messages.append(message)
        if message["type"] == "http.response.body":
            self.received_body.set()

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"])

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.messages[0]["headers"])

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.messages[1:])
