"""The little of ASGI that the Router needs, without a framework between it and the socket."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

import orjson

from .openai import ApiError

__all__ = [
    "ASGIApp",
    "Application",
    "ClientGone",
    "Receive",
    "Request",
    "Response",
    "Scope",
    "Send",
    "read_request",
    "run_while_connected",
]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]


class ClientGone(Exception):  # noqa: N818 (an event, not an error)
    """The client closed its connection before it had sent its whole request."""


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, read whole. Header names are lower case."""

    method: str
    path: str
    query: bytes
    headers: Mapping[str, str]
    body: bytes

    def query_value(self, name: str) -> str | None:
        """The first value of a query parameter, or None."""
        values = parse_qs(self.query.decode("latin-1")).get(name)
        return values[0] if values else None


async def read_request(scope: Scope, receive: Receive, *, max_body_bytes: int) -> Request:
    """Read a request whole.

    Raises:
        ApiError: 413 if the body is larger than ``max_body_bytes``.
        ClientGone: the client left before the body had arrived.
    """
    headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
    declared = headers.get("content-length", "")
    if declared.isdigit() and int(declared) > max_body_bytes:
        raise _too_large(max_body_bytes)
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > max_body_bytes:
            raise _too_large(max_body_bytes)
        chunks.append(chunk)
        if not message.get("more_body"):
            break
    path = scope["path"].removeprefix(scope.get("root_path", "")) or "/"
    return Request(scope["method"], path, scope.get("query_string", b""), headers, b"".join(chunks))


def _too_large(max_body_bytes: int) -> ApiError:
    return ApiError(
        413,
        f"The request body is larger than {max_body_bytes} bytes: send less, or raise limits.max_body_bytes.",
        code="request_too_large",
    )


class Response:
    """The sending side of one request; remembers whether anything was sent."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False

    async def start(self, status: int, headers: Iterable[tuple[str, str]]) -> None:
        """Send status and headers."""
        self.started = True
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    async def write(self, chunk: bytes, *, more: bool = True) -> None:
        """Send a part of the body."""
        await self._send({"type": "http.response.body", "body": chunk, "more_body": more})

    async def whole(self, status: int, headers: Iterable[tuple[str, str]], body: bytes) -> None:
        """Send a complete response."""
        await self.start(status, [*headers, ("content-length", str(len(body)))])
        await self.write(body, more=False)

    async def json(self, value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        """Send a JSON response."""
        fields = [("content-type", "application/json"), *(headers or {}).items()]
        await self.whole(status, fields, orjson.dumps(value))

    async def error(self, error: ApiError, headers: Mapping[str, str] | None = None) -> None:
        """Send an OpenAI-shaped error."""
        await self.json(error.body, status=error.status, headers={**error.headers, **(headers or {})})


async def run_while_connected(work: Coroutine[Any, Any, None], receive: Receive) -> None:
    """Run ``work`` to its end, or cancel it as soon as the client disconnects.

    A server tells of a disconnect only to an application that asks, so somebody has to listen while the answer is
    under way. Call it after the body has been read.
    """
    task = asyncio.current_task()
    assert task is not None  # noqa: S101
    gone = False

    async def watch() -> None:
        nonlocal gone
        while (await receive())["type"] != "http.disconnect":
            pass
        gone = True
        task.cancel()

    watcher = asyncio.ensure_future(watch())
    try:
        await work
    except asyncio.CancelledError:
        if not gone or task.cancelling() > 1:
            raise
    finally:
        watcher.cancel()
        if gone:
            task.uncancel()


class Application:
    """An ASGI application around one function that answers a request.

    It reads requests whole, cancels the answer when the client leaves, and turns an ApiError into its response.

    Args:
        answer: answers one request, or raises ApiError before it has sent anything.
        max_body_bytes: the largest request body.
        max_open_requests: requests that are worked on at a time; more are told to come back later.
    """

    def __init__(
        self,
        answer: Callable[[Request, Response], Coroutine[Any, Any, None]],
        *,
        max_body_bytes: int,
        max_open_requests: int,
    ) -> None:
        self._answer = answer
        self._max_body_bytes = max_body_bytes
        self._max_open_requests = max_open_requests
        self._open_requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection scope: the lifespan or a request."""
        if scope["type"] == "lifespan":
            await _serve_lifespan(receive, send)
        elif scope["type"] == "http":
            await self._serve_http(scope, receive, send)

    async def _serve_http(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = Response(send)
        self._open_requests += 1
        try:
            if self._open_requests > self._max_open_requests:
                raise ApiError(
                    429,
                    "This replica has too many open requests: try again shortly.",
                    code="overloaded",
                    retry_after_s=1,
                )
            request = await read_request(scope, receive, max_body_bytes=self._max_body_bytes)
            await run_while_connected(self._answer(request, response), receive)
        except ApiError as error:
            await response.error(error)
        except ClientGone:
            return
        finally:
            self._open_requests -= 1


async def _serve_lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return
