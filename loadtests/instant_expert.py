"""An expert without a model that answers at once, so that whatever stands in front of it shows its own cost.

It is simulated, and says so in every answer. Alone: ``python -m loadtests.instant_expert --port 8100``.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import re
import signal
from typing import Annotated, Any

import numpy as np
import orjson
import typer

from loadtests.errors import LoadTestError

__all__ = ["InstantExpert", "chat_answer", "chat_events", "serve_instantly"]

_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
_HEAD_END = b"\r\n\r\n"
_LAST_FRAME = b"0\r\n\r\n"
_DEFAULT_TOKENS = 16
_EMBEDDING_DIMENSIONS = 1536
_HEAD = {"id": "simulated", "created": 0, "system_fingerprint": "simulated"}
_JSON = "application/json"
_EVENTS = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"


def chat_answer(model: str, tokens: int) -> dict[str, Any]:
    """A whole chat answer of so many tokens, each of which is the word ``word``."""
    message = {"role": "assistant", "content": " ".join(["word"] * tokens)}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "length"}
    return {**_HEAD, "object": "chat.completion", "model": model, "choices": [choice], "usage": _usage(tokens)}


@functools.lru_cache(maxsize=64)
def chat_events(model: str, tokens: int, *, with_usage: bool = False) -> tuple[bytes, ...]:
    """The same answer as server-sent events, as an engine sends them: the role, one event for each token, the end."""
    deltas: list[dict[str, str]] = [{"role": "assistant", "content": ""}, {"content": "word"}]
    deltas += [{"content": " word"}] * (tokens - 1)
    head = {**_HEAD, "object": "chat.completion.chunk", "model": model}
    bodies: list[dict[str, Any]] = [
        {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas
    ]
    bodies[-1]["choices"][0]["finish_reason"] = "length"
    if with_usage:
        bodies.append({**head, "choices": [], "usage": _usage(tokens)})
    return *(b"data: " + orjson.dumps(body) + b"\n\n" for body in bodies), b"data: [DONE]\n\n"


class InstantExpert(asyncio.Protocol):
    """One connection to the expert: chat completions, embeddings, models and health, at no cost worth mentioning.

    Each event of a stream is written by itself, one in each turn of the event loop, as an engine's would come: written
    together, a relay could pass all of them on as one.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport that asyncio made."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop sending."""
        self._transport = None

    def data_received(self, data: bytes) -> None:
        """Answer, once a request is complete; clients that keep a connection send one at a time."""
        self._received += data
        end = self._received.find(_HEAD_END)
        if end < 0:
            return
        head = bytes(self._received[:end])
        length = _LENGTH.search(head)
        body_end = end + len(_HEAD_END) + (int(length[1]) if length else 0)
        if len(self._received) < body_end:
            return
        body = bytes(self._received[end + len(_HEAD_END) : body_end])
        del self._received[:body_end]
        try:
            self._answer(head.split(b" ", 2)[1], orjson.loads(body) if body else {})
        except (orjson.JSONDecodeError, AttributeError, TypeError, ValueError):
            self._whole({"error": {"message": "The body is not an OpenAI request."}}, b"400 Bad Request")

    def _answer(self, path: bytes, body: dict[str, Any]) -> None:
        if path == b"/v1/chat/completions":
            model, tokens = str(body.get("model")), _tokens(body)
            if body.get("stream"):
                with_usage = bool((body.get("stream_options") or {}).get("include_usage"))
                self._events(chat_events(model, tokens, with_usage=with_usage))
            else:
                self._write(_encoded_answer(model, tokens))
        elif path == b"/v1/embeddings":
            self._write(_encoded_embedding(body.get("encoding_format") == "base64"))
        elif path in (b"/v1/models", b"/health"):
            self._whole({"object": "list", "data": [{"id": "simulated", "object": "model", "simulated": True}]})
        else:
            self._whole({"error": {"message": "An instant expert has no such path."}}, b"404 Not Found")

    def _whole(self, body: dict[str, Any], status: bytes = b"200 OK") -> None:
        self._write(_http(body, status))

    def _events(self, events: tuple[bytes, ...]) -> None:
        self._write(_EVENTS + _frame(events[0]))
        self._loop.call_soon(self._next_event, events, 1)

    def _next_event(self, events: tuple[bytes, ...], position: int) -> None:
        if position == len(events) - 1:
            self._write(_frame(events[position]) + _LAST_FRAME)
            return
        self._write(_frame(events[position]))
        self._loop.call_soon(self._next_event, events, position + 1)

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)


async def serve_instantly(port: int, *, ready: asyncio.Event | None = None) -> None:
    """Answer on a port of 127.0.0.1 until this is cancelled.

    Raises:
        LoadTestError: the port is taken.
    """
    loop = asyncio.get_running_loop()
    try:
        server = await loop.create_server(InstantExpert, "127.0.0.1", port, backlog=4096)
    except OSError as error:
        raise LoadTestError(f"Port {port} cannot be used ({error.strerror}): give another one.") from error
    async with server:
        if ready is not None:
            ready.set()
        await server.serve_forever()


def _tokens(body: dict[str, Any]) -> int:
    return max(1, int(body.get("max_completion_tokens") or body.get("max_tokens") or _DEFAULT_TOKENS))


def _usage(tokens: int) -> dict[str, int]:
    return {"prompt_tokens": 1, "completion_tokens": tokens, "total_tokens": tokens + 1}


def _frame(event: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(event), event)


def _http(body: dict[str, Any], status: bytes = b"200 OK") -> bytes:
    content = orjson.dumps(body)
    head = b"HTTP/1.1 %s\r\ncontent-type: %s\r\ncontent-length: %d\r\n\r\n"
    return head % (status, _JSON.encode(), len(content)) + content


@functools.lru_cache(maxsize=64)
def _encoded_answer(model: str, tokens: int) -> bytes:
    return _http(chat_answer(model, tokens))


@functools.lru_cache(maxsize=2)
def _encoded_embedding(as_base64: bool) -> bytes:
    vector = np.full(_EMBEDDING_DIMENSIONS, _EMBEDDING_DIMENSIONS**-0.5, dtype="<f4")
    embedding = base64.b64encode(vector.tobytes()).decode() if as_base64 else vector.tolist()
    data = [{"object": "embedding", "index": 0, "embedding": embedding}]
    usage = {"prompt_tokens": 1, "total_tokens": 1}
    return _http({"object": "list", "model": "simulated", "data": data, "usage": usage})


def main(port: Annotated[int, typer.Option(min=1, max=65535, help="Port of 127.0.0.1 to answer on.")] = 8100) -> None:
    """Answer as an expert without a model, at once, until Ctrl-C or SIGTERM."""

    async def run() -> None:
        task = asyncio.ensure_future(serve_instantly(port))
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()

    asyncio.run(run())


if __name__ == "__main__":
    typer.run(main)
