"""One keep-alive HTTP/1.1 connection to an expert, and the answer that is under way on it.

A general HTTP client spends most of the time that the Router takes for a request; this one leaves parsing to httptools
and does what a relay needs: one request at a time, bytes out, bytes in, and a hand on the brake.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import cast

import httptools

__all__ = ["Answer", "Connection", "ConnectionEndedError"]

_MOST_BUFFERED_BYTES = 1024 * 1024
_LONGEST_LINE_BYTES = 4 * 1024 * 1024


class ConnectionEndedError(ConnectionError):
    """The connection ended, or said what is not HTTP, before the answer was complete.

    Attributes:
        untouched: no byte of an answer had come.
    """

    def __init__(self, message: str, *, untouched: bool = False) -> None:
        super().__init__(message)
        self.untouched = untouched


class Answer:
    """An HTTP answer whose body is still coming.

    Args:
        connection: what it comes on.
        without_body: none will follow, as after HEAD.

    Attributes:
        status: HTTP status.
        headers: in their order, names in lower case.
    """

    __slots__ = ("_chunks", "_connection", "_n_bytes", "complete", "headers", "keep_alive", "status", "without_body")

    def __init__(self, connection: Connection, *, without_body: bool) -> None:
        self._connection = connection
        self._chunks: list[bytes] = []
        self._n_bytes = 0
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        self.complete = False
        self.keep_alive = False
        self.without_body = without_body

    def header(self, name: str) -> str | None:
        """The first header of this name, in lower case; None without one."""
        return next((value for found, value in self.headers if found == name), None)

    async def read(self) -> bytes:
        """The rest of the body, once all of it is there.

        Raises:
            ConnectionEndedError: the connection ended before.
        """
        while not self.complete:
            self._connection.resume()
            await self._connection.wait(until_complete=True)
        return self._take()

    async def chunk(self) -> bytes:
        """What has come of the body since the last look, waiting for some; empty at its end.

        Raises:
            ConnectionEndedError: the connection ended before.
        """
        while not self._chunks and not self.complete:
            self._connection.resume()
            await self._connection.wait()
        return self._take()

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes."""
        while part := await self.chunk():
            yield part

    async def lines(self) -> AsyncIterator[bytes]:
        """The body line by line, ends included.

        Raises:
            ConnectionEndedError: the connection ended before, or a line has no end.
        """
        rest = b""
        while part := await self.chunk():
            *whole, rest = (rest + part).split(b"\n")
            for line in whole:
                yield line + b"\n"
            if len(rest) > _LONGEST_LINE_BYTES:
                raise ConnectionEndedError(f"A line of the answer is longer than {_LONGEST_LINE_BYTES} bytes.")
        if rest:
            yield rest

    def close(self) -> None:
        """Give the connection back, or end it if the answer has not been read to its end."""
        self._connection.done(self)

    def add(self, body: bytes) -> int:
        """Take a part of the body; says how many bytes wait to be read."""
        self._chunks.append(body)
        self._n_bytes += len(body)
        return self._n_bytes

    def _take(self) -> bytes:
        chunks = self._chunks
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self._n_bytes = 0
        return body


class Connection(asyncio.Protocol):
    """A connection that sends one request at a time and stays open between them.

    Args:
        idle: called when it is free for another request.
        lost: called when it has ended.
    """

    def __init__(self, idle: Callable[[Connection], None], lost: Callable[[Connection], None]) -> None:
        self._idle = idle
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._answer: Answer | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._until_complete = False
        self._error: Exception | None = None
        self._paused = False
        self._framed = False
        self._headers_complete = False
        self._touched = False

    @property
    def usable(self) -> bool:
        """Whether another request can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    async def ask(self, request: bytes, *, without_body: bool = False) -> Answer:
        """Send a whole request, and wait for the head of its answer. Close the answer in any case.

        Args:
            request: head and body as they go over the wire.
            without_body: the answer has none whatever its head says, as after HEAD.

        Raises:
            ConnectionEndedError: there is no answer.
        """
        answer = self._answer = Answer(self, without_body=without_body)
        self._headers_complete = self._framed = self._touched = False
        if self._transport is None:
            self._error = ConnectionEndedError("The connection ended.", untouched=True)
        else:
            self._transport.write(request)
        try:
            while not self._headers_complete:
                await self.wait()
        except BaseException:
            self.done(answer)
            raise
        return answer

    async def wait(self, *, until_complete: bool = False) -> None:
        """Wait for something new, or for the answer's end.

        Raises:
            ConnectionEndedError: the connection ended.
        """
        if self._error is not None:
            raise self._error
        self._until_complete = until_complete
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
        # What came before the end is still to be read.
        if self._error is not None and (self._answer is None or not self._headers_complete or until_complete):
            raise self._error

    def resume(self) -> None:
        """Go on reading after a pause."""
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()

    def done(self, answer: Answer) -> None:
        """Let go of an answer."""
        if answer is not self._answer:
            return
        self._answer = None
        if answer.complete and answer.keep_alive and self.usable:
            self.resume()
            self._idle(self)
        else:
            self.abort()

    def abort(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport that asyncio made."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        if self._answer is None:
            self.abort()  # nothing was asked
            return
        self._touched = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(ConnectionEndedError(f"The answer is not HTTP: {error}"))
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the answer: whole where its end was to be the connection's, broken off otherwise."""
        self._transport = None
        self._lost(self)
        answer = self._answer
        if answer is None or answer.complete:
            return
        if exc is None and self._headers_complete and not self._framed:
            answer.complete = True
            self._wake()
        else:
            self._fail(ConnectionEndedError("The connection ended before the answer.", untouched=not self._touched))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header of the answer."""
        if self._answer is None or self._headers_complete:  # a trailer
            return
        key = name.decode("latin-1").lower()
        self._framed = self._framed or key in ("content-length", "transfer-encoding")
        self._answer.headers.append((key, value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        """Take the status; what only announces an answer is passed over."""
        answer, status = self._answer, self._parser.get_status_code()
        if answer is None:
            return
        if status < 200:
            answer.headers.clear()
            return
        answer.status = status
        self._headers_complete = True
        if answer.without_body:
            answer.complete = True  # the parser waits for a body, so the connection is of no further use
        self._wake()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        answer = self._answer
        if answer is None or answer.without_body:
            return
        waiting = answer.add(body)
        if not self._until_complete:
            self._wake()
            if waiting > _MOST_BUFFERED_BYTES and not self._paused and self._transport is not None:
                self._paused = True
                self._transport.pause_reading()

    def on_message_complete(self) -> None:
        """Note the answer's end."""
        answer = self._answer
        if answer is None or not self._headers_complete:
            return
        answer.complete = True
        answer.keep_alive = not answer.without_body and self._parser.should_keep_alive()
        self._wake()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            if self._until_complete and self._answer is not None and not self._answer.complete:
                return
            waiter.set_result(None)

    def _fail(self, error: Exception) -> None:
        self._error = error
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
