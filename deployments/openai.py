"""The OpenAI wire format: errors, model names, model lists and server-sent events."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from routers.errors import PointsmanError

__all__ = [
    "ApiError",
    "ModelName",
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
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.retry_after_s = retry_after_s

    @property
    def body(self) -> dict[str, Any]:
        """The JSON object that OpenAI clients parse."""
        kind = _TYPE_BY_STATUS.get(self.status, "server_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    @property
    def headers(self) -> dict[str, str]:
        """Response headers that belong to the error."""
        return {} if self.retry_after_s is None else {"retry-after": str(self.retry_after_s)}


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


def error_from_upstream(status: int, content_type: str, body: bytes, expert: str) -> ApiError | None:
    """Turn what stands between the Router and an engine, and speaks no JSON, into an OpenAI-shaped error.

    HAProxy answers 502, 503 and 504 as HTML or plain text, Ray Serve answers 404, 408, 500 and 503 as plain text.

    Args:
        status: the upstream's HTTP status, at least 400.
        content_type: its content type.
        body: its whole body.
        expert: the id of the expert that was asked.

    Returns:
        The error to send, or None if the body already is an OpenAI-shaped error that can be relayed as it is.
    """
    if "json" in content_type and _is_openai_error(body):
        return None
    if status == 404 and b"/experts/" in body:
        status, text = 503, "is not deployed"
    elif status == 404:
        return ApiError(404, f"The expert {expert!r} has no such endpoint.", code="not_found")
    elif status in (502, 503):
        status, text = 503, "has no replica ready or is over its queue limit"
    elif status in (408, 504):
        status, text = 408, "did not answer in time"
    elif status == 429:
        text = "is over its limits"
    elif status < 500:
        text = "refused the request: " + body[:200].decode("utf-8", "replace").strip()
    else:
        text = "failed"
    retry_after_s = 1 if status in (429, 503) else None
    return ApiError(status, f"The expert {expert!r} {text}.", code="expert_unavailable", retry_after_s=retry_after_s)


def _is_openai_error(body: bytes) -> bool:
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return isinstance(parsed, Mapping) and isinstance(parsed.get("error"), Mapping)


def rename_model(body: bytes, expert: str) -> bytes:
    """Replace the first ``"model"`` field of a JSON body or of one server-sent event by the expert's id.

    The first is the top-level one in every OpenAI response object, as it stands before ``choices``.
    """
    return _MODEL_FIELD.sub(lambda _: b'"model":' + orjson.dumps(expert), body, count=1)
