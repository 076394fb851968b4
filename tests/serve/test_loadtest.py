"""`pointsman loadtest` on the running application with its simulated experts."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import httpx

from tests.conftest import POINTSMAN, ROOT, Endpoint


def loadtest(url: str, report: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [str(POINTSMAN), "loadtest", url, "--report", str(report), *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def figures(done: subprocess.CompletedProcess[str], report: Path) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads((report / "report.json").read_text())
    return found


def test_users_on_a_route_and_what_the_report_says_of_them(endpoint: Endpoint, tmp_path: Path) -> None:
    options = ["--model", "guess", "--users", "30", "--seconds", "12", "--processes", "2", "--max-tokens", "8"]
    done = loadtest(f"{endpoint.simulated_url}/v1", tmp_path, *options)
    found = figures(done, tmp_path)
    summary = found["summary"]
    assert summary["failures"] == {}
    assert summary["requests"] > 100
    assert 0 < summary["first_token_ms"]["p50"] <= summary["latency_ms"]["p50"] < 60_000
    assert 1 < summary["output_tokens"] <= 8
    assert set(found["experts"]) <= {"sim-small", "sim-large"}
    assert sum(of["share"] for of in found["experts"].values()) == 1
    assert found["about"]["simulated"] == sorted(found["experts"])
    assert found["client"]["processes"] == 2
    assert set(found["server"]["replicas"]["sim-small/Expert"]["values"]) == {1.0}
    assert found["server"]["queues"]
    assert {"pointsman/Router", "sim-small/Expert", "HAProxy"} <= set(found["server"]["memory"])
    assert "Simulated: sim-" in done.stdout
    assert "Replicas" in (tmp_path / "index.html").read_text()


def test_a_timing_model_is_what_the_users_see(endpoint: Endpoint, tmp_path: Path) -> None:
    options = ["--model", "sim-slow", "--users", "5", "--seconds", "4", "--max-tokens", "10", "--fixed-length"]
    summary = figures(loadtest(f"{endpoint.simulated_url}/v1", tmp_path, *options), tmp_path)["summary"]
    # A step takes 0.2 s, and gives every one of the users a token.
    assert 180 < summary["token_interval_ms"]["p50"] < 260
    assert summary["output_tokens"] == 10


def test_failures_are_reported(endpoint: Endpoint, tmp_path: Path) -> None:
    options = ["--model", "sim-slow", "--users", "2", "--seconds", "2", "--timeout-s", "1.5", "--no-stream"]
    done = loadtest(f"{endpoint.simulated_url}/v1", tmp_path, *options)
    summary = figures(done, tmp_path)["summary"]
    assert summary["failures"] == {"timeout": summary["requests"]}
    assert "timeout: No whole answer within 1.5 s" in done.stdout


def test_a_model_or_an_expert_that_is_not_there(endpoint: Endpoint, tmp_path: Path) -> None:
    done = loadtest(f"{endpoint.simulated_url}/v1", tmp_path, "--model", "nobody")
    assert (done.returncode, done.stdout) == (2, "")
    assert "has no model 'nobody': use one of guess, sim-small" in done.stderr
    done = loadtest(f"{endpoint.simulated_url}/v1", tmp_path, "--model", "sim-away")
    assert done.returncode == 2
    assert "answers a first request with 503: The connection to the expert 'sim-away'" in done.stderr


def test_an_expert_says_in_its_own_words_that_it_is_simulated(endpoint: Endpoint) -> None:
    stats = httpx.get(f"{endpoint.simulated_url}/v1/stats?model=sim-small").json()
    assert stats["simulated"] is True
    body = {"model": "sim-small", "messages": [{"role": "user", "content": "x"}], "logprobs": True}
    refused = httpx.post(f"{endpoint.simulated_url}/v1/chat/completions", json=body)
    assert refused.status_code == 400
    assert "A simulated expert has no logprobs" in refused.json()["error"]["message"]
