"""One running Pointsman for the whole run: the demo with real vLLM, and simulated experts beside it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import yaml

from loadtests.watch import find_dashboard
from routers import make_router, save_router
from tests.applications import planned_applications, simulated_applications
from tests.synthetic import synthetic_data

ROOT = Path(__file__).parent.parent
POINTSMAN = Path(sys.executable).with_name("pointsman")
START_TIMEOUT_S = 540
STOP_TIMEOUT_S = 120


@dataclass(frozen=True)
class Endpoint:
    """Where the running applications answer."""

    url: str
    simulated_url: str
    plans_url: str
    pid: int
    config: Path

    @property
    def dashboard(self) -> str:
        """URL of this Ray instance's dashboard."""
        url = find_dashboard(httpx.URL(self.url).port or 80)
        assert url is not None
        return url

    @property
    def metrics_url(self) -> str:
        """Where this Ray instance exports its metrics; its session is named after the process that started it."""
        session = next(Path("/tmp/ray").glob(f"session_*_{self.pid}"))
        return f"http://127.0.0.1:{next(session.glob('metrics_export_port_*')).read_text()}/metrics"

    def client(self, *, simulated: bool = False) -> openai.OpenAI:
        """A client as any user has one; it does not try again by itself."""
        base = self.simulated_url if simulated else self.url
        return openai.OpenAI(base_url=f"{base}/v1", api_key="none", max_retries=0, timeout=120)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def synthetic_router(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained two-model router between the simulated experts."""
    path = tmp_path_factory.mktemp("routers") / "synthetic"
    router = make_router("hybrid-trans", small="sim-small", large="sim-large")
    save_router(router.fit(synthetic_data("sim-small", "sim-large")), path)
    return path


@pytest.fixture(scope="session")
def endpoint(synthetic_router: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """`pointsman serve` on config.yaml, with the simulated applications added."""
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    port = free_port()
    config["http_options"]["port"] = port
    config["applications"] += simulated_applications(synthetic_router, free_port())
    config["applications"] += planned_applications(synthetic_router, tmp_path_factory.mktemp("plans"))
    directory = tmp_path_factory.mktemp("serve")
    path, log = directory / "config.yaml", directory / "log"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    # A replica that goes is waited for less than half a minute.
    with (
        log.open("w") as output,
        running(
            [str(POINTSMAN), "serve", str(path)], output, RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S="2"
        ) as process,
    ):
        url = f"http://127.0.0.1:{port}"
        wait_until_ready([f"{url}{prefix}/health" for prefix in ("", "/sim", "/plans")], process, log)
        yield Endpoint(url, f"{url}/sim", f"{url}/plans", process.pid, path)


class running:  # noqa: N801 (reads as a context manager)
    """A process of its own group, interrupted as Ctrl-C would at the end."""

    def __init__(self, command: list[str], output: Any, **environment: str) -> None:
        self._command = command
        self._output = output
        self._environment = {**os.environ, **environment}

    def __enter__(self) -> subprocess.Popen[bytes]:
        self.process = subprocess.Popen(
            self._command,
            cwd=ROOT,
            env=self._environment,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        return self.process

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


def wait_until_ready(urls: list[str], process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until every URL answers 200, or fail with what the process said."""
    deadline_s = time.monotonic() + START_TIMEOUT_S
    waiting = list(urls)
    while waiting:
        if process.poll() is not None or time.monotonic() > deadline_s:
            pytest.fail(f"not ready: {waiting}\n{log.read_text()[-4000:]}", pytrace=False)
        try:
            if httpx.get(waiting[0], timeout=5).status_code == 200:
                waiting.pop(0)
                continue
        except httpx.HTTPError:
            pass
        time.sleep(0.5)
