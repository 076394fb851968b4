"""What the Router reads of a request's body: the model, the prompt's text and the ``routing`` object."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from routers import conversation_side, conversation_text, prompt_text

from .asgi import Request
from .openai import ApiError

__all__ = ["Body", "named_expert", "read_body"]

_OFF_LOOP_BYTES = 256 * 1024
_FORM_MODEL = re.compile(rb'name="?model"?[ \t]*\r\n(?:[^\r\n]+\r\n)*\r\n([^\r\n]*)\r\n')


@dataclass(frozen=True, slots=True)
class Body:
    """A parsed JSON body."""

    fields: dict[str, Any]
    model: str | None
    routing: Any
    n_bytes: int

    def text(self, path: str) -> str:
        """The text that the router decides on.

        Raises:
            ApiError: 400 if the endpoint needs a prompt and there is none.
        """
        if path == "/v1/chat/completions" or "messages" in self.fields:
            return conversation_text(self._messages())
        for name in ("prompt", "input"):
            if name in self.fields:
                return _input_text(self.fields[name])
        if path == "/v1/completions":
            raise ApiError(400, "prompt is missing: send a string.", code="missing_prompt", param="prompt")
        return ""

    def side(self) -> dict[str, int | bool]:
        """What the body says beside its text, such as how many images and tools there are."""
        return conversation_side(self.fields)

    def _messages(self) -> list[dict[str, Any]]:
        messages = self.fields.get("messages")
        if not isinstance(messages, list) or not messages:
            raise ApiError(
                400,
                "messages must be a list with at least one message.",
                code="invalid_messages",
                param="messages",
            )
        for position, message in enumerate(messages):
            if not isinstance(message, dict) or not isinstance(message.get("role"), str):
                raise ApiError(
                    400,
                    f"messages[{position}] must be an object with a role and a content.",
                    code="invalid_messages",
                    param=f"messages[{position}]",
                )
        return messages

    async def encoded(self, model: str, changes: Mapping[str, Any] | None = None) -> bytes:
        """The body for the expert: the same fields with its own model name and these changes, without ``routing``."""
        fields = {name: value for name, value in self.fields.items() if name != "routing"}
        fields |= changes or {}
        fields["model"] = model
        if self.n_bytes > _OFF_LOOP_BYTES:
            return await asyncio.to_thread(orjson.dumps, fields)
        return orjson.dumps(fields)


async def read_body(request: Request) -> Body:
    """Parse a JSON body, off the event loop if it is large.

    Raises:
        ApiError: 400 if it is not a JSON object, or ``model`` is not a string.
    """
    try:
        if len(request.body) > _OFF_LOOP_BYTES:
            fields = await asyncio.to_thread(orjson.loads, request.body)
        else:
            fields = orjson.loads(request.body)
    except orjson.JSONDecodeError as error:
        raise ApiError(400, f"The body is not valid JSON: {error}.", code="invalid_json") from error
    if not isinstance(fields, dict):
        raise ApiError(400, "The body must be a JSON object.", code="invalid_json")
    model = fields.get("model")
    if model is not None and not isinstance(model, str):
        raise ApiError(400, "model must be a string.", code="invalid_model", param="model")
    return Body(fields, model, fields.get("routing"), len(request.body))


def named_expert(request: Request) -> str | None:
    """The model that a request without a JSON body names: in its query, a header or its form."""
    named = request.query_value("model") or request.headers.get("x-pointsman-expert")
    if named is None and request.headers.get("content-type", "").startswith("multipart/form-data"):
        found = _FORM_MODEL.search(request.body)
        named = found[1].decode("utf-8", "replace") if found else None
    return named


def _input_text(value: Any) -> str:
    if isinstance(value, list) and value and all(isinstance(item, dict) and "role" in item for item in value):
        return conversation_text(value)
    return prompt_text(value)
