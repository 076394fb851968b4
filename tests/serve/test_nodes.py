"""Experts spread over two Ray nodes, which one machine can be, behind HAProxy as `pointsman serve` starts it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from ray._private.node import Node
from ray.cluster_utils import Cluster
from ray.dashboard.modules.serve.sdk import ServeSubmissionClient

from serve.commands.serve import FAST_ENVIRONMENT
from tests.applications import CHEAP, DEAR
from tests.conftest import free_port

START_TIMEOUT_S = 90
REQUEST_TIMEOUT_S = 4
PORTS = ("RAY_SERVE_HAPROXY_METRICS_PORT", "RAY_SERVE_HAPROXY_STATS_PORT", "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT")


@dataclass(frozen=True)
class TwoNodes:
    """A cluster whose second node holds `sim-small`, and the first one everything else."""

    cluster: Cluster
    second: Node
    client: ServeSubmissionClient
    url: str

    def ask(self, model: str) -> httpx.Response:
        body = {"model": model, "messages": [{"role": "user", "content": "easy red tall"}]}
        return httpx.post(f"{self.url}/v1/chat/completions", json=body, timeout=2 * REQUEST_TIMEOUT_S)

    def replica(self, application: str) -> dict[str, Any]:
        found = self.client.get_serve_details()["applications"][application]["deployments"]
        replica: dict[str, Any] = next(iter(found.values()))["replicas"][0]
        return replica


@pytest.fixture
def two_nodes(synthetic_router: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TwoNodes]:
    ports = {name: str(free_port()) for name in PORTS}
    for name, value in {**FAST_ENVIRONMENT, **ports, "RAY_worker_niceness": "0"}.items():
        monkeypatch.setenv(name, value)
    port = free_port()
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"resources": {"first": 1}, "include_dashboard": True, "dashboard_port": free_port()},
    )
    try:
        second = cluster.add_node(resources={"second": 1})
        client = ServeSubmissionClient(f"http://{cluster.webui_url}")
        client.deploy_applications(configuration(synthetic_router, port))
        wait_until_running(client)
        yield TwoNodes(cluster, second, client, f"http://127.0.0.1:{port}")
    finally:
        cluster.shutdown()


def configuration(router: Path, port: int) -> dict[str, Any]:
    args = {
        "experts": {"sim-small": {"price": CHEAP}, "sim-large": {"price": DEAR}},
        "routes": {"guess": {"router": str(router)}},
        "default_route": "guess",
        "limits": {"request_timeout_s": REQUEST_TIMEOUT_S},
    }
    endpoint = {"name": "pointsman", "route_prefix": "/", "import_path": "serve.app:build", "args": args}
    return {
        "proxy_location": "HeadOnly",
        "http_options": {"host": "127.0.0.1", "port": port},
        "applications": [
            pinned(endpoint, "Router", "first"),
            pinned(expert("sim-small"), "Expert", "second"),
            pinned(expert("sim-large"), "Expert", "first"),
        ],
    }


def expert(name: str) -> dict[str, Any]:
    args = {"answer": f"{name} says {{prompt}}"}
    return {"name": name, "route_prefix": f"/experts/{name}", "import_path": "serve.app:simulated", "args": args}


def pinned(application: dict[str, Any], deployment: str, node: str) -> dict[str, Any]:
    """The application with its replica on the node that has a resource of this name."""
    options = {"num_cpus": 0, "resources": {node: 0.1}}
    return {**application, "deployments": [{"name": deployment, "ray_actor_options": options}]}


def wait_until_running(client: ServeSubmissionClient) -> None:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while True:
        found = {name: app["status"] for name, app in client.get_serve_details()["applications"].items()}
        if found and set(found.values()) == {"RUNNING"}:
            return
        assert time.monotonic() < deadline_s, found
        time.sleep(0.3)


def test_experts_on_two_nodes_answer_and_one_of_them_may_go(two_nodes: TwoNodes) -> None:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    # HAProxy learns of replicas a moment after Serve says that they run.
    while two_nodes.ask("sim-small").status_code != 200:
        assert time.monotonic() < deadline_s
    small, large = two_nodes.replica("sim-small"), two_nodes.replica("sim-large")
    assert small["node_id"] == two_nodes.second.node_id
    assert large["node_id"] == two_nodes.cluster.head_node.node_id
    assert two_nodes.ask("guess").json()["choices"][0]["message"]["content"] == "sim-small says easy red tall"
    assert two_nodes.ask("sim-large").status_code == 200

    two_nodes.cluster.remove_node(two_nodes.second, allow_graceful=False)
    # The workers of a machine that fails are gone with it.
    os.kill(small["pid"], signal.SIGKILL)
    for _ in range(2):
        from_s = time.monotonic()
        answer = two_nodes.ask("guess")
        assert time.monotonic() - from_s < REQUEST_TIMEOUT_S
        assert (answer.status_code, answer.headers["x-pointsman-expert"]) == (200, "sim-large")
        assert answer.headers["x-pointsman-tried"].startswith("sim-small=")
    assert two_nodes.ask("sim-small").status_code in (408, 503)
