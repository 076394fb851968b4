import orjson
import pytest

from deployments.openai import (
    ApiError,
    ModelName,
    NoAnswerError,
    error_event,
    error_from_upstream,
    parse_model_name,
    rename_model,
)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("auto", ModelName("auto")),
        ("auto@0.7", ModelName("auto", 0.7)),
        ("auto@0", ModelName("auto", 0.0)),
        ("my-route@1", ModelName("my-route", 1.0)),
        ("router-hybrid-trans-0.7", ModelName("hybrid-trans", 0.7, by_router=True)),
        ("router-mf-.25", ModelName("mf", 0.25, by_router=True)),
        ("router-auto", ModelName("router-auto")),
    ],
)
def test_parse_model_name(model: str, expected: ModelName) -> None:
    assert parse_model_name(model) == expected


@pytest.mark.parametrize("model", ["auto@1.5", "auto@", "auto@x", "auto@nan", "auto@-0.1", "router-mf-7"])
def test_bad_threshold_is_refused(model: str) -> None:
    with pytest.raises(ApiError, match="from 0 to 1") as caught:
        parse_model_name(model)
    assert (caught.value.status, caught.value.param) == (400, "model")


def test_error_has_openai_shape_and_retry_after() -> None:
    error = ApiError(503, "Away.", code="gone", retry_after_s=2)
    assert error.body == {"error": {"message": "Away.", "type": "server_error", "param": None, "code": "gone"}}
    assert error.headers == {"retry-after": "2"}
    assert ApiError(401, "Who?").body["error"]["type"] == "authentication_error"
    assert ApiError(400, "No.").headers == {}


def test_error_event_is_one_server_sent_event() -> None:
    event = error_event(ApiError(408, "Late."))
    assert event.startswith(b"data: ")
    assert event.endswith(b"\n\n")
    assert orjson.loads(event.removeprefix(b"data: "))["error"]["message"] == "Late."


def test_json_error_of_the_engine_is_relayed_as_it_is() -> None:
    body = b'{"error": {"message": "too long", "code": 400}}'
    error = error_from_upstream(400, "application/json", body, "small")
    assert (error.status, error.body) == (400, orjson.loads(body))
    assert not isinstance(error, NoAnswerError)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(401, "failed"), (403, "failed"), (408, "late"), (429, "refused"), (500, "failed"), (503, "refused")],
)
def test_what_is_no_fault_of_the_request_may_be_asked_of_another_expert(status: int, outcome: str) -> None:
    body = b'{"error": {"message": "away", "code": null}}'
    error = error_from_upstream(status, "application/json", body, "small", retry_after="7")
    assert isinstance(error, NoAnswerError)
    assert (error.outcome, error.body["error"]["message"], error.retry_after_s) == (outcome, "away", 7)


@pytest.mark.parametrize(
    ("status", "content_type", "body", "expected", "retry"),
    [
        (404, "text/plain", b"Path '/experts/small/v1/x' not found.", 503, 1),
        (404, "application/json", b'{"detail":"Not Found"}', 404, None),
        (503, "text/html", b"<html><body>No server is available</body></html>", 503, 1),
        (502, "text/html", b"<html/>", 503, 1),
        (504, "text/html", b"<html/>", 408, None),
        (408, "text/plain", b"Request timed out", 408, None),
        (429, "text/plain", b"busy", 429, 1),
        (500, "text/plain", b"Internal Server Error", 500, None),
        (422, "text/plain", b"odd", 422, None),
    ],
)
def test_plain_answers_become_openai_errors(
    status: int, content_type: str, body: bytes, expected: int, retry: int | None
) -> None:
    error = error_from_upstream(status, content_type, body, "small")
    assert (error.status, error.retry_after_s) == (expected, retry)
    assert "'small'" in error.message
    assert "<html" not in error.message


def test_rename_model_changes_the_first_model_only() -> None:
    body = b'{"id":"x","model":"org\\/some \\"model\\"","choices":[{"text":"\\"model\\": \\"a\\""}]}'
    renamed = orjson.loads(rename_model(body, "hosted"))
    assert renamed["model"] == "hosted"
    assert renamed["choices"][0]["text"] == '"model": "a"'
