"""Growth: what a Router costs, how many requests more Routers and more experts give, until the machine is the limit."""

from __future__ import annotations

import copy
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from loadtests.closed_loop import Load, measure
from loadtests.errors import LoadTestError
from loadtests.processes import command_of, family, processor_s
from loadtests.stacks import free_port, running
from loadtests.watch import find_dashboard, replica_counts
from routers import ParameterError
from serve.bench_stacks import instant_stack, pointsman_server, written

__all__ = ["FULL", "Counts", "Point", "grow"]

FULL = 0.9
_TOKENS = 16
_USERS = 64
# A replica that runs eight answers of 16 tokens at a time, each in a little more than 16 steps: about three a second.
_SLOW: Mapping[str, Any] = {"timing": {"step_s": 0.16}, "capacity": {"max_sequences": 8}}
_USERS_AN_EXPERT = 10
_WARMUP_S = 8.0
_SETTLE_S = 3.0
_PATIENCE_S = 180.0
_NOWHERE = "http://127.0.0.1:9/v1"
_EXPERT = "small"
_PARTS = {
    "router": ("ServeReplica:pointsman:Router",),
    "haproxy": ("haproxy -db", "/haproxy "),
    "experts": ("ServeReplica:small:Expert", "loadtests.instant_expert"),
}


@dataclass(frozen=True)
class Counts:
    """How many Routers and experts to measure, ascending, and the measured seconds of each."""

    routers: tuple[int, ...]
    experts: tuple[int, ...]
    seconds: float


@dataclass(frozen=True)
class Point:
    """What so many Routers or experts gave.

    Attributes:
        count: of them.
        requests_per_s: good answers.
        failures: requests without one.
        machine_cpu: share of all processors in use, by whatever runs here.
        client_cpu: processors that the load generator used.
        cpu_s: processor-seconds a request, of `router`, `haproxy` and `experts`, all of each together.
        bytes_per_request: on the loopback interface, which every hop passes in both directions.
    """

    count: int
    requests_per_s: float
    failures: int
    machine_cpu: float
    client_cpu: float
    cpu_s: dict[str, float]
    bytes_per_request: float


def grow(settings: Mapping[str, Any], folder: Path, counts: Counts, told: Callable[[str], None]) -> dict[str, Any]:
    """Measure both kinds of growth.

    Args:
        settings: a configuration with an expert `small`.
        folder: where logs go.
        counts: what to measure.
        told: what is being done.

    Raises:
        LoadTestError: something does not start.
    """
    routers = _routers(settings, folder, counts, told)
    experts = _experts(settings, folder, counts, told)
    return {
        "processors": psutil.cpu_count(),
        "seconds": counts.seconds,
        "answer_tokens": _TOKENS,
        "users": _USERS,
        "users_an_expert": _USERS_AN_EXPERT,
        "expert": {name: dict(values) for name, values in _SLOW.items()},
        "routers": [asdict(point) for point in routers],
        "experts": [asdict(point) for point in experts],
    }


def _routers(settings: Mapping[str, Any], folder: Path, counts: Counts, told: Callable[[str], None]) -> list[Point]:
    instant = instant_stack("instant expert")

    def configured(count: int) -> dict[str, Any]:
        return _configuration(settings, routers=count, expert={"url": instant.url})

    users = dict.fromkeys(counts.routers, _USERS)
    server = _Server(folder / "routers.yaml", "pointsman/Router", behind=(instant,))
    return list(server.points(configured, users, counts.seconds, lambda count: told(f"{count} Routers")))


def _experts(settings: Mapping[str, Any], folder: Path, counts: Counts, told: Callable[[str], None]) -> list[Point]:
    def configured(count: int) -> dict[str, Any]:
        return _configuration(settings, routers=1, expert={}, replicas=count)

    users = {count: count * _USERS_AN_EXPERT for count in counts.experts}
    server = _Server(folder / "experts.yaml", f"{_EXPERT}/Expert")
    return list(server.points(configured, users, counts.seconds, lambda count: told(f"{count} experts")))


@dataclass(frozen=True)
class _Server:
    """`pointsman serve` on a configuration that changes while it runs."""

    path: Path
    pool: str
    behind: Sequence[Any] = ()

    def points(
        self,
        configured: Callable[[int], dict[str, Any]],
        users: Mapping[int, int],
        seconds: float,
        told: Callable[[int], None],
    ) -> Iterator[Point]:
        """Measure each count in turn."""
        counts, port = list(users), free_port()
        settings = configured(counts[0])
        stack = pointsman_server(settings, {"auto": "auto"}, self.path, port, behind=self.behind)
        with running(stack, self.path.with_suffix(".log"), expected_tokens=_TOKENS) as processes:
            dashboard = find_dashboard(port)
            if dashboard is None:
                raise LoadTestError("Ray's dashboard was not found, which knows the replicas: see whether it runs.")
            for count in counts:
                told(count)
                if count != counts[0]:
                    written({**configured(count), "http_options": {"host": "127.0.0.1", "port": port}}, self.path)
                    processes[0].send_signal(signal.SIGHUP)
                _wait_for(dashboard, self.pool, count)
                load = Load(stack.url, "auto", users[count], seconds, max_tokens=_TOKENS, warmup_s=_WARMUP_S)
                yield _measured(count, load, processes)


