"""Keep-alive connections to all experts."""

from __future__ import annotations

import asyncio
import functools
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

from .http_connection import Answer, Connection, ConnectionEndedError

__all__ = ["ConnectionPool"]

_KEPT_IDLE_S = 30.0
_SAFE_IN_A_PATH = "/:@!$&'()*+,;=~?%"
_WITHOUT_CONTENT = frozenset(["GET", "HEAD", "DELETE", "OPTIONS"])


@dataclass(slots=True)
class _Origin:
    """A server, with the free connections to it and the times on the monotonic clock since when they are."""

    host: str
    port: int
    tls: bool
    authority: str
    prefix: str
    free: dict[Connection, float] = field(default_factory=dict)

    def release(self, connection: Connection) -> None:
        self.free[connection] = time.monotonic()

    def forget(self, connection: Connection) -> None:
        self.free.pop(connection, None)

    def take(self) -> Connection | None:
        """The connection that was used last, since the others may have been idle for too long."""
        while self.free:
            connection, since_s = self.free.popitem()
            if connection.usable and time.monotonic() - since_s < _KEPT_IDLE_S:
                return connection
            connection.abort()
        return None


class ConnectionPool:
    """Connections that are opened when they are needed, as many as there are requests at a time.

    Args:
        connect_timeout_s: how long a connection may take to come about, TLS included.
    """

    def __init__(self, *, connect_timeout_s: float) -> None:
        self._connect_timeout_s = connect_timeout_s
        self._origins: dict[str, _Origin] = {}

    async def send(self, method: str, base_url: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send a request and wait for the head of its answer, which the caller has to close.

        A connection that ends before anything was answered, as an idle one may, is replaced by a new one, once.

        Args:
            method: HTTP method.
            base_url: scheme, host, port and the path's beginning.
            path: the rest of the path, with the query; what has no place in a path is quoted.
            headers: in addition to `host` and `content-length`.
            body: may be empty.

        Raises:
            OSError: no connection, or it ended before there was an answer.
            ValueError: a header contains the end of a line.
        """
        origin = self._origins.get(base_url)
        if origin is None:
            origin = self._origins[base_url] = _origin(base_url)
        request = _encoded(method, origin.prefix + path, origin.authority, headers, body)
        connection = origin.take() or await self._connect(origin)
        try:
            return await connection.ask(request, without_body=method == "HEAD")
        except ConnectionEndedError as error:
            if not error.untouched:
                raise
        connection = await self._connect(origin)
        return await connection.ask(request, without_body=method == "HEAD")

    async def close(self) -> None:
        """Close the free connections; others end with their answers."""
        for origin in self._origins.values():
            for connection in list(origin.free):
                connection.abort()
        await asyncio.sleep(0)

    async def _connect(self, origin: _Origin) -> Connection:
        connecting = asyncio.get_running_loop().create_connection(
            lambda: Connection(origin.release, origin.forget),
            origin.host,
            origin.port,
            ssl=_tls() if origin.tls else None,
        )
        try:
            _, connection = await asyncio.wait_for(connecting, self._connect_timeout_s)
        except TimeoutError as error:
            raise ConnectionError(
                f"No connection to {origin.authority} within {self._connect_timeout_s:g} s."
            ) from error
        return connection


@functools.cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _origin(base_url: str) -> _Origin:
    parts = urlsplit(base_url)
    tls = parts.scheme == "https"
    authority = parts.netloc.rpartition("@")[2]
    return _Origin(parts.hostname or "", parts.port or (443 if tls else 80), tls, authority, parts.path)


def _encoded(method: str, path: str, authority: str, headers: Mapping[str, str], body: bytes) -> bytes:
    lines = [f"{method} {quote(path, safe=_SAFE_IN_A_PATH)} HTTP/1.1\r\nhost: {authority}\r\n"]
    lines += [f"{name}: {value}\r\n" for name, value in headers.items()]
    if body or method not in _WITHOUT_CONTENT:
        lines.append(f"content-length: {len(body)}\r\n")
    head = "".join(lines)
    if head.count("\n") != len(lines) + 1:
        raise ValueError("A header contains the end of a line: see the credentials of the experts.")
    return head.encode("latin-1") + b"\r\n" + body
