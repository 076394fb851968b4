"""What changes while the endpoint runs: policies by SIGHUP, replicas by load."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import yaml

from tests.conftest import Endpoint

EASY = {"model": "guess", "messages": [{"role": "user", "content": "easy red tall"}]}


def wait_for(what: Callable[[], bool], timeout_s: float) -> bool:
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        if what():
            return True
        time.sleep(0.5)
    return False


def replicas_of(endpoint: Endpoint, application: str) -> int:
    """Replicas that Serve counts as healthy now."""
    text = httpx.get(endpoint.metrics_url).text
    lines = re.findall(r"^ray_serve_deployment_replica_healthy\{(.*)\} 1\.0$", text, re.MULTILINE)
    names = {re.search(r'replica="([^"]+)"', line)[1] for line in lines if f'application="{application}"' in line}  # type: ignore[index]
    return len(names)


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

    assert replicas_of(endpoint, "sim-scaled") == 1
    with ThreadPoolExecutor(16) as pool:
        answers = [pool.submit(ask, number) for number in range(64)]
        assert wait_for(lambda: replicas_of(endpoint, "sim-scaled") == 2, 60)
        assert {answer.result() for answer in answers} == {"stop"}
