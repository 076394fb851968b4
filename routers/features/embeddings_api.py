"""The client of an embeddings endpoint of OpenAI's form: pooled connections, one deadline, nothing on the event loop.

This module alone of `routers` speaks HTTP, since these features are computed elsewhere; httpx is imported when an
endpoint is first used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import orjson

from routers.errors import FeatureError, ParameterError
from routers.features.rows import FloatArray

if TYPE_CHECKING:
    import httpx

__all__ = ["EmbeddingsClient"]

_FIRST_PAUSE_S = 0.1
_BATCHES_AT_ONCE = 8
_MOST_CONNECTIONS = 256
_PASSING = {408, 409, 425, 429}
_OFF_LOOP_BYTES = 256 * 1024
_MOST_SAID = 200
_TOO_LARGE = 1e15


class EmbeddingsClient:
    """Asks `POST {url}/embeddings`.

    Args:
        url: base URL of the endpoint.
        model: name of the model there.
        api_key: sent as a bearer token; None: none is.
        dimensions: length to ask for; None: the model's own.
        timeout_s: most seconds for a batch, with all that is tried again.
        max_retries: how often a batch is tried again after a connection error, 408, 409, 425, 429 or 5xx.
        batch_size: most texts in a request.

    Raises:
        ParameterError: httpx is missing.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        api_key: str | None,
        dimensions: int | None,
        timeout_s: float,
        max_retries: int,
        batch_size: int,
    ) -> None:
        try:
            import httpx
        except ImportError:
            raise ParameterError(
                "Embeddings endpoints need the package httpx: install it with pip install 'pointsman[encoders]'."
            ) from None
        self._url = f"{url.rstrip('/')}/embeddings"
        self._fields: dict[str, Any] = {"model": model, "encoding_format": "float"}
        if dimensions is not None:
            self._fields["dimensions"] = dimensions
        self._headers = {"content-type": "application/json"}
        if api_key is not None:
            self._headers["authorization"] = f"Bearer {api_key}"
        self._timeout_s = timeout_s
        self._max_retries = max_retries
        self._batch_size = batch_size
        # Reading the certificates takes tens of milliseconds, which must not happen on an event loop.
        self._certificates = httpx.create_ssl_context()
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient] = WeakKeyDictionary()

    async def embed(self, texts: Sequence[str]) -> FloatArray:
        """Embeddings of texts, (n_texts, n_dimensions) float32, over the connections kept for this event loop.

        Raises:
            FeatureError: the endpoint does not answer in time, refuses, or answers with something else.
        """
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            self._clients[loop] = self._connect()
        return await self._embed(self._clients[loop], texts)

    def embed_now(self, texts: Sequence[str]) -> FloatArray:
        """The same for callers that wait, whether or not an event loop runs in their thread."""

        async def embed() -> FloatArray:
            async with self._connect() as client:
                return await self._embed(client, texts)

        with ThreadPoolExecutor(1) as executor:
            return executor.submit(asyncio.run, embed()).result()

    def _connect(self) -> httpx.AsyncClient:
        import httpx

        limits = httpx.Limits(max_connections=_MOST_CONNECTIONS, max_keepalive_connections=_MOST_CONNECTIONS)
        return httpx.AsyncClient(headers=self._headers, verify=self._certificates, timeout=None, limits=limits)  # noqa: S113

    async def _embed(self, client: httpx.AsyncClient, texts: Sequence[str]) -> FloatArray:
        turns = asyncio.Semaphore(_BATCHES_AT_ONCE)

        async def batch(start: int) -> FloatArray:
            async with turns:
                return await self._batch(client, texts[start : start + self._batch_size])

        tasks = [asyncio.ensure_future(batch(start)) for start in range(0, len(texts), self._batch_size)]
        try:
            parts = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        if len({part.shape[1] for part in parts}) > 1:
            raise FeatureError(f"The embeddings endpoint {self._url} gave embeddings of different lengths: mend it.")
        return np.concatenate(parts)

    async def _batch(self, client: httpx.AsyncClient, texts: Sequence[str]) -> FloatArray:
        body = orjson.dumps({**self._fields, "input": list(texts)})
        problems: list[str] = []
        try:
            async with asyncio.timeout(self._timeout_s):
                content = await self._answer(client, body, problems)
        except TimeoutError:
            last = f" (before that, it {problems[-1]})" if problems else ""
            raise FeatureError(
                f"The embeddings endpoint {self._url} did not answer within {self._timeout_s:g} s{last}: see whether "
                "it is up, or give it more timeout_s."
            ) from None
        if len(content) > _OFF_LOOP_BYTES:
            return await asyncio.to_thread(self._read, content, len(texts))
        return self._read(content, len(texts))

    async def _answer(self, client: httpx.AsyncClient, body: bytes, problems: list[str]) -> bytes:
        """The body of the first good answer; notes in `problems` why others were not."""
        import httpx

        for attempt in range(self._max_retries + 1):
            pause_s = _FIRST_PAUSE_S * 2**attempt
            try:
                response = await client.post(self._url, content=body)
            except httpx.HTTPError as error:
                problems.append(f"could not be reached: {error or type(error).__name__}")
            else:
                if response.is_success:
                    return response.content
                problems.append(f"answered {response.status_code}: {_said(response.content)}")
                if response.status_code < 500 and response.status_code not in _PASSING:
                    break
                pause_s = max(pause_s, _wanted_pause_s(response.headers.get("retry-after")))
            if attempt < self._max_retries:
                await asyncio.sleep(pause_s)
        raise FeatureError(f"The embeddings endpoint {self._url} {problems[-1]}")

    def _read(self, content: bytes, n_texts: int) -> FloatArray:
        """Embeddings from the body of an answer, (n_texts, n_dimensions) float32, in the order of the texts."""
        try:
            items = orjson.loads(content)["data"]
            ordered = sorted(items, key=lambda item: item["index"])
            if [item["index"] for item in ordered] != list(range(n_texts)):
                raise ValueError
            embeddings = np.array([item["embedding"] for item in ordered], dtype=np.float64)
            if embeddings.ndim != 2 or not embeddings.shape[1] or not (np.abs(embeddings) < _TOO_LARGE).all():
                raise ValueError
        except (ValueError, TypeError, KeyError):
            raise FeatureError(
                f"The embeddings endpoint {self._url} answered with something else than {n_texts} embeddings: see "
                f"whether the URL and the model are right ({_said(content)})"
            ) from None
        return embeddings.astype(np.float32)


def _wanted_pause_s(retry_after: str | None) -> float:
    """Seconds that a Retry-After header asks for; 0 for none, or for a date."""
    return float(retry_after) if retry_after is not None and retry_after.isdecimal() else 0.0


def _said(content: bytes) -> str:
    """The message of an error of OpenAI's form, or the beginning of whatever it is."""
    try:
        message = orjson.loads(content)["error"]["message"]
    except (ValueError, TypeError, KeyError):
        message = content[: 4 * _MOST_SAID].decode(errors="replace")
    return " ".join(str(message).split())[:_MOST_SAID] or "nothing"
