"""What Locust runs: `pointsman loadtest` without a page, or `locust -f loadtests/locustfile.py` with its own.

    locust -f loadtests/locustfile.py --load-model auto --load-mix chat

The options `--load-…` are those of `pointsman loadtest`; they are on the page too. Without `--load-shape` the page
decides on the number of users.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import gevent
import orjson
from locust import events, runners
from locust.env import Environment

from loadtests.errors import LoadTestError
from loadtests.samples import Samples
from loadtests.scenario import PAGE, Scenario
from loadtests.users import ChatUser, Desk, PlannedShape

__all__ = ["ChatUser"]

_REPORT_S = 1.0
_PROGRESS_S = 0.5
# What the page shows must be up to date, and `pointsman loadtest` shows its progress.
runners.WORKER_REPORT_INTERVAL = _REPORT_S
_seen = Samples()


@events.init_command_line_parser.add_listener
def add_options(parser: Any) -> None:
    """Offer the scenario's values as options, and on the page."""
    for name, default in Scenario.defaults().items():
        parser.add_argument(
            f"--load-{name.replace('_', '-')}", default=default, help=f"As of `pointsman loadtest` [{default}]"
        )
    for name in ("samples", "progress"):
        parser.add_argument(f"--load-{name}-file", default="", include_in_web_ui=False, help="For other programs.")


@events.init.add_listener
def prepare(environment: Environment, **_: Any) -> None:
    """Check the options, plan the users over time, and see to it that all samples come together."""
    try:
        scenario = _scenario(environment)
    except LoadTestError as error:
        sys.stderr.write(f"Error: {error}\n")
        sys.exit(2)
    desk = environment.desk = Desk(environment, scenario)
    environment.events.report_to_master.add_listener(lambda client_id, data: data.update(load=desk.drain()))
    environment.events.worker_report.add_listener(lambda client_id, data: _seen.add_report(data["load"]))
    if not isinstance(environment.runner, runners.MasterRunner):
        gevent.spawn(desk.watch_itself)
    if not isinstance(environment.runner, runners.WorkerRunner):
        gevent.spawn(_keep_and_tell, environment)
        if scenario.shape != PAGE:
            environment.shape_class = PlannedShape(scenario, lambda: len(_seen))
            environment.shape_class.runner = environment.runner


@events.test_start.add_listener
def begin(environment: Environment, **_: Any) -> None:
    """Take what the page says."""
    environment.desk.begin(_scenario(environment))


@events.quitting.add_listener
def save(environment: Environment, **_: Any) -> None:
    """Write all samples, if a file was named."""
    if isinstance(environment.runner, runners.WorkerRunner):
        return
    _tell(environment)
    if environment.parsed_options.load_samples_file:
        _seen.save(Path(environment.parsed_options.load_samples_file))


def _scenario(environment: Environment) -> Scenario:
    values = vars(environment.parsed_options)
    given = {"load_url": environment.host, "load_processes": environment.parsed_options.processes}
    scenario = Scenario.parse({**values, **{name: value for name, value in given.items() if value}})
    _ = scenario.address  # Another machine without leave is refused here.
    return scenario


def _keep_and_tell(environment: Environment) -> None:
    while True:
        gevent.sleep(_PROGRESS_S)
        _tell(environment)


def _tell(environment: Environment) -> None:
    """Keep what this process has seen itself, and write how far the load is."""
    _seen.add_report(environment.desk.drain())
    path = environment.parsed_options.load_progress_file
    if not path:
        return
    progress = {
        "started_s": environment.desk.started_s,
        "at_s": time.time(),
        "users": environment.runner.user_count,
        "requests": len(_seen),
        "failures": _seen.failures,
    }
    Path(f"{path}.new").write_bytes(orjson.dumps(progress))
    Path(f"{path}.new").replace(path)