def _configuration(
    settings: Mapping[str, Any], *, routers: int, expert: Mapping[str, Any], replicas: int = 0
) -> dict[str, Any]:
    """The endpoint with a fixed number of Routers; every prompt is scored, and goes to one expert."""
    apps = {app["import_path"]: app for app in copy.deepcopy(settings["applications"])}
    endpoint = apps["serve.app:build"]
    args = endpoint["args"]
    if _EXPERT not in args["experts"] or "auto" not in args.get("routes", {}):
        raise ParameterError(
            f"Growth is measured with an expert {_EXPERT!r} and a route 'auto': the configuration lacks one."
        )
    args["experts"] = {
        name: {"price": of["price"], "url": _NOWHERE, "probe": False} for name, of in args["experts"].items()
    } | {_EXPERT: {"price": args["experts"][_EXPERT]["price"], **expert}}
    route = args["routes"]["auto"]
    args["routes"] = {"auto": {**route, "policy": {**route.get("policy", {}), "experts": [_EXPERT]}}}
    endpoint["deployments"] = [{"name": "Router", "num_replicas": routers}]
    applications = [endpoint]
    if replicas:
        applications.append(
            {
                "name": _EXPERT,
                "route_prefix": f"/experts/{_EXPERT}",
                "import_path": "serve.app:simulated",
                "args": {name: dict(values) for name, values in _SLOW.items()},
                "deployments": [{"name": "Expert", "num_replicas": replicas}],
            }
        )
    return {"proxy_location": "EveryNode", "applications": applications}


def _wait_for(dashboard: str, pool: str, count: int) -> None:
    until_s = time.monotonic() + _PATIENCE_S
    while replica_counts(dashboard)[pool].running != count:
        if time.monotonic() > until_s:
            raise LoadTestError(
                f"{pool} had no {count} replicas within {_PATIENCE_S:g} s: see Serve's log of its controller."
            )
        time.sleep(1.0)
    time.sleep(_SETTLE_S)


def _measured(count: int, load: Load, processes: Sequence[psutil.Process]) -> Point:
    """Put the load on, and see what everybody used between the first and the last moment of the measured time."""
    meter = _Meter(processes)
    result = measure(load, meter.look)
    used = meter.used()
    answered = max(result.requests_per_s * used.seconds, 1e-9)
    return Point(
        count=count,
        requests_per_s=result.requests_per_s,
        failures=sum(result.failures.values()),
        machine_cpu=used.machine,
        client_cpu=result.client_cpu,
        cpu_s={part: cpu_s / answered for part, cpu_s in used.cpu_s.items()},
        bytes_per_request=used.bytes_ / answered,
    )


@dataclass(frozen=True)
class _Look:
    """What was used until a moment."""

    at_s: float
    busy_s: float
    bytes_: float
    cpu_s: dict[str, float]


@dataclass(frozen=True)
class _Used:
    """What was used between two moments; `machine` is a share of all processors."""

    seconds: float
    machine: float
    bytes_: float
    cpu_s: dict[str, float]


class _Meter:
    """Processor time of the parts of a server, of the machine, and bytes on the loopback interface."""

    def __init__(self, processes: Sequence[psutil.Process]) -> None:
        members = family(processes)
        self._members = {part: [m for m in members if _is(m, marks)] for part, marks in _PARTS.items()}
        self._first: _Look | None = None
        self._last: _Look | None = None

    def look(self, measured_s: float) -> None:
        """Look now."""
        busy = psutil.cpu_times()
        self._last = _Look(
            time.perf_counter(),
            sum(busy) - busy.idle - busy.iowait - getattr(busy, "guest", 0.0) - getattr(busy, "guest_nice", 0.0),
            float(psutil.net_io_counters(pernic=True)["lo"].bytes_sent),
            {part: sum(map(processor_s, members)) for part, members in self._members.items()},
        )
        self._first = self._first or self._last

    def used(self) -> _Used:
        """What was used between the first look and the last one."""
        assert self._first is not None and self._last is not None  # noqa: S101, PT018 (a load looks several times)
        first, last = self._first, self._last
        seconds = max(last.at_s - first.at_s, 1e-9)
        return _Used(
            seconds,
            (last.busy_s - first.busy_s) / seconds / (psutil.cpu_count() or 1),
            last.bytes_ - first.bytes_,
            {part: last.cpu_s[part] - first.cpu_s[part] for part in last.cpu_s},
        )


def _is(process: psutil.Process, marks: Sequence[str]) -> bool:
    command = command_of(process) + " "
    return any(mark in command for mark in marks)
