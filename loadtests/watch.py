"""What Ray Serve says of itself while a load runs: replicas by its REST API, queues by Ray's metrics."""

from __future__ import annotations

import os
import re
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import httpx
import psutil

from loadtests.errors import LoadTestError
from loadtests.memory import memory_gib

__all__ = ["Counts", "Moment", "ServerLog", "counter_sums", "find_dashboard", "replica_counts", "watching"]

_DASHBOARD = "dashboard/dashboard.py"
_EVERY_S = 1.0
_METRICS_EVERY_S = 5.0
# To count shared pages takes some milliseconds for each process.
_MEMORY_EVERY_S = 10.0
# A dashboard that has just started, or whose machine is busy, takes its time.
_TIMEOUT_S = 10.0
_TRIES = 4
_SAMPLE = re.compile(r"^(\w+)\{([^}]*)\} ([0-9.e+-]+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')
# What is counted as which quantity; of an engine's own queue whatever its name begins with.
_QUANTITIES = {
    "serve_replica_processing_queries": "under_way",
    "serve_deployment_queued_queries": "queued",
    "num_requests_waiting": "waiting",
    "num_requests_running": "running",
}


class Moment(NamedTuple):
    """Some values at a time in seconds since the epoch."""

    at_s: float
    values: dict[str, float]


class Counts(NamedTuple):
    """Replicas of a deployment: those that run, those that exist (also starting and draining ones), those wanted."""

    running: int
    held: int
    wanted: int


@dataclass
class ServerLog:
    """Values by time; times are seconds since the epoch.

    Attributes:
        replicas: running replicas of each application's deployments, as `application/deployment`.
        held: likewise, with those that start or drain.
        wanted: replicas that Serve wants of each.
        queues: requests by quantity and application, as `quantity application`: `under_way` in replicas, `queued`
            before them, `running` and `waiting` in engines.
        machine_cpu: share of all this machine's processors in use.
        memory: GiB of each deployment's replicas, and of engines and proxies, on this machine.
        unreachable: why there are no replicas, in words; empty where there are.
    """

    replicas: list[Moment] = field(default_factory=list)
    held: list[Moment] = field(default_factory=list)
    wanted: list[Moment] = field(default_factory=list)
    queues: list[Moment] = field(default_factory=list)
    machine_cpu: list[Moment] = field(default_factory=list)
    memory: list[Moment] = field(default_factory=list)
    unreachable: str = ""

    def as_json(self, started_s: float) -> dict[str, Any]:
        """Series by name, on the load test's own clock."""
        return {
            "unreachable": self.unreachable,
            "replicas": _series(self.replicas, started_s),
            "held": _series(self.held, started_s),
            "wanted": _series(self.wanted, started_s),
            "queues": _series(self.queues, started_s),
            "machine_cpu": _series(self.machine_cpu, started_s),
            "memory": _series(self.memory, started_s),
        }


def find_dashboard(port: int) -> str | None:
    """This user's Ray dashboard on this machine whose Serve listens on a port; None if there is none.

    Args:
        port: of Serve's HTTP proxy.
    """
    for url in _own_dashboards():
        try:
            answer = httpx.get(f"{url}/api/serve/applications/", headers=_token(), timeout=_TIMEOUT_S)
            details = answer.raise_for_status().json()
        except (httpx.HTTPError, ValueError):
            continue
        if (details.get("http_options") or {}).get("port") == port:
            return url
    return None


def replica_counts(dashboard: str) -> dict[str, Counts]:
    """Replicas of each deployment now, as `application/deployment`.

    Args:
        dashboard: URL of Ray's dashboard.

    Raises:
        LoadTestError: it does not answer.
    """
    for left in reversed(range(_TRIES)):
        try:
            answer = httpx.get(f"{dashboard}/api/serve/applications/", headers=_token(), timeout=_TIMEOUT_S)
            return _counts(answer.raise_for_status().json())
        except (httpx.HTTPError, ValueError, KeyError) as error:
            if not left:
                raise LoadTestError(
                    f"Ray's dashboard at {dashboard} does not answer ({error}): see whether it runs."
                ) from None
            time.sleep(_EVERY_S)
    raise AssertionError("the last try returns or raises")


def counter_sums(dashboard: str, name: str, label: str) -> dict[str, float]:
    """A counter among Ray's metrics, summed by one of its labels; it may lie ten seconds back.

    Args:
        dashboard: URL of Ray's dashboard.
        name: the counter's, as its deployment calls it.
        label: whose values to tell apart.

    Raises:
        LoadTestError: the metrics cannot be read.
    """
    sums: defaultdict[str, float] = defaultdict(float)
    try:
        with httpx.Client(timeout=_TIMEOUT_S) as client:
            samples = list(_Metrics(client, dashboard, _token()).samples())
    except (httpx.HTTPError, ValueError, KeyError) as error:
        raise LoadTestError(f"Ray's metrics at {dashboard} cannot be read ({error}): see whether it runs.") from None
    for found, labels, value in samples:
        if found == f"ray_{name}_total":
            sums[labels.get(label, "")] += value
    return dict(sums)


def _counts(details: Any) -> dict[str, Counts]:
    return {
        f"{name}/{deployment}": Counts(
            running=sum(replica["state"] == "RUNNING" for replica in found["replicas"]),
            held=len(found["replicas"]),
            wanted=found["target_num_replicas"],
        )
        for name, application in details["applications"].items()
        for deployment, found in application["deployments"].items()
    }


def _own_dashboards() -> Iterator[str]:
    """Where this user's Ray dashboards listen; nobody else is shown the user's token."""
    for process in psutil.process_iter():
        try:
            if process.uids().real == os.getuid() and any(_DASHBOARD in part for part in process.cmdline()):
                listening = [c.laddr for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
                yield from (f"http://{address.ip}:{address.port}" for address in listening)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue


def _token() -> dict[str, str]:
    """The headers by which a Ray instance that asks for a token knows its own user; none where the user has none."""
    try:
        # What Ray's own clients use has no public home yet.
        from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]
    except ImportError:
        return {}
    return dict(AuthenticationTokenLoader.instance().get_token_for_http_header(ignore_auth_mode=True))


@contextmanager
def watching(dashboard: str | None) -> Iterator[ServerLog]:
    """Watch in a thread until the end of the `with` block.

    Args:
        dashboard: URL of Ray's dashboard; None where it is not known.
    """
    log = ServerLog(unreachable="" if dashboard else "no Ray dashboard on this machine belongs to this endpoint")
    ended = threading.Event()
    headers = _token() if dashboard else {}
    thread = threading.Thread(target=_watch, args=(dashboard, headers, log, ended), daemon=True)
    thread.start()
    try:
        yield log
    finally:
        ended.set()
        thread.join(_TIMEOUT_S)


def _watch(dashboard: str | None, headers: dict[str, str], log: ServerLog, ended: threading.Event) -> None:
    psutil.cpu_percent()
    with httpx.Client(timeout=_TIMEOUT_S) as client:
        metrics = None if dashboard is None else _Metrics(client, dashboard, headers)
        next_memory_s = 0.0
        while not ended.wait(_EVERY_S):
            log.machine_cpu.append(Moment(time.time(), {"machine": psutil.cpu_percent() / 100}))
            if metrics is None:
                continue
            _look(metrics, log)
            if time.monotonic() >= next_memory_s:
                next_memory_s = time.monotonic() + _MEMORY_EVERY_S
                log.memory.append(Moment(time.time(), memory_gib()))


def _look(metrics: _Metrics, log: ServerLog) -> None:
    try:
        counts = metrics.replicas()
        at_s = time.time()
        log.replicas.append(Moment(at_s, {name: float(count.running) for name, count in counts.items()}))
        log.held.append(Moment(at_s, {name: float(count.held) for name, count in counts.items()}))
        log.wanted.append(Moment(at_s, {name: float(count.wanted) for name, count in counts.items()}))
        queues = metrics.queues()
    except (httpx.HTTPError, ValueError, KeyError) as error:
        log.unreachable = f"Ray's dashboard at {metrics.dashboard} did not always answer ({error})"
        return
    if queues is not None:
        log.queues.append(Moment(time.time(), queues))


class _Metrics:
    """What a Ray dashboard and the nodes behind it say now."""

    def __init__(self, client: httpx.Client, dashboard: str, headers: dict[str, str]) -> None:
        self.dashboard = dashboard
        self._client = client
        self._headers = headers
        self._targets: list[str] | None = None
        self._next_queues_s = 0.0

    def replicas(self) -> dict[str, Counts]:
        """Replicas of each deployment."""
        return _counts(self._json("/api/serve/applications/"))

    def queues(self) -> dict[str, float] | None:
        """Requests by quantity and application; None where it is too early to look again."""
        if time.monotonic() < self._next_queues_s:
            return None
        self._next_queues_s = time.monotonic() + _METRICS_EVERY_S
        sums: defaultdict[str, float] = defaultdict(float)
        for name, of, value in self.samples():
            quantity = next((word for known, word in _QUANTITIES.items() if name.endswith(known)), None)
            if quantity is not None:
                sums[f"{quantity} {of.get('application') or of.get('model_name', '')}".strip()] += value
        return dict(sums)

    def samples(self) -> Iterator[tuple[str, dict[str, str], float]]:
        """Name, labels and value of all that every node exports."""
        if self._targets is None:
            groups = self._json("/api/prometheus/sd")
            self._targets = sorted({target for group in groups for target in group["targets"]})
        for target in self._targets:
            text = self._client.get(f"http://{target}/metrics").raise_for_status().text
            for name, labels, value in _SAMPLE.findall(text):
                yield name, dict(_LABEL.findall(labels)), float(value)

    def _json(self, path: str) -> Any:
        answer = self._client.get(f"{self.dashboard}{path}", headers=self._headers)
        return answer.raise_for_status().json()


def _series(points: Iterable[Moment], started_s: float) -> dict[str, dict[str, list[float]]]:
    series: defaultdict[str, dict[str, list[float]]] = defaultdict(lambda: {"t_s": [], "values": []})
    for at_s, values in points:
        for name, value in values.items():
            if at_s >= started_s:
                series[name]["t_s"].append(at_s - started_s)
                series[name]["values"].append(value)
    return dict(series)
