"""The OpenAI API of a simulated expert: what it takes from a request, and the bytes of its answers."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from deployments.experts.simulation.answers import Answer, Answers
from deployments.openai import ApiError
from routers.text import conversation_text, estimated_tokens

__all__ = ["LABEL", "Choice", "Wanted", "Writer", "parse", "plan"]

LABEL = "simulated"
_MOST_CHOICES = 128
# What changes an answer in a way that a recorded one or a template cannot have.
_REFUSED = ("logprobs", "top_logprobs", "prompt_logprobs", "best_of", "echo", "suffix", "use_beam_search")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a request asks for."""

    model: str | None
    chat: bool
    prompts: Sequence[tuple[str, int]]
    n: int
    stream: bool
    include_usage: bool
    max_tokens: int | None
    min_tokens: int
    ignore_eos: bool
    stop: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer to give: to a prompt of so many tokens, and why it ends."""

    index: int
    prompt_tokens: int
    answer: Answer
    finish_reason: str


def parse(raw: bytes, *, chat: bool) -> Wanted:
    """Read the body of a request for a chat completion or a completion.

    Raises:
        ApiError: 400; the body is not of that form, or asks for what cannot be simulated.
    """
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise _bad(f"The body is not JSON ({error}): send an object.") from None
    if not isinstance(body, dict):
        raise _bad("The body is not a JSON object: send one.")
    _refuse(body)
    limit = body.get("max_completion_tokens") if chat else None
    stop = body.get("stop") or ()
    return Wanted(
        model=body.get("model"),
        chat=chat,
        prompts=_conversation(body) if chat else _prompts(body),
        n=_count(body, "n", 1, least=1, most=_MOST_CHOICES),
        stream=bool(body.get("stream")),
        include_usage=bool((body.get("stream_options") or {}).get("include_usage")),
        max_tokens=_count(body, "max_tokens", None, least=1) if limit is None else limit,
        min_tokens=_count(body, "min_tokens", 0, least=0),
        ignore_eos=bool(body.get("ignore_eos")),
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
    )


def plan(wanted: Wanted, answers: Answers, max_model_tokens: int) -> list[Choice]:
    """The answers that a request gets.

    Raises:
        ApiError: 400; a prompt is too long for the model.
    """
    choices: list[Choice] = []
    for text, prompt_tokens in wanted.prompts:
        room = max_model_tokens - prompt_tokens
        if room < 1:
            raise _bad(
                f"The model's longest context is {max_model_tokens} tokens, and the prompt has {prompt_tokens} "
                "(four characters a token): shorten it.",
                param="messages" if wanted.chat else "prompt",
                code="context_length_exceeded",
            )
        for sample in range(wanted.n):
            answer, reason = _ended(answers.answer(text, sample), wanted, room)
            choices.append(Choice(len(choices), prompt_tokens, answer, reason))
    return choices


def _ended(answer: Answer, wanted: Wanted, room: int) -> tuple[Answer, str]:
    """An answer as long as the request and the context let it be, and why it ends."""
    most = min(room, room if wanted.max_tokens is None else wanted.max_tokens)
    least = most if wanted.ignore_eos else min(wanted.min_tokens, most)
    if answer.tokens < least:
        answer = answer.extended(least)
    found = [at for stop in wanted.stop if stop and (at := answer.text.find(stop)) >= 0]
    if found and not wanted.ignore_eos:
        tokens = max(1, -(-min(found) * answer.tokens // max(1, len(answer.text))))
        answer = Answer(answer.text[: min(found)], tokens)
    if answer.tokens > most:
        return answer.cut(most), "length"
    return answer, "length" if wanted.ignore_eos else "stop"


class Writer:
    """Makes the bytes of one response.

    Args:
        wanted: the request.
        choices: the answers to give.
        model: what the expert is called.
    """

    def __init__(self, wanted: Wanted, choices: Sequence[Choice], model: str) -> None:
        kind = "chat.completion" if wanted.chat else "text_completion"
        self._chat = wanted.chat
        self._choices = choices
        self._include_usage = wanted.include_usage
        self._head = {
            "id": f"simulated-{uuid.uuid4().hex}",
            "object": kind + (".chunk" if wanted.chat and wanted.stream else ""),
            "created": int(time.time()),
            "model": wanted.model or model,
            "system_fingerprint": LABEL,
        }
        self._event = b"data: " + orjson.dumps(self._head)[:-1]
        self._usage = {
            # As an engine counts: the prompt once, however many answers it gets.
            "prompt_tokens": sum(choice.prompt_tokens for choice in choices) // wanted.n,
            "completion_tokens": sum(choice.answer.tokens for choice in choices),
        }
        self._usage["total_tokens"] = sum(self._usage.values())

    def whole(self) -> dict[str, Any]:
        """The body of an answer that is not streamed."""
        choices = []
        for choice in self._choices:
            text = choice.answer.text
            part = {"message": {"role": "assistant", "content": text}} if self._chat else {"text": text}
            choices.append({"index": choice.index, **part, "logprobs": None, "finish_reason": choice.finish_reason})
        return {**self._head, "choices": choices, "usage": self._usage}

    def opening(self) -> bytes:
        """The events that come before any text: of a chat the role of each choice."""
        if not self._chat:
            return b""
        return b"".join(self._delta(choice, {"role": "assistant", "content": ""}) for choice in self._choices)

    def tokens(self, choice: Choice, start: int, stop: int) -> bytes:
        """The events of a choice's tokens `start` to `stop`, one each; the last token's says why it ends."""
        events = []
        for token in range(start, stop):
            text = choice.answer.part(token, token + 1)
            reason = choice.finish_reason if token + 1 == choice.answer.tokens else None
            events.append(
                self._delta(choice, {"content": text}, reason) if self._chat else self._text(choice, text, reason)
            )
        return b"".join(events)

    def closing(self) -> bytes:
        """The events that come after all text: the usage, if it is wanted, and the end."""
        usage = self._event + b',"choices":[],"usage":' + orjson.dumps(self._usage) + b"}\n\n"
        return (usage if self._include_usage else b"") + b"data: [DONE]\n\n"

    def _delta(self, choice: Choice, delta: Mapping[str, str], reason: str | None = None) -> bytes:
        return self._one(choice, b'"delta":' + orjson.dumps(delta), reason)

    def _text(self, choice: Choice, text: str, reason: str | None) -> bytes:
        return self._one(choice, b'"text":' + orjson.dumps(text), reason)

    def _one(self, choice: Choice, part: bytes, reason: str | None) -> bytes:
        ending = b"null" if reason is None else orjson.dumps(reason)
        return b'%b,"choices":[{"index":%d,%b,"logprobs":null,"finish_reason":%b}]}\n\n' % (
            self._event, choice.index, part, ending,
        )  # fmt: skip


def _refuse(body: Mapping[str, Any]) -> None:
    for name in _REFUSED:
        if body.get(name):
            raise _bad(f"A simulated expert has no {name}: leave it out, or ask a real expert.", param=name)
    kind = (body.get("response_format") or {}).get("type", "text")
    if kind != "text":
        raise _bad(f"A simulated expert cannot answer as {kind}: leave response_format out.", param="response_format")
    if body.get("tool_choice") not in (None, "auto", "none"):
        raise _bad("A simulated expert calls no tool: leave tool_choice out.", param="tool_choice")


def _conversation(body: Mapping[str, Any]) -> list[tuple[str, int]]:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(one, dict) for one in messages):
        raise _bad("messages must be a list of at least one message: add one.", param="messages")
    return [(conversation_text(messages[-1:]), max(1, estimated_tokens(conversation_text(messages))))]


def _prompts(body: Mapping[str, Any]) -> list[tuple[str, int]]:
    prompt = body.get("prompt")
    if isinstance(prompt, str):
        return [(prompt, max(1, estimated_tokens(prompt)))]
    if not isinstance(prompt, list) or not prompt:
        raise _bad("prompt must be a text, texts, or token ids: add one.", param="prompt")
    if all(isinstance(one, int) for one in prompt):
        return [("", len(prompt))]
    return [
        ("", len(one)) if isinstance(one, list) else (str(one), max(1, estimated_tokens(str(one)))) for one in prompt
    ]


def _count(body: Mapping[str, Any], name: str, default: Any, *, least: int, most: int | None = None) -> Any:
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or value < least or (most is not None and value > most):
        limits = f"from {least} to {most}" if most is not None else f"of at least {least}"
        raise _bad(f"{name} must be a whole number {limits}, not {value!r}.", param=name)
    return value


def _bad(message: str, *, param: str | None = None, code: str = "invalid_request") -> ApiError:
    return ApiError(400, message, code=code, param=param)
