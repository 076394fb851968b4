"""One keep-alive HTTP/1.1 connection, cheap enough that a load generator leaves the processor to what it measures."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass, field

__all__ = ["CONTENT", "Answer", "Connection"]

# The first event of a chat stream carries a role and an empty content, which no reader can see.
CONTENT = re.compile(rb'"(?:content|text)"\s*:\s*"[^"]')
_HEAD_END = b"\r\n\r\n"
_LAST_CHUNK = b"0\r\n\r\n"


@dataclass(slots=True)
class Answer:
    """One HTTP answer, with times on ``time.perf_counter``'s clock.

    Attributes:
        started_s: when the request was sent.
        status: HTTP status.
        headers: by lower-case name.
        first_content_s: when the first byte of generated text was there; None if none came.
        ended_s: when the answer was complete.
        raw_body: the body as it came, with the frames of a chunked transfer.
    """

    started_s: float
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    first_content_s: float | None = None
    ended_s: float = 0.0
    raw_body: bytearray = field(default_factory=bytearray)

    @property
    def chunked(self) -> bool:
        """Whether the body came in frames."""
        return self.headers.get("transfer-encoding", "").lower() == "chunked"

    @property
    def body(self) -> bytes:
        """The body without frames."""
        if not self.chunked:
            return bytes(self.raw_body)
        parts: list[bytearray] = []
        position = 0
        while True:
            line_end = self.raw_body.index(b"\r\n", position)
            size = int(self.raw_body[position:line_end].partition(b";")[0], 16)
            if size == 0:
                return b"".join(parts)
            parts.append(self.raw_body[line_end + 2 : line_end + 2 + size])
            position = line_end + 2 + size + 2


class Connection(asyncio.Protocol):
    """A connection that sends one prepared request at a time and keeps it open between them.

    Args:
        host: address of the server.
        port: its port.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._transport: asyncio.Transport | None = None
        self._answer: Answer | None = None
        self._done: asyncio.Future[Answer] | None = None
        self._head = bytearray()
        self._body_length: int | None = None

    async def ask(self, request: bytes) -> Answer:
        """Send a whole request and wait for the whole answer; connects first where needed.

        Args:
            request: head and body as they go over the wire.

        Raises:
            OSError: no connection, or it ended before the answer did.
        """
        loop = asyncio.get_running_loop()
        if self._transport is None or self._transport.is_closing():
            await loop.create_connection(lambda: self, self._host, self._port)
        if self._transport is None:
            raise ConnectionResetError("The server closed the connection at once.")
        self._head.clear()
        self._answer = Answer(time.perf_counter())
        self._done = loop.create_future()
        self._transport.write(request)
        try:
            return await self._done
        except asyncio.CancelledError:
            self.close()
            raise
        finally:
            self._answer = self._done = None

    def close(self) -> None:
        """Close the connection; the next request opens a new one."""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport that asyncio made."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """End the answer that was under way: done if its end was to be the connection's, failed otherwise."""
        self._transport = None
        answer, done = self._answer, self._done
        if answer is None or done is None or done.done():
            return
        if answer.status and self._body_length is None and not answer.chunked:
            self._finish(answer, done)
        else:
            done.set_exception(exc or ConnectionResetError("The connection ended before the answer did."))

    def data_received(self, data: bytes) -> None:
        """Take what came, and note when the first content and the end were there."""
        answer, done = self._answer, self._done
        if answer is None or done is None or done.done():
            return
        if not answer.status:
            self._head += data
            if not self._read_head(answer):
                return
        else:
            answer.raw_body += data
        if answer.first_content_s is None and CONTENT.search(answer.raw_body):
            answer.first_content_s = time.perf_counter()
        if self._complete(answer):
            self._finish(answer, done)

    def _read_head(self, answer: Answer) -> bool:
        end = self._head.find(_HEAD_END)
        if end < 0:
            return False
        first, *lines = self._head[:end].decode("latin-1").split("\r\n")
        answer.status = int(first.split(" ", 2)[1])
        pairs = (line.partition(":") for line in lines)
        answer.headers = {name.lower(): value.strip() for name, _, value in pairs}
        answer.raw_body += self._head[end + len(_HEAD_END) :]
        length = answer.headers.get("content-length")
        self._body_length = None if length is None else int(length)
        return True

    def _complete(self, answer: Answer) -> bool:
        if self._body_length is not None:
            return len(answer.raw_body) >= self._body_length
        # JSON and server-sent events hold no carriage return, so this cannot be part of the content.
        return answer.chunked and (answer.raw_body == _LAST_CHUNK or answer.raw_body.endswith(b"\r\n" + _LAST_CHUNK))

    def _finish(self, answer: Answer, done: asyncio.Future[Answer]) -> None:
        answer.ended_s = time.perf_counter()
        done.set_result(answer)
        if answer.headers.get("connection", "").lower() == "close":
            self.close()
