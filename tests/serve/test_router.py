"""The Router on real Ray Serve, over simulated experts."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import openai
import pytest

from tests.conftest import Endpoint

EASY = [{"role": "user", "content": "easy red green"}]
HARD = [{"role": "user", "content": "hard red green"}]


def ask(endpoint: Endpoint, body: Any, path: str = "/v1/chat/completions", **options: Any) -> httpx.Response:
    content = body if isinstance(body, bytes | str) else json.dumps(body)
    return httpx.post(endpoint.simulated_url + path, content=content, timeout=60, **options)


def assert_openai_error(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    error: dict[str, Any] = response.json()["error"]
    assert set(error) >= {"message", "type", "param", "code"}
    assert "Traceback" not in error["message"]
    return error


@pytest.mark.parametrize(("messages", "expert"), [(EASY, "sim-small"), (HARD, "sim-large")])
def test_the_route_decides_and_says_so(endpoint: Endpoint, messages: Any, expert: str) -> None:
    response = ask(endpoint, {"model": "guess", "messages": messages})
    assert response.status_code == 200
    headers = response.headers
    assert headers["x-pointsman-expert"] == expert
    assert headers["x-pointsman-route"] == "guess"
    assert headers["x-pointsman-router"] == "hybrid-trans"
    assert headers["x-pointsman-attempts"] == "1"
    score, threshold = float(headers["x-pointsman-score"]), float(headers["x-pointsman-threshold"])
    assert (score >= threshold) == (expert == "sim-large")
    assert int(headers["x-pointsman-decision-us"]) > 0
    assert "x-pointsman-decision" not in headers
    body = response.json()
    assert body["model"] == expert
    assert body["system_fingerprint"] == "simulated"


def test_no_model_means_the_default_route(endpoint: Endpoint) -> None:
    assert ask(endpoint, {"messages": EASY}).headers["x-pointsman-route"] == "guess"


def test_debug_adds_the_whole_decision(endpoint: Endpoint) -> None:
    response = ask(endpoint, {"model": "guess", "messages": EASY}, headers={"x-pointsman-debug": "1"})
    decision = json.loads(response.headers["x-pointsman-decision"])
    assert decision["expert"] == "sim-small"
    assert set(decision["qualities"]) == {"sim-small", "sim-large"}
    assert decision["reason"]


@pytest.mark.parametrize(
    ("model", "messages", "expert"),
    [
        ("guess@0", EASY, "sim-large"),
        ("guess@1", EASY, "sim-small"),
        ("router-hybrid-trans-0.0", EASY, "sim-large"),
        ("sim-large", EASY, "sim-large"),
    ],
)
def test_model_names(endpoint: Endpoint, model: str, messages: Any, expert: str) -> None:
    response = ask(endpoint, {"model": model, "messages": messages})
    assert response.headers["x-pointsman-expert"] == expert


@pytest.mark.parametrize(
    ("routing", "expert"),
    [({"threshold": 0.0}, "sim-large"), ({"experts": ["sim-large"]}, "sim-large"), ({"budget": 2e-6}, "sim-small")],
)
def test_routing_settings_of_one_request(endpoint: Endpoint, routing: Any, expert: str) -> None:
    response = ask(endpoint, {"model": "guess", "messages": EASY, "routing": routing})
    assert response.headers["x-pointsman-expert"] == expert


@pytest.mark.parametrize(
    "routing", [{"treshold": 0.5}, {"threshold": 2}, {"experts": ["nobody"]}, {"budget": 1e-12}, "cheap", [0.5]]
)
def test_bad_routing_settings_are_refused(endpoint: Endpoint, routing: Any) -> None:
    error = assert_openai_error(ask(endpoint, {"model": "guess", "messages": EASY, "routing": routing}), 400)
    assert error["code"] == "invalid_routing"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{broken", 400),
        (b"", 400),
        ({"model": "guess"}, 400),
        ({"model": "guess", "messages": []}, 400),
        ({"model": 5, "messages": EASY}, 400),
        ({"model": "nobody", "messages": EASY}, 404),
        ({"model": "guess@high", "messages": EASY}, 400),
        ({"model": "router-unknown-0.5", "messages": EASY}, 404),
        ({"model": "guess", "messages": [{"role": "user", "content": "x" * 1_100_000}]}, 413),
    ],
)
def test_bad_requests_get_openai_errors(endpoint: Endpoint, body: Any, status: int) -> None:
    assert_openai_error(ask(endpoint, body), status)


def test_wrong_paths_and_methods(endpoint: Endpoint) -> None:
    url = endpoint.simulated_url
    assert_openai_error(httpx.get(f"{url}/nothing"), 404)
    assert_openai_error(httpx.get(f"{url}/v1/chat/completions"), 405)
    assert_openai_error(httpx.post(f"{url}/v1/models"), 405)
    assert_openai_error(httpx.get(f"{url}/v1/models/nobody"), 404)
    assert_openai_error(httpx.get(f"{url}/v1/files"), 400)
    assert_openai_error(httpx.get(f"{url}/v1/files?model=nobody"), 404)


def test_an_expert_that_is_away_is_503(endpoint: Endpoint) -> None:
    response = ask(endpoint, {"model": "sim-away", "messages": EASY})
    assert_openai_error(response, 503)
    assert response.headers["retry-after"] == "1"
    assert response.headers["x-pointsman-expert"] == "sim-away"


def test_an_expert_that_is_too_slow_is_408(endpoint: Endpoint) -> None:
    response = ask(endpoint, {"model": "sim-slow", "messages": EASY}, headers={"x-request-timeout-seconds": "0.5"})
    assert_openai_error(response, 408)
    response = ask(endpoint, {"model": "sim-slow", "messages": EASY}, headers={"x-request-timeout-seconds": "soon"})
    assert_openai_error(response, 400)


def test_experts_refuse_whoever_is_not_the_router(endpoint: Endpoint) -> None:
    for expert in ("sim-small", "small"):
        for headers in ({}, {"x-pointsman-internal-token": "guess"}, {"authorization": "Bearer none"}):
            response = httpx.get(f"{endpoint.url}/experts/{expert}/v1/models", headers=headers)
            assert_openai_error(response, 401)


def test_models(endpoint: Endpoint) -> None:
    client = endpoint.client(simulated=True)
    names = ["guess", "sim-small", "sim-large", "sim-slow", "sim-scaled", "sim-away"]
    assert [card.id for card in client.models.list()] == names
    assert client.models.retrieve("sim-large").id == "sim-large"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nobody")


def test_route_decides_without_an_answer(endpoint: Endpoint) -> None:
    response = ask(endpoint, {"model": "guess", "messages": HARD}, "/v1/route")
    decision = response.json()
    assert decision["expert"] == "sim-large"
    assert decision["score"] >= decision["threshold"]
    assert response.headers["x-pointsman-attempts"] == "0"
    assert ask(endpoint, {"prompt": "hard red green"}, "/v1/route").json()["expert"] == "sim-large"


def test_other_paths_go_to_the_named_expert(endpoint: Endpoint) -> None:
    response = ask(endpoint, {"model": "sim-small", "input": "x"}, "/v1/embeddings")
    error = assert_openai_error(response, 404)
    assert "simulated expert has no /v1/embeddings" in error["message"]
    form = {"model": (None, "sim-small"), "file": ("a.wav", b"RIFF")}
    response = httpx.post(f"{endpoint.simulated_url}/v1/audio/transcriptions", files=form)
    assert "simulated expert has no /v1/audio/transcriptions" in assert_openai_error(response, 404)["message"]


def test_a_stream_arrives_while_it_is_made(endpoint: Endpoint) -> None:
    client = endpoint.client(simulated=True)
    arrivals_s = []
    stream = client.chat.completions.create(model="sim-slow", messages=EASY, stream=True)  # type: ignore[call-overload]
    for chunk in stream:
        assert chunk.model == "sim-slow"
        arrivals_s.append(time.monotonic())
        if len(arrivals_s) == 4:
            break
    stream.close()
    assert arrivals_s[3] - arrivals_s[0] > 0.3


def test_a_client_that_leaves_stops_the_expert(endpoint: Endpoint) -> None:
    def running() -> int:
        response = httpx.get(f"{endpoint.simulated_url}/v1/stats?model=sim-slow")
        return int(response.json()["running"])

    def wait_until(expected: int) -> None:
        deadline_s = time.monotonic() + 5
        while running() != expected and time.monotonic() < deadline_s:
            time.sleep(0.1)
        assert running() == expected

    wait_until(0)
    client = endpoint.client(simulated=True)
    stream = client.chat.completions.create(model="sim-slow", messages=EASY, stream=True)  # type: ignore[call-overload]
    next(iter(stream))
    assert running() == 1
    stream.close()
    wait_until(0)


def test_health_names_the_experts(endpoint: Endpoint) -> None:
    body = httpx.get(f"{endpoint.simulated_url}/health").json()
    assert body["status"] == "ready"
    assert body["experts"]["sim-small"] == "ready"
