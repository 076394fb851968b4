"""Embeddings by an OpenAI-compatible endpoint."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Annotated, Any, ClassVar, Self
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from routers.errors import ArtifactError, DataError, FeatureError, NotFittedError, ParameterError
from routers.features.base import Features, Tensors
from routers.features.embeddings_api import EmbeddingsClient
from routers.features.rows import FloatArray
from routers.features.svd import unit_rows
from routers.features.tensors import checked_tensor

__all__ = ["ALLOWED_ENDPOINTS", "EndpointFeatures"]

ALLOWED_ENDPOINTS = "POINTSMAN_ALLOWED_ENDPOINTS"
"""Environment variable: the base URLs, separated by commas, that routers from a file may send prompts to."""

_log = logging.getLogger(__name__)


class EndpointFeatures(Features):
    """Embeddings of unit length from `POST {url}/embeddings`, the form of OpenAI's API, which vLLM and others have too.

    A prompt of nothing but white space is not asked for: its row is zero. Embeddings are kept by a hash of the text,
    so a repeated prompt costs nothing.

    Prompts are sent to the endpoint, and so is the key. So a router from a file asks only endpoints of this machine
    (`localhost`), and those that the environment variable `POINTSMAN_ALLOWED_ENDPOINTS` names.

    Args:
        url: base URL, such as `https://api.openai.com/v1`.
        model: name of the embedding model there.
        api_key_env: environment variable that holds the key; None: no key is sent.
        dimensions: length of the embedding to ask for, of models that can shorten it; None: the model's own.
        timeout_s: most seconds for a batch, with all that is tried again.
        max_retries: how often a batch is tried again after a connection error or a refusal that may pass (408, 409,
            425, 429, 5xx), after 0.1 s, 0.2 s and so on, or as long as `Retry-After` says.
        batch_size: most prompts in a request.
        max_bytes: bytes of a prompt, as UTF-8, that are sent (first and last half of them of longer ones). Tokenizers
            by bytes make at most one token of each, so the default keeps within OpenAI's 8,192 tokens.
        cache_size: most embeddings kept; 0: none.
    """

    kind: ClassVar[str] = "endpoint"
    slow: bool = True

    def __init__(
        self,
        url: str = "",
        model: str = "",
        *,
        api_key_env: str | None = None,
        dimensions: Annotated[int, Field(ge=1, le=100_000)] | None = None,
        timeout_s: Annotated[float, Field(gt=0, le=3600)] = 5.0,
        max_retries: Annotated[int, Field(ge=0, le=20)] = 2,
        batch_size: Annotated[int, Field(ge=1, le=2048)] = 64,
        max_bytes: Annotated[int, Field(ge=16, le=1_000_000)] = 8000,
        cache_size: Annotated[int, Field(ge=0, le=10_000_000)] = 4096,
    ) -> None:
        self.url = url
        self.model = model
        self.api_key_env = api_key_env
        self.dimensions = dimensions
        self.timeout_s = timeout_s
        self.max_retries = max_retries
        self.batch_size = batch_size
        self.max_bytes = max_bytes
        self.cache_size = cache_size

    def check_params(self) -> None:
        """Compare every parameter with the constructor's annotation, and see whether the URL is one.

        Raises:
            ParameterError: a value is missing, of the wrong type or out of range.
        """
        super().check_params()
        if _host(self.url) is None:
            raise ParameterError(
                f"Parameter 'url' of EndpointFeatures is {self.url!r} but should be like https://api.openai.com/v1."
            )
        if not self.model:
            raise ParameterError("EndpointFeatures need the parameter 'model': name the endpoint's embedding model.")

    @property
    def n_features_(self) -> int:
        """Dimensions of the embedding."""
        return self._width

    def fit(self, texts: Sequence[str], y: Any = None) -> Self:
        """Ask for one embedding, to learn its length; nothing is learned from texts, (n_texts,), and y is ignored.

        Raises:
            DataError: there are no texts.
            ParameterError: a parameter is wrong, the key is missing, or httpx is.
            FeatureError: the endpoint gives no embedding.
        """
        if not len(texts):
            raise DataError("Features cannot be learned from no texts: give at least one prompt.")
        self._start()
        self._width = self.dimensions or 0
        self._width = self._checked(self._client.embed_now(["a"])).shape[1]
        clipped = sum(len(text.encode(errors="replace")) > self.max_bytes for text in texts)
        if clipped:
            half = self.max_bytes // 2
            _log.warning("Of %d of %d prompts only the first and last %d bytes count.", clipped, len(texts), half)
        return self

    def transform(self, texts: Sequence[str]) -> FloatArray:
        """Embeddings of texts, (n_texts, n_features_) float32, rows of length 1 (or 0).

        Raises:
            NotFittedError: nothing has been learned or restored.
            FeatureError: the endpoint does not answer in time, refuses, or answers with something else.
        """
        rows, wanted = self._kept_rows(texts)
        return self._completed(rows, wanted, self._client.embed_now(list(wanted))) if wanted else rows

    async def transform_async(self, texts: Sequence[str]) -> FloatArray:
        """The same as `transform`, without holding up the event loop."""
        rows, wanted = self._kept_rows(texts)
        return self._completed(rows, wanted, await self._client.embed(list(wanted))) if wanted else rows

    def tensors(self) -> Tensors:
        """The length of the embeddings, for saving."""
        return {"endpoint.dimensions": np.array([self._width], dtype=np.int64)}

    def restore(self, tensors: Mapping[str, NDArray[Any]]) -> Self:
        """Take the state that `tensors` gave; the endpoint is not asked yet.

        Raises:
            ArtifactError: a tensor is missing or of the wrong type or shape, or the endpoint is not allowed.
            ParameterError: the key is missing, or httpx is.
        """
        self._width = int(checked_tensor(tensors, "endpoint.dimensions", np.int64, (1,))[0])
        if not 0 < self._width <= 1_000_000:
            raise ArtifactError("The router's embeddings have no sensible length: train and save it again.")
        if not _is_local(self.url) and self.url.rstrip("/") not in _allowed():
            raise ArtifactError(
                f"The router sends prompts to {self.url}, which is not allowed: if you trust it, add this URL to the "
                f"environment variable {ALLOWED_ENDPOINTS}."
            )
        self._start()
        return self

    def _start(self) -> None:
        key = None if self.api_key_env is None else os.environ.get(self.api_key_env)
        if self.api_key_env is not None and not key:
            raise ParameterError(
                f"The key of the embeddings endpoint is missing: set the environment variable {self.api_key_env}."
            )
        self._client = EmbeddingsClient(
            self.url,
            self.model,
            api_key=key,
            dimensions=self.dimensions,
            timeout_s=self.timeout_s,
            max_retries=self.max_retries,
            batch_size=self.batch_size,
        )
        self._kept = _Recent(self.cache_size)

    def _kept_rows(self, texts: Sequence[str]) -> tuple[FloatArray, dict[str, list[int]]]:
        """Rows as far as they are known, and where each text belongs that has to be asked for."""
        if not hasattr(self, "_client"):
            raise NotFittedError("These EndpointFeatures have not asked the endpoint yet: call fit first.")
        rows = np.zeros((len(texts), self._width), dtype=np.float32)
        wanted: dict[str, list[int]] = {}
        for place, text in enumerate(texts):
            sent = _clipped(text, self.max_bytes)
            found = self._kept.get(sent)
            if found is not None:
                rows[place] = found
            elif sent.strip():
                wanted.setdefault(sent, []).append(place)
        return rows, wanted

    def _completed(self, rows: FloatArray, wanted: Mapping[str, list[int]], embeddings: FloatArray) -> FloatArray:
        found = unit_rows(self._checked(embeddings))
        for (text, places), row in zip(wanted.items(), found, strict=True):
            rows[places] = row
            self._kept.put(text, row)
        return rows

    def _checked(self, embeddings: FloatArray) -> FloatArray:
        if self._width and embeddings.shape[1] != self._width:
            raise FeatureError(
                f"The embeddings of {self.model!r} at {self.url} have {embeddings.shape[1]} dimensions, not "
                f"{self._width}: ask for the same model and dimensions as in training."
            )
        return embeddings


class _Recent:
    """The most recently used embeddings, by a hash of their text.

    Args:
        size: most of them.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._rows: OrderedDict[bytes, FloatArray] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, text: str) -> FloatArray | None:
        """The embedding of a text, if it is there."""
        key = _hash(text)
        with self._lock:
            if key in self._rows:
                self._rows.move_to_end(key)
            return self._rows.get(key)

    def put(self, text: str, row: FloatArray) -> None:
        """Keep the embedding of a text, in place of the one that was used longest ago."""
        with self._lock:
            # A copy, since a row of a batch would keep the whole batch in memory.
            self._rows[_hash(text)] = row.copy()
            if len(self._rows) > self._size:
                self._rows.popitem(last=False)


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _clipped(text: str, max_bytes: int) -> str:
    """The text without halves of surrogate pairs, or its first and last halves of `max_bytes` where it is longer."""
    raw = text.encode(errors="replace")
    if len(raw) <= max_bytes:
        return raw.decode()
    half = (max_bytes - 1) // 2
    return f"{raw[:half].decode(errors='ignore')}\n{raw[-half:].decode(errors='ignore')}"


def _host(url: str) -> str | None:
    """Host of an HTTP URL; None for anything else."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return parts.hostname if parts.scheme in ("http", "https") else None


def _is_local(url: str) -> bool:
    host = _host(url)
    try:
        return host == "localhost" or ip_address(host or "").is_loopback
    except ValueError:
        return False


def _allowed() -> set[str]:
    return {url.strip().rstrip("/") for url in os.environ.get(ALLOWED_ENDPOINTS, "").split(",")}
