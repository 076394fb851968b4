import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import orjson
import pytest

from loadtests import watch
from loadtests.errors import LoadTestError
from loadtests.watch import Counts, counter_sums, find_dashboard, replica_counts, watching

METRICS = """# HELP ray_serve_replica_processing_queries x
ray_serve_replica_processing_queries{application="small",deployment="Expert",replica="a"} 3.0
ray_serve_replica_processing_queries{application="small",deployment="Expert",replica="b"} 2.0
ray_vllm_num_requests_waiting{model_name="large",engine="0"} 7.0
ray_simulated_num_requests_waiting{application="sim",deployment="Expert"} 4.0
ray_pointsman_attempts_total{expert="small",outcome="answered"} 5.0
ray_pointsman_attempts_total{expert="large",outcome="answered"} 2.0
ray_pointsman_attempts_total{expert="large",outcome="failed"} 1.0
ray_other{application="small"} 9.0
"""


def replica(state: str) -> dict[str, str]:
    return {"state": state}


@pytest.fixture
def dashboard() -> Iterator[str]:
    """Ray's dashboard and metrics in their published forms, on this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            states = ("RUNNING", "STARTING", "RUNNING", "STOPPING")
            expert = {"target_num_replicas": 3, "replicas": [replica(state) for state in states]}
            details = {
                "http_options": {"port": 8123},
                "applications": {"small": {"deployments": {"Expert": expert}}},
            }
            found = {
                "/api/serve/applications/": orjson.dumps(details),
                "/api/prometheus/sd": orjson.dumps([{"labels": {}, "targets": [f"127.0.0.1:{server.server_port}"]}]),
                "/metrics": METRICS.encode(),
            }.get(self.path)
            self.send_response(404 if found is None else 200)
            self.end_headers()
            self.wfile.write(found or b"")

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_replicas_and_queues_are_noted(dashboard: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_EVERY_S", 0.05)
    started_s = time.time()
    with watching(dashboard) as log:
        deadline_s = time.monotonic() + 10
        while not (log.queues and log.replicas) and time.monotonic() < deadline_s:
            time.sleep(0.05)
    found = log.as_json(started_s)
    assert set(found["replicas"]["small/Expert"]["values"]) == {2.0}
    assert set(found["held"]["small/Expert"]["values"]) == {4.0}
    assert set(found["wanted"]["small/Expert"]["values"]) == {3.0}
    assert {name: points["values"][0] for name, points in found["queues"].items()} == {
        "under_way small": 5.0,
        "waiting large": 7.0,
        "waiting sim": 4.0,
    }
    assert found["machine_cpu"]["machine"]["values"]
    assert found["unreachable"] == ""


def test_replicas_can_be_asked_for_once(dashboard: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_EVERY_S", 0.01)
    assert replica_counts(dashboard) == {"small/Expert": Counts(running=2, held=4, wanted=3)}
    with pytest.raises(LoadTestError, match="does not answer"):
        replica_counts("http://127.0.0.1:9")


def test_counters_are_summed_by_a_label(dashboard: str) -> None:
    assert counter_sums(dashboard, "pointsman_attempts", "outcome") == {"answered": 7.0, "failed": 1.0}
    with pytest.raises(LoadTestError, match="cannot be read"):
        counter_sums("http://127.0.0.1:9", "pointsman_attempts", "outcome")


def test_the_dashboard_is_found_by_the_port_of_its_endpoint(dashboard: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_own_dashboards", lambda: ["http://127.0.0.1:9", dashboard])
    assert find_dashboard(8123) == dashboard
    assert find_dashboard(8124) is None


@pytest.mark.parametrize("address", [None, "http://127.0.0.1:9"])
def test_a_dashboard_that_is_not_there_is_said(address: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_EVERY_S", 0.02)
    with watching(address) as log:
        deadline_s = time.monotonic() + 20
        while not (log.unreachable and log.machine_cpu) and time.monotonic() < deadline_s:
            time.sleep(0.05)
    assert "dashboard" in log.unreachable
    assert log.machine_cpu


def test_only_this_users_own_dashboards_are_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "dashboard" / "dashboard.py"
    script.parent.mkdir()
    script.write_text(
        "import socket, sys, time\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "print(server.getsockname()[1], flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = f"http://127.0.0.1:{process.stdout.readline().strip()}"
        assert url in set(watch._own_dashboards())
        monkeypatch.setattr("os.getuid", lambda: 12_345)
        assert url not in set(watch._own_dashboards())
        process.kill()
