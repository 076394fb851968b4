"""Plans on real Ray Serve: what answers when a Scorer or an expert is slow, full or dead, and when clients leave."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import psutil
import pytest

from tests.conftest import Endpoint

EASY = [{"role": "user", "content": "easy red green"}]
HARD = [{"role": "user", "content": "hard red green"}]


def ask(endpoint: Endpoint, model: str, messages: Any = EASY, **fields: Any) -> httpx.Response:
    headers = fields.pop("headers", {})
    body = {"model": model, "messages": messages, **fields}
    return httpx.post(f"{endpoint.plans_url}/v1/chat/completions", json=body, headers=headers, timeout=60)


def text_of(response: httpx.Response) -> str:
    """The text of the first choice, of a stream or not."""
    assert response.status_code == 200, response.text
    if not response.headers["content-type"].startswith("text/event-stream"):
        return str(response.json()["choices"][0]["message"]["content"])
    events = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: {")]
    deltas = [choice["delta"] for event in events for choice in json.loads(event)["choices"]]
    return "".join(delta.get("content") or "" for delta in deltas)


def replica(endpoint: Endpoint, application: str, deployment: str) -> psutil.Process:
    """The process of a deployment's replica, once there is one."""
    name = f"ServeReplica:{application}:{deployment}"
    found: list[psutil.Process] = []

    def seek() -> bool:
        for process in psutil.Process(endpoint.pid).children(recursive=True):
            try:
                if name in " ".join(process.cmdline()):
                    found.append(process)
            except psutil.Error:
                continue
        return bool(found)

    assert wait_for(seek), f"no process of {name}"
    return found[0]


def wait_for(what: Callable[[], bool], timeout_s: float = 60) -> bool:
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        if what():
            return True
        time.sleep(0.3)
    return False


@contextmanager
def stopped(process: psutil.Process) -> Iterator[None]:
    """A process that stands still."""
    os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process.pid, signal.SIGCONT)


def running(endpoint: Endpoint, expert: str) -> int:
    stats = httpx.get(f"{endpoint.plans_url}/v1/stats?model={expert}").json()
    return int(stats["running"]) + int(stats["waiting"])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("route", ["frugal", "frugal-neural", "verify"])
def test_a_cascade_keeps_a_good_answer_and_passes_on_a_bad_one(endpoint: Endpoint, route: str, stream: bool) -> None:
    kept = ask(endpoint, f"{route}@0.0", EASY, stream=stream)
    assert text_of(kept) == "sim-small says easy red green"
    assert kept.headers["x-pointsman-expert"] == "sim-small"
    passed_on = ask(endpoint, f"{route}@1.0", HARD, stream=stream)
    assert text_of(passed_on) == "sim-large says hard red green"
    assert "small" not in passed_on.text
    assert passed_on.headers["x-pointsman-tried"].startswith("sim-small=rejected, ")
    if not stream:
        assert float(passed_on.headers["x-pointsman-cost"]) > float(kept.headers["x-pointsman-cost"])


def test_a_trained_cascade_tells_good_answers_from_bad_ones(endpoint: Endpoint) -> None:
    for route in ("frugal", "verify"):
        assert ask(endpoint, route, EASY).headers["x-pointsman-expert"] == "sim-small"
        assert ask(endpoint, route, HARD).headers["x-pointsman-expert"] == "sim-large"


@pytest.mark.parametrize("stream", [False, True])
def test_a_blend_and_the_best_of_three(endpoint: Endpoint, stream: bool) -> None:
    blended = ask(endpoint, "blend", HARD, stream=stream)
    assert "says hard red green" in text_of(blended)
    assert blended.headers["x-pointsman-attempts"] == "3"
    best = ask(endpoint, "small-x3", EASY, stream=stream)
    assert text_of(best) == "sim-small says easy red green"


def test_plans_are_models_and_say_what_they_are(endpoint: Endpoint) -> None:
    cards = {card["id"]: card for card in httpx.get(f"{endpoint.plans_url}/v1/models").json()["data"]}
    assert (cards["frugal"]["router"], cards["frugal"]["independent_choices"]) == ("frugal", False)
    assert (cards["small-x3"]["kind"], cards["neural"]["independent_choices"]) == ("arm", True)
    told = httpx.post(f"{endpoint.plans_url}/v1/route", json={"model": "blend", "messages": EASY}).json()
    assert told["plan"]["kind"] == "blend"


def test_two_hundred_cascades_at_a_time(endpoint: Endpoint) -> None:
    with ThreadPoolExecutor(200) as pool:
        asked = [
            pool.submit(ask, endpoint, "frugal-neural@1.0" if i % 2 else "frugal", HARD, stream=i % 4 < 2)
            for i in range(200)
        ]
        texts = {text_of(answer.result()) for answer in asked}
    assert texts == {"sim-large says hard red green"}


def test_an_encoder_decides_in_the_scorer_pool(endpoint: Endpoint) -> None:
    for messages, expert in ((EASY, "sim-small"), (HARD, "sim-large")):
        response = ask(endpoint, "neural", messages)
        assert response.headers["x-pointsman-expert"] == expert
        assert response.headers["x-pointsman-router"] == "hybrid-det"
        assert "x-pointsman-fallback" not in response.headers


def test_a_slow_scorer_leaves_the_decision_to_the_light_router(endpoint: Endpoint) -> None:
    with stopped(replica(endpoint, "planned", "Scorer")):
        started_s = time.monotonic()
        response = ask(endpoint, "neural", HARD)
        assert time.monotonic() - started_s < 5
        assert response.headers["x-pointsman-fallback"] == "late"
        assert response.headers["x-pointsman-router"] == "hybrid-trans"
        assert response.headers["x-pointsman-expert"] == "sim-large"
        unjudged = ask(endpoint, "frugal-neural", EASY)
        assert (unjudged.headers["x-pointsman-expert"], unjudged.headers["x-pointsman-fallback"]) == (
            "sim-large",
            "late",
        )
    assert wait_for(lambda: "x-pointsman-fallback" not in ask(endpoint, "neural").headers)


