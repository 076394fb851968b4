"""What changes while the endpoint runs: policies by SIGHUP, replicas by load."""

from __future__ import annotations

import os
import resource
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

from loadtests.watch import Counts, replica_counts
from serve.haproxy import most_connections
from tests.conftest import Endpoint

EASY = {"model": "guess", "messages": [{"role": "user", "content": "easy red tall"}]}


def wait_for(what: Callable[[], bool], timeout_s: float) -> bool:
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        if what():
            return True
        time.sleep(0.5)
    return False


def test_a_policy_changes_without_a_restart(endpoint: Endpoint) -> None:
    def asked() -> dict[str, Any]:
        answer: dict[str, Any] = httpx.post(f"{endpoint.simulated_url}/v1/route", json=EASY).json()
        return answer

    def started_s() -> list[int]:
        cards = httpx.get(f"{endpoint.simulated_url}/v1/models").json()["data"]
        return [card["created"] for card in cards]

    def reload(policies: dict[str, Any]) -> None:
        config = yaml.safe_load(endpoint.config.read_text())
        app = next(app for app in config["applications"] if app["name"] == "simulated")
        app["deployments"] = [{"name": "Router", "user_config": {"policies": policies}}]
        endpoint.config.write_text(yaml.safe_dump(config, sort_keys=False))
        os.kill(endpoint.pid, signal.SIGHUP)

    before, since = asked(), started_s()
    assert before["expert"] == "sim-small"
    reload({"guess": {"threshold": 0.0}})
    assert wait_for(lambda: asked()["threshold"] == 0.0, 30)
    assert asked()["expert"] == "sim-large"
    reload({})
    assert wait_for(lambda: asked()["threshold"] == before["threshold"], 30)
    assert asked()["expert"] == "sim-small"
    assert started_s() == since


def test_an_expert_gets_a_replica_under_load_and_loses_no_request(endpoint: Endpoint) -> None:
    client = endpoint.client(simulated=True)

    def ask(number: int) -> str:
        answer = client.chat.completions.create(
            model="sim-scaled", messages=[{"role": "user", "content": f"easy {number}"}]
        )
        return str(answer.choices[0].finish_reason)

    def replicas() -> Counts:
        return replica_counts(endpoint.dashboard)["sim-scaled/Expert"]

    assert replicas() == (1, 1, 1)
    with ThreadPoolExecutor(16) as pool:
        answers = [pool.submit(ask, number) for number in range(48)]
        assert wait_for(lambda: replicas().running == 2, 60)
        assert {answer.result() for answer in answers} == {"stop"}
    ended = threading.Event()

    def keep_asking() -> list[str]:
        found = []
        while not ended.is_set():
            found.append(ask(0))
        return found

    with ThreadPoolExecutor(3) as pool:
        asking = [pool.submit(keep_asking) for _ in range(3)]
        left = wait_for(lambda: replicas() == (1, 1, 1), 60)
        ended.set()
        assert left
        assert {reason for found in asking for reason in found.result()} == {"stop"}


def test_an_expert_sleeps_and_wakes_and_loses_no_request(endpoint: Endpoint) -> None:
    def ask(**headers: str) -> httpx.Response:
        body = {"model": "asleep", "messages": [{"role": "user", "content": "easy red tall"}]}
        return httpx.post(f"{endpoint.plans_url}/v1/chat/completions", json=body, headers=headers, timeout=60)

    def replicas() -> Counts:
        return replica_counts(endpoint.dashboard)["sim-asleep/Expert"]

    assert replicas() == (0, 0, 0)
    hurried = ask(**{"x-request-timeout-seconds": "1"})
    assert hurried.json()["choices"][0]["message"]["content"] == "sim-large says easy red tall"
    assert hurried.headers["x-pointsman-tried"] == "sim-asleep=late, sim-large=answered"
    woken = ask()
    assert woken.json()["choices"][0]["message"]["content"] == "sim-asleep says easy red tall"
    assert woken.headers["x-pointsman-attempts"] == "1"
    assert wait_for(lambda: replicas().wanted == 0, 40)
    # Its last replica drains while the next request comes.
    again = ask()
    assert (again.status_code, again.headers["x-pointsman-expert"]) == (200, "sim-asleep")


def test_haproxy_runs_with_room_for_idle_connections(endpoint: Endpoint) -> None:
    processes = psutil.Process(endpoint.pid).children(recursive=True)
    lines = [process.cmdline() for process in processes if process.name() == "haproxy"]
    assert lines
    for line in lines:
        pools, own = (Path(line[place + 1]) for place, word in enumerate(line) if word == "-f")
        assert "tune.pool-high-fd-ratio" in pools.read_text()
        assert f"maxconn {most_connections(resource.getrlimit(resource.RLIMIT_NOFILE)[1])}" in own.read_text()
        assert "inter 10s" in own.read_text()
