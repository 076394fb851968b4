"""The HTTP client side: one relay of one request to one expert, bytes in and bytes out."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from .asgi import Response
from .disconnects import WATCHED_HEADER
from .http_connection import Answer
from .http_pool import ConnectionPool
from .internal_token import TOKEN_HEADER
from .openai import NoAnswerError, error_event, error_from_upstream, rename_model

__all__ = ["ExpertTarget", "Upstream", "UpstreamAnswer", "UpstreamRequest"]

Change = Callable[[bytes], bytes]

_HOP_BY_HOP = frozenset(
    [
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ]
)
_NOT_FORWARDED = _HOP_BY_HOP | {
    "host",
    "content-length",
    "authorization",
    "accept-encoding",
    "x-request-timeout-seconds",
    WATCHED_HEADER,
    TOKEN_HEADER,
}
_NOT_RELAYED = _HOP_BY_HOP | {"content-length", "date", "server", "x-request-id"}
_ERROR_EVENT = b'data: {"error"'


@dataclass(frozen=True, slots=True)
class ExpertTarget:
    """Where an expert answers.

    Attributes:
        expert: its id.
        base_url: its URL, ending in ``/v1``.
        upstream_model: what it calls itself, where that differs from the id.
        headers: credentials sent with every request.
        internal: it is a Serve application of this cluster.
        probe: ``/health`` asks it whether it is ready.
    """

    expert: str
    base_url: str
    upstream_model: str
    headers: Mapping[str, str]
    internal: bool = True
    probe: bool = True

    @property
    def renamed(self) -> bool:
        """Whether answers carry another model name than the expert's id."""
        return self.upstream_model != self.expert

    @property
    def health_url(self) -> str:
        """What to ask whether it is ready."""
        return self.base_url.removesuffix("/v1") + "/health" if self.internal else self.base_url + "/models"


@dataclass(frozen=True, slots=True)
class UpstreamRequest:
    """A request on its way to an expert. ``path`` starts behind ``/v1``."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class UpstreamAnswer:
    """An expert's answer, read whole before anything of it is sent on."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    streamed: bool