def test_a_dead_scorer_is_stood_in_for_until_it_is_back(endpoint: Endpoint) -> None:
    replica(endpoint, "planned", "Scorer").kill()
    responses = []

    def back() -> bool:
        responses.append(ask(endpoint, "neural", EASY))
        return "x-pointsman-fallback" not in responses[-1].headers

    assert wait_for(back, 120)
    assert {response.status_code for response in responses} == {200}
    assert {response.headers["x-pointsman-expert"] for response in responses} == {"sim-small"}


def test_a_hanging_expert_takes_its_share_of_the_time_only(endpoint: Endpoint) -> None:
    with stopped(replica(endpoint, "sim-mortal", "Expert")):
        for stream in (False, True):
            response = ask(endpoint, "mortal", stream=stream, headers={"x-request-timeout-seconds": "4"})
            assert text_of(response) == "sim-large says easy red green"
            assert response.headers["x-pointsman-tried"] == "sim-mortal=late, sim-large=answered"
        blended = ask(endpoint, "blend")
        assert "sim-mortal=cancelled" in blended.headers["x-pointsman-tried"]
    assert wait_for(lambda: ask(endpoint, "mortal").headers["x-pointsman-expert"] == "sim-mortal")


def test_an_expert_that_keeps_hanging_is_asked_no_more_until_it_answers(endpoint: Endpoint) -> None:
    with stopped(replica(endpoint, "sim-mortal", "Expert")):
        with ThreadPoolExecutor(5) as pool:
            patient = {"x-request-timeout-seconds": "12"}
            late = [pool.submit(ask, endpoint, "mortal", headers=patient) for _ in range(5)]
            tried = {answer.result().headers["x-pointsman-tried"] for answer in late}
        assert tried == {"sim-mortal=late, sim-large=answered"}
        spared = ask(endpoint, "mortal", headers={"x-request-timeout-seconds": "60"})
        assert text_of(spared) == "sim-large says easy red green"
        assert spared.headers["x-pointsman-tried"] == "sim-mortal=skipped, sim-large=answered"
        assert spared.headers["x-pointsman-attempts"] == "1"
    assert wait_for(lambda: ask(endpoint, "mortal").headers["x-pointsman-expert"] == "sim-mortal")


def test_a_member_that_dies_amid_an_ensemble_is_left_out(endpoint: Endpoint) -> None:
    long = [{"role": "user", "content": "easy " + " ".join(["word"] * 12)}]
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(ask, endpoint, "blend", long)
        assert wait_for(lambda: running(endpoint, "sim-mortal") > 0, 5)
        replica(endpoint, "sim-mortal", "Expert").kill()
        response = answer.result()
    assert "says easy word" in text_of(response)
    assert response.headers["x-pointsman-expert"] in ("sim-small", "sim-large")
    assert "sim-mortal=accepted" not in response.headers["x-pointsman-tried"]
    assert wait_for(lambda: ask(endpoint, "sim-mortal").status_code == 200, 120)


def test_a_full_queue_passes_requests_on(endpoint: Endpoint) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(ask, endpoint, "tight") for _ in range(8)]
        experts = [answer.result().headers["x-pointsman-expert"] for answer in answers]
    assert {"sim-tight", "sim-large"} == set(experts)
    refused = [answer.result() for answer in answers if answer.result().headers["x-pointsman-expert"] == "sim-large"]
    assert {response.headers["x-pointsman-tried"] for response in refused} == {"sim-tight=refused, sim-large=answered"}


@pytest.mark.parametrize(
    ("route", "expert"), [("verify-slow", "sim-large"), ("escalate-slow", "sim-small"), ("blend-slow", "sim-mortal")]
)
def test_a_deadline_at_any_stage_still_gives_the_best_answer_there_is(
    endpoint: Endpoint, route: str, expert: str
) -> None:
    response = ask(endpoint, route, headers={"x-request-timeout-seconds": "3"})
    assert text_of(response).startswith(f"{expert} says")


def test_a_deadline_without_any_answer_is_408(endpoint: Endpoint) -> None:
    headers = {"x-request-timeout-seconds": "0.5"}
    routing = {"experts": ["sim-slow"]}
    for route in ("verify-slow", "blend-slow"):
        response = ask(endpoint, route, headers=headers, routing=routing)
        assert (response.status_code, response.json()["error"]["type"]) == (408, "timeout_error")


def test_a_client_that_leaves_a_stream_stops_the_last_expert_of_a_cascade(endpoint: Endpoint) -> None:
    assert wait_for(lambda: running(endpoint, "sim-slow") == 0)
    body = {"model": "escalate-slow", "messages": EASY, "stream": True}
    with httpx.stream("POST", f"{endpoint.plans_url}/v1/chat/completions", json=body, timeout=60) as response:
        parts = response.iter_bytes()  # kept: httpx leaves once its iterator is gone
        next(parts)
        assert running(endpoint, "sim-slow") == 1
    assert wait_for(lambda: running(endpoint, "sim-slow") == 0, 10)


def test_what_plans_cannot_do_is_refused(endpoint: Endpoint) -> None:
    for fields in ({"n": 2}, {"routing": {"threshold": 0.5}}, {"routing": {"experts": ["sim-slow"]}}):
        response = ask(endpoint, "blend", **fields)
        assert response.status_code == 400, response.text
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    assert ask(endpoint, "frugal", tools=tools).status_code == 200
    assert len(ask(endpoint, "frugal", n=2).json()["choices"]) == 2
