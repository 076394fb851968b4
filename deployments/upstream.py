"""The HTTP client side: one relay of one request to one expert, bytes in and bytes out."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import aiohttp

from .asgi import Response
from .internal_token import TOKEN_HEADER
from .openai import ApiError, error_event, error_from_upstream, rename_model

__all__ = ["ExpertTarget", "Upstream", "UpstreamRequest"]

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
    TOKEN_HEADER,
}
_NOT_RELAYED = _HOP_BY_HOP | {"content-length", "date", "server", "x-request-id"}
_RETRIES_BEFORE_FIRST_BYTE = 1


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


class Upstream:
    """A pool of connections to all experts.

    Args:
        connect_timeout_s: how long a connection may take to come about.
    """

    def __init__(self, *, connect_timeout_s: float) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30, enable_cleanup_closed=True),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout_s),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            raise_for_status=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def ready(self, target: ExpertTarget, *, timeout_s: float) -> bool:
        """Whether the expert says that it can answer."""
        try:
            async with asyncio.timeout(timeout_s):
                async with self._session.get(target.health_url, headers=target.headers) as answer:
                    return answer.status == 200
        except (TimeoutError, aiohttp.ClientError, OSError):
            return False

    async def relay(
        self,
        target: ExpertTarget,
        request: UpstreamRequest,
        response: Response,
        headers: Mapping[str, str],
        *,
        deadline_s: float,
    ) -> int:
        """Send a request to an expert and its answer to the client.

        Cancelling this coroutine closes the connection, which makes the engine abort its work.

        Args:
            target: the expert.
            request: what to send; its ``model`` is already the expert's own.
            response: the client's side.
            headers: response headers to add.
            deadline_s: time on the event loop's clock by which the answer must have ended.

        Returns:
            The HTTP status that the client got.

        Raises:
            ApiError: nothing was sent to the client yet, and this is what it should be told.
        """
        try:
            async with asyncio.timeout_at(deadline_s), self._answer(target, request) as answer:
                return await self._relay_answer(target, answer, response, headers)
        except TimeoutError:
            failure = ApiError(408, f"The expert {target.expert!r} did not finish before the deadline.", code="timeout")
        except (aiohttp.ClientError, OSError):
            failure = ApiError(
                503,
                f"The connection to the expert {target.expert!r} failed.",
                code="expert_unavailable",
                retry_after_s=1,
            )
        if not response.started:
            raise failure
        await response.write(error_event(failure), more=False)
        return failure.status

    @contextlib.asynccontextmanager
    async def _answer(self, target: ExpertTarget, request: UpstreamRequest) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send the request; once more if a pooled connection turned out to be closed by the other side."""
        headers = {k: v for k, v in request.headers.items() if k not in _NOT_FORWARDED}
        headers |= target.headers
        url = target.base_url + request.path
        for attempt in range(_RETRIES_BEFORE_FIRST_BYTE + 1):
            try:
                answer = await self._session.request(
                    request.method, url, data=request.body or None, headers=headers, allow_redirects=False
                )
                break
            except aiohttp.ServerDisconnectedError:
                if attempt == _RETRIES_BEFORE_FIRST_BYTE:
                    raise
        async with answer:
            yield answer

    async def _relay_answer(
        self,
        target: ExpertTarget,
        answer: aiohttp.ClientResponse,
        response: Response,
        headers: Mapping[str, str],
    ) -> int:
        content_type = answer.headers.get("content-type", "")
        if answer.status >= 400:
            body = await answer.read()
            error = error_from_upstream(answer.status, content_type, body, target.expert)
            if error is not None:
                raise error
            await response.whole(answer.status, _response_headers(answer, headers), body)
        elif content_type.startswith("text/event-stream"):
            await response.start(answer.status, _response_headers(answer, headers))
            await self._relay_stream(target, answer, response)
        else:
            body = await answer.read()
            if target.renamed:
                body = rename_model(body, target.expert)
            await response.whole(answer.status, _response_headers(answer, headers), body)
        return answer.status

    @staticmethod
    async def _relay_stream(target: ExpertTarget, answer: aiohttp.ClientResponse, response: Response) -> None:
        if target.renamed:
            async for line in answer.content:
                await response.write(rename_model(line, target.expert) if line.startswith(b"data: {") else line)
        else:
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
        await response.write(b"", more=False)


def _response_headers(answer: aiohttp.ClientResponse, extra: Mapping[str, str]) -> list[tuple[str, str]]:
    kept = [(name.lower(), value) for name, value in answer.headers.items() if name.lower() not in _NOT_RELAYED]
    return [*kept, *extra.items()]