class Upstream:
    """A pool of connections to all experts.

    Args:
        connect_timeout_s: how long a connection may take to come about.
    """

    def __init__(self, *, connect_timeout_s: float) -> None:
        self._connections = ConnectionPool(connect_timeout_s=connect_timeout_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._connections.close()

    async def ready(self, target: ExpertTarget, *, timeout_s: float) -> bool:
        """Whether the expert says that it can answer."""
        try:
            async with asyncio.timeout(timeout_s):
                answer = await self._connections.send("GET", target.health_url, "", target.headers, b"")
                with contextlib.closing(answer):
                    await answer.read()
                return answer.status == 200
        except OSError:
            return False

    async def relay(
        self,
        target: ExpertTarget,
        request: UpstreamRequest,
        response: Response,
        headers: Callable[[], Mapping[str, str]],
        *,
        deadline_s: float,
        silent_until_s: float | None = None,
        change: Change | None = None,
    ) -> int:
        """Send a request to an expert and its answer to the client.

        Cancelling this coroutine closes the connection, which makes the engine abort its work.

        Args:
            target: the expert.
            request: what to send; its ``model`` is already the expert's own.
            response: the client's side.
            headers: makes the response headers to add, once the answer begins.
            deadline_s: time on the event loop's clock by which the answer must have ended.
            silent_until_s: time on the same clock by which it must have begun; not before the deadline if None.
            change: what to make of a body, or of each line of a stream, on its way to the client.

        Returns:
            The HTTP status that the client got.

        Raises:
            NoAnswerError: the expert gave no answer, and nothing was sent to the client.
            ApiError: likewise, but no other expert would do better.
        """
        begin_s = deadline_s if silent_until_s is None else min(silent_until_s, deadline_s)
        try:
            with _failures(target):
                async with asyncio.timeout_at(begin_s) as limit, self._answer(target, request) as answer:
                    relayed = _Relayed(target, answer, response, headers, change)
                    await relayed.begin()
                    limit.reschedule(deadline_s)
                    await relayed.finish()
                    return answer.status
        except NoAnswerError as failure:
            if not response.started:
                raise
            await response.write(error_event(failure), more=False)
            return failure.status

    async def fetch(self, target: ExpertTarget, request: UpstreamRequest, *, until_s: float) -> UpstreamAnswer:
        """Read an expert's answer whole.

        Args:
            target: the expert.
            request: what to send.
            until_s: time on the event loop's clock by which the answer must have ended.

        Raises:
            NoAnswerError: the expert gave no answer.
            ApiError: likewise, but no other expert would do better.
        """
        with _failures(target):
            async with asyncio.timeout_at(until_s), self._answer(target, request) as answer:
                body = await answer.read()
        _raise_for_error(target, answer, body)
        streamed = _is_stream(answer)
        if streamed and body.startswith(_ERROR_EVENT):
            raise _stream_error(target)
        if target.renamed:
            lines = body.splitlines(keepends=True) if streamed else [body]
            body = b"".join(rename_model(line, target.expert) for line in lines)
        return UpstreamAnswer(answer.status, tuple(_response_headers(answer)), body, streamed)

    @contextlib.asynccontextmanager
    async def _answer(self, target: ExpertTarget, request: UpstreamRequest) -> AsyncIterator[Answer]:
        headers = {name: value for name, value in request.headers.items() if name not in _NOT_FORWARDED}
        headers |= target.headers
        sent = self._connections.send(request.method, target.base_url, request.path, headers, request.body)
        with contextlib.closing(await sent) as answer:
            yield answer


class _Relayed:
    """One answer on its way to the client; a stream begins with its first bytes, and not with its headers."""

    def __init__(
        self,
        target: ExpertTarget,
        answer: Answer,
        response: Response,
        headers: Callable[[], Mapping[str, str]],
        change: Change | None,
    ) -> None:
        self._target = target
        self._answer = answer
        self._response = response
        self._headers = headers
        self._change = _changes(target, change)
        self._chunks = aiter(answer.chunks() if self._change is None else answer.lines())
        self._streams = answer.status < 400 and _is_stream(answer)

    async def begin(self) -> None:
        """Send status, headers and the first bytes."""
        if not self._streams:
            body = await self._answer.read()
            _raise_for_error(self._target, self._answer, body)
            if self._change is not None:
                body = self._change(body)
            await self._response.whole(self._answer.status, self._all_headers(), body)
            return
        first = await anext(self._chunks, b"")
        if first.startswith(_ERROR_EVENT):
            raise _stream_error(self._target)
        await self._response.start(self._answer.status, self._all_headers())
        await self._response.write(self._changed(first))

    async def finish(self) -> None:
        """Send the rest of a stream."""
        if not self._streams:
            return
        async for chunk in self._chunks:
            await self._response.write(self._changed(chunk))
        await self._response.write(b"", more=False)

    def _changed(self, chunk: bytes) -> bytes:
        return chunk if self._change is None else self._change(chunk)

    def _all_headers(self) -> list[tuple[str, str]]:
        return [*_response_headers(self._answer), *self._headers().items()]


def _changes(target: ExpertTarget, change: Change | None) -> Change | None:
    """What to make of the expert's bytes; renaming comes first."""
    if not target.renamed:
        return change

    def renamed(part: bytes) -> bytes:
        part = rename_model(part, target.expert)
        return part if change is None else change(part)

    return renamed


@contextlib.contextmanager
def _failures(target: ExpertTarget) -> Iterator[None]:
    """Turn what a connection can raise into an NoAnswerError."""
    broken: Exception | None = None
    try:
        yield
        return
    except TimeoutError:
        pass
    except OSError as error:
        broken = error
    if broken is None:
        message = f"The expert {target.expert!r} did not answer before the deadline."
        raise NoAnswerError("late", 408, message, code="timeout")
    message = f"The connection to the expert {target.expert!r} failed."
    raise NoAnswerError("failed", 503, message, retry_after_s=1) from broken


def _raise_for_error(target: ExpertTarget, answer: Answer, body: bytes) -> None:
    if answer.status >= 400:
        kind, retry_after = answer.header("content-type") or "", answer.header("retry-after")
        raise error_from_upstream(answer.status, kind, body, target.expert, retry_after)


def _stream_error(target: ExpertTarget) -> NoAnswerError:
    return NoAnswerError("failed", 503, f"The expert {target.expert!r} failed.", retry_after_s=1)


def _is_stream(answer: Answer) -> bool:
    return (answer.header("content-type") or "").startswith("text/event-stream")


def _response_headers(answer: Answer) -> list[tuple[str, str]]:
    return [(name, value) for name, value in answer.headers if name not in _NOT_RELAYED]
