"""The `pointsman` command as a user calls it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.applications import CHEAP
from tests.conftest import POINTSMAN, ROOT, Endpoint, free_port, running, wait_until_ready


def run(*arguments: str | Path, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
    command = [str(POINTSMAN), *map(str, arguments)]
    environment = {**os.environ, "COLUMNS": "200"}
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, env=environment)


def write(tmp_path: Path, change: Any) -> Path:
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    change(config)
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def test_shipped_configurations_pass_the_check() -> None:
    for path in ("config.yaml", "serve/configs/demo-experts.yaml"):
        result = run("serve", path, "--check")
        assert (result.returncode, result.stderr) == (0, ""), path
        assert "is fine" in result.stdout


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["applications"][0]["args"].update(expertz={}), "'expertz' is unknown"),
        (
            lambda c: c["applications"][0]["args"]["routes"]["auto"].update(router="demo/routers/none"),
            "demo/routers/none",
        ),
        (lambda c: c["applications"][0]["args"]["experts"].pop("large"), "'large', which is not configured"),
        (lambda c: c["applications"][1]["args"].update(model="demo/experts/none"), "demo/experts/none"),
    ],
)
def test_a_wrong_configuration_ends_at_start_with_one_sentence(tmp_path: Path, change: Any, message: str) -> None:
    result = run("serve", write(tmp_path, change))
    assert result.returncode == 2
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert "Traceback" not in result.stderr + result.stdout


def test_a_port_in_use_ends_at_start(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = run("serve", write(tmp_path, lambda c: c["http_options"].update(port=port)))
    assert result.returncode == 2
    assert f"Port {port}" in result.stderr


def test_label_then_train_then_route(endpoint: Endpoint, tmp_path: Path) -> None:
    prompts, data, router = tmp_path / "prompts.jsonl", tmp_path / "data.parquet", tmp_path / "router"
    with prompts.open("w") as file:
        for number in range(60):
            split = "train" if number < 40 else "calibration"
            text = f"calculate {number} plus {number}"
            line = {"prompt_id": str(number), "prompt": text, "answer": str(2 * number), "split": split}
            file.write(json.dumps(line) + "\n")
    arguments = ("label", prompts, "--out", data, "--endpoint", f"{endpoint.url}/v1", "--experts", "small,large")
    result = run(*arguments, "--samples", "2", "--max-tokens", "8")
    assert result.returncode == 0, result.stderr
    result = run("train", "hybrid-trans", data, "--out", router, "--json")
    assert result.returncode == 0, result.stderr
    json.loads(result.stdout)
    result = run("route", router, "calculate 3 plus 3", "--json")
    assert json.loads(result.stdout)["expert"] in ("small", "large")
    result = run("route", tmp_path / "nothing", "x")
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


def test_routers_are_listed_as_json() -> None:
    names = {entry["name"] for entry in json.loads(run("routers", "--json").stdout)}
    assert {"hybrid-trans", "cluster"} <= names


def test_plain_serve_run_works_too(tmp_path: Path) -> None:
    port = free_port()
    slow = {"timing": {"step_s": 0.5}, "answer": " ".join(["word"] * 300)}
    config = {
        "http_options": {"host": "127.0.0.1", "port": port},
        "applications": [
            {
                "name": "pointsman",
                "route_prefix": "/",
                "import_path": "serve.app:build",
                "args": {
                    "experts": {"only": {"price": CHEAP}, "slow": {"price": CHEAP}},
                    "routes": {"held": {"self_verify": {"experts": ["slow", "only"]}}},
                },
            },
            {"name": "only", "route_prefix": "/experts/only", "import_path": "serve.app:simulated", "args": {}},
            {"name": "slow", "route_prefix": "/experts/slow", "import_path": "serve.app:simulated", "args": slow},
        ],
    }
    path, log = tmp_path / "config.yaml", tmp_path / "log"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    command = [str(POINTSMAN.with_name("serve")), "run", str(path)]
    quiet = {"RAY_ADDRESS": "local", "RAY_worker_niceness": "0"}
    with log.open("w") as output, running(command, output, **quiet) as process:
        wait_until_ready([f"http://127.0.0.1:{port}/health"], process, log)
        body = {"model": "only", "messages": [{"role": "user", "content": "hello"}]}
        answer = httpx.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=body)
        assert answer.json()["choices"][0]["message"]["content"] == "simulated answer to: hello"
        assert answer.headers["x-pointsman-expert"] == "only"
        leave_while_an_answer_is_held_back(f"http://127.0.0.1:{port}")


def leave_while_an_answer_is_held_back(url: str) -> None:
    """A plan's client that leaves before its first byte stops the expert."""

    def running() -> int:
        return int(httpx.get(f"{url}/v1/stats?model=slow").json()["running"])

    body = {"model": "held", "messages": [{"role": "user", "content": "hello"}]}
    with httpx.Client() as client, pytest.raises(httpx.ReadTimeout):
        client.post(f"{url}/v1/chat/completions", json=body, timeout=2)
    deadline_s = time.monotonic() + 20
    while running() and time.monotonic() < deadline_s:
        time.sleep(0.2)
    assert running() == 0
