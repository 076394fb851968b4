"""The OpenAI wire format: errors, model names, model lists and server-sent events."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import orjson

from routers.errors import PointsmanError

__all__ = [
    "ApiError",
    "ModelName",
    "NoAnswerError",
    "error_event",
    "error_from_upstream",
    "model_card",
    "parse_model_name",
    "rename_model",
]

_TYPE_BY_STATUS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "timeout_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
}
# The expert's own key, account, limits or engine are at fault, and not the request.
_ANOTHER_MAY_ANSWER = frozenset([401, 402, 403, 408, 425, 429])
_WHY = {
    401: "does not accept the key that it is asked with",
    402: "wants to be paid",
    403: "does not allow the key that it is asked with",
    408: "did not answer in time",
    429: "is over its limits",
    502: "has no replica ready or is over its queue limit",
    503: "has no replica ready or is over its queue limit",
    504: "did not answer in time",
}
_OUTCOMES: dict[int, Literal["refused", "late"]] = {408: "late", 429: "refused", 503: "refused"}
_AT_THRESHOLD = re.compile(r"^(?P<route>.+)@(?P<threshold>[^@]*)$")
_ROUTELLM = re.compile(r"^router-(?P<router>.+)-(?P<threshold>\d*\.?\d+)$")
_MODEL_FIELD = re.compile(rb'"model"\s*:\s*"(?:[^"\\]|\\.)*"')


class ApiError(PointsmanError):
    """An error that a client sees, in OpenAI's shape.

    Args:
        status: HTTP status.
        message: one sentence that names what is wrong and what to do.
        code: machine-readable code, such as ``model_not_found``.
        param: the request's field that is at fault.
        retry_after_s: when the client may try again, for 429 and 503.
        said: an expert's own OpenAI-shaped error, which the client gets in the place of the message.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after_s: int | None = None,
        said: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.retry_after_s = retry_after_s
        self.said = said

    @property
    def body(self) -> dict[str, Any]:
        """The JSON object that OpenAI clients parse."""
        if self.said is not None:
            return dict(self.said)
        kind = _TYPE_BY_STATUS.get(self.status, "server_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    @property
    def headers(self) -> dict[str, str]:
        """Response headers that belong to the error."""
        return {} if self.retry_after_s is None else {"retry-after": str(self.retry_after_s)}


class NoAnswerError(ApiError):
    """An expert gave no answer, and the client has been sent nothing: another expert may be asked.

    Args:
        outcome: it "refused", as when its queue is full; it, or the way to it, "failed"; or it was "late".
        status: HTTP status for the client, if nobody else answers.
        message: what the client is told then.
        details: as for ApiError.
    """

    def __init__(
        self, outcome: Literal["refused", "failed", "late"], status: int, message: str, **details: Any
    ) -> None:
        super().__init__(status, message, **{"code": "expert_unavailable", **details})
        self.outcome = outcome


class ModelName(NamedTuple):
    """What a request's ``model`` asks for: a route or an expert, perhaps with a threshold."""

    name: str
    threshold: float | None = None
    by_router: bool = False


def parse_model_name(model: str) -> ModelName:
    """Split ``auto``, ``auto@0.7`` and RouteLLM's ``router-hybrid-trans-0.7`` into name and threshold.

    Args:
        model: the request's ``model``.

    Returns:
        The name, the threshold if one was given, and whether the name is a router's rather than a route's.

    Raises:
        ApiError: the threshold is not a number in [0, 1].
    """
    routellm = _ROUTELLM.match(model)
    if routellm is not None:
        return ModelName(routellm["router"], _threshold(routellm["threshold"], model), by_router=True)
    at = _AT_THRESHOLD.match(model)
    if at is not None:
        return ModelName(at["route"], _threshold(at["threshold"], model))
    return ModelName(model)


def _threshold(text: str, model: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1.0:
        raise ApiError(
            400,
            f"The threshold in model {model!r} must be a number from 0 to 1, as in 'auto@0.7'.",
            code="invalid_threshold",
            param="model",
        )
    return value


def model_card(name: str, created_s: int, **details: Any) -> dict[str, Any]:
    """One entry of ``GET /v1/models``."""
    return {"id": name, "object": "model", "created": created_s, "owned_by": "pointsman", **details}


def error_event(error: ApiError) -> bytes:
    """The server-sent event that ends a stream which failed after its first byte."""
    return b"data: " + orjson.dumps(error.body) + b"\n\n"


def error_from_upstream(
    status: int, content_type: str, body: bytes, expert: str, retry_after: str | None = None
) -> ApiError:
    """Turn what an expert, or what stands between it and the Router, says instead of an answer into an error.

    An OpenAI-shaped error is kept as it is. HAProxy answers 502, 503 and 504 as HTML or plain text, Ray Serve answers
    404, 408, 500 and 503 as plain text.

    Args:
        status: the upstream's HTTP status, at least 400.
        content_type: its content type.
        body: its whole body.
        expert: the id of the expert that was asked.
        retry_after: its ``retry-after`` header.

    Returns:
        NoAnswerError where another expert may do better; another error where the request itself is at fault.
    """
    said = _openai_error(body) if "json" in content_type else None
    details: dict[str, Any] = {"said": said}
    if retry_after is not None and retry_after.isdigit():
        details["retry_after_s"] = int(retry_after)
    if said is None and status == 404:
        if b"/experts/" not in body:
            return ApiError(404, f"The expert {expert!r} has no such endpoint.", code="not_found")
        return NoAnswerError("failed", 503, f"The expert {expert!r} is not deployed.", retry_after_s=1)
    if status in _ANOTHER_MAY_ANSWER or status >= 500:
        why = _WHY.get(status, "failed")
        status = {502: 503, 504: 408}.get(status, status)
        if status in (429, 503):
            details.setdefault("retry_after_s", 1)
        return NoAnswerError(_OUTCOMES.get(status, "failed"), status, f"The expert {expert!r} {why}.", **details)
    text = body[:200].decode("utf-8", "replace").strip()
    message = f"The expert {expert!r} refused the request: {text}."
    return ApiError(status, message, code="expert_unavailable", **details)


def _openai_error(body: bytes) -> Mapping[str, Any] | None:
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    fits = isinstance(parsed, Mapping) and isinstance(parsed.get("error"), Mapping)
    return parsed if fits else None


def rename_model(body: bytes, expert: str) -> bytes:
    """Replace the first ``"model"`` field of a JSON body or of one server-sent event by the expert's id.

    The first is the top-level one in every OpenAI response object, as it stands before ``choices``.
    """
    return _MODEL_FIELD.sub(lambda _: b'"model":' + orjson.dumps(expert), body, count=1)
