"""Answers that are held back until a plan has made up its mind: their texts, their tokens, and what a client gets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from .attempts import Usage
from .openai import NoAnswerError
from .upstream import UpstreamAnswer

__all__ = ["HeldAnswer", "UsageMeter", "usage_of"]

_DATA = b"data: "


class _Event(NamedTuple):
    """A server-sent event as it came, and its JSON, if it has any."""

    raw: bytes
    fields: Mapping[str, Any] | None


class HeldAnswer:
    """A chat completion or completion, whole or as a stream, that has been read to its end.

    Attributes:
        expert: who gave it.
        answer: what was read.
        texts: of each choice what a judge reads: its content, with calls of tools behind it as JSON.
        uses_tools: whether a choice calls a tool.
        usage: tokens, where the expert counted them.

    Raises:
        NoAnswerError: it is not an answer.
    """

    def __init__(self, expert: str, answer: UpstreamAnswer) -> None:
        self.expert = expert
        self.answer = answer
        try:
            self._events = list(_events(answer.body)) if answer.streamed else []
            self._whole: dict[str, Any] | None = None if answer.streamed else orjson.loads(answer.body)
            said = _Said(
                [event.fields for event in self._events if event.fields] if self._whole is None else [self._whole]
            )
        except (orjson.JSONDecodeError, TypeError, KeyError, AttributeError) as error:
            raise NoAnswerError("failed", 503, f"The expert {expert!r} gave no answer that can be read.") from error
        if not said.texts:
            raise NoAnswerError("failed", 503, f"The expert {expert!r} gave an answer without a choice.")
        self.texts = tuple(said.texts[index] + said.tools.get(index, "") for index in sorted(said.texts))
        self.uses_tools = bool(said.tools)
        self.usage = said.usage

    def body(self, choices: Sequence[int] | None, *, with_usage: bool) -> bytes:
        """What the client gets.

        Args:
            choices: indices of the choices to give, in the order in which they are given, and numbered anew; None for
                all as they are.
            with_usage: whether the client asked for a stream's usage.
        """
        places = None if choices is None else {index: place for place, index in enumerate(choices)}
        if self._whole is None:
            return b"".join(_sent(event, places, with_usage=with_usage) for event in self._events)
        if places is None:
            return self.answer.body
        kept = sorted(_renumbered(self._whole["choices"], places), key=lambda choice: choice["index"])
        return orjson.dumps({**self._whole, "choices": kept})


class _Said:
    """The texts, calls of tools and usage of an answer's JSON objects, of which a stream has many."""

    def __init__(self, parts: list[Mapping[str, Any]]) -> None:
        self.texts: dict[int, str] = {}
        self.tools: dict[int, str] = {}
        self.usage: Usage | None = None
        for part in parts:
            self.usage = usage_of(part) or self.usage
            for choice in part["choices"]:
                self._take(choice)

    def _take(self, choice: Mapping[str, Any]) -> None:
        index = choice.get("index", 0)
        message = choice.get("message") or choice.get("delta") or {}
        content = choice.get("text") or message.get("content") or ""
        text = content if isinstance(content, str) else orjson.dumps(content).decode()
        self.texts[index] = self.texts.get(index, "") + text
        for call in message.get("tool_calls") or ():
            function = call.get("function") or {}
            called = (function.get("name") or "") + (function.get("arguments") or "")
            self.tools[index] = self.tools.get(index, "") + called


class UsageMeter:
    """Reads the tokens out of a body or the lines of a stream on its way to the client.

    Args:
        keeps: whether the client asked for a stream's usage; otherwise the event that holds nothing else is left out.
    """

    def __init__(self, *, keeps: bool) -> None:
        self.usage: Usage | None = None
        self._keeps = keeps
        self._left_out = False

    def __call__(self, part: bytes) -> bytes:
        """Look at a whole body, or at a line of a stream, and say what the client gets of it."""
        if self._left_out and not part.strip():
            self._left_out = False
            return b""
        if b'"usage"' not in part:
            return part
        try:
            fields = orjson.loads(part.removeprefix(_DATA))
        except orjson.JSONDecodeError:
            return part
        found = usage_of(fields)
        self.usage = found or self.usage
        self._left_out = found is not None and not fields.get("choices") and not self._keeps
        return b"" if self._left_out else part


def usage_of(fields: Mapping[str, Any]) -> Usage | None:
    """The tokens that a JSON object of an answer tells; None if it tells none."""
    usage = fields.get("usage")
    if not isinstance(usage, Mapping) or "prompt_tokens" not in usage:
        return None
    return Usage(int(usage["prompt_tokens"]), int(usage.get("completion_tokens") or 0))


def _events(stream: bytes) -> Iterator[_Event]:
    for block in stream.replace(b"\r\n", b"\n").split(b"\n\n"):
        if not block.strip():
            continue
        data = block.removeprefix(_DATA)
        yield _Event(block + b"\n\n", orjson.loads(data) if data.startswith(b"{") else None)


def _sent(event: _Event, places: Mapping[int, int] | None, *, with_usage: bool) -> bytes:
    fields = event.fields
    if fields is None:
        return event.raw
    if not fields["choices"]:
        return event.raw if with_usage or usage_of(fields) is None else b""
    if places is None:
        return event.raw
    kept = _renumbered(fields["choices"], places)
    return _DATA + orjson.dumps({**fields, "choices": kept}) + b"\n\n" if kept else b""


def _renumbered(choices: Sequence[Mapping[str, Any]], places: Mapping[int, int]) -> list[dict[str, Any]]:
    found = [(choice, places.get(choice.get("index", 0))) for choice in choices]
    return [{**choice, "index": place} for choice, place in found if place is not None]
