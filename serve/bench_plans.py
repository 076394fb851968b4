"""What plans add to a single expert: Pointsman with every kind of plan over simulated experts of one speed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

from loadtests.stacks import Stack, free_port
from routers import ParameterError
from serve.bench_stacks import environment, local_url, written

__all__ = ["SINGLE", "STEP_S", "plan_stacks"]

SINGLE = "one expert (small)"
STEP_S = 0.005
_ROWS = {
    SINGLE: "small",
    "auto": "auto",
    "neural (Scorer)": "neural",
    "frugal, kept": "frugal@0.0",
    "frugal, passed on": "frugal@1.0",
    "self-verify, kept": "self-verify@0.0",
    "self-verify, passed on": "self-verify@1.0",
    "blend": "blend",
    "best of 4": "small-x4",
}
_WITHOUT_SCORER = {f"{SINGLE}, no Scorer": "small", "auto, no Scorer": "auto"}


def plan_stacks(path: Path, folder: Path) -> list[Stack]:
    """Two servers: with all plans of a configuration, and with the route `auto` alone, which needs no Scorer.

    The engines are replaced by simulated ones that take 5 ms a step, so that what is measured are the plans: with
    thresholds of 0 and 1 cascades keep every first answer, or none.

    Args:
        path: the configuration, which must have the routes and arms that are measured.
        folder: where the configurations are written.

    Raises:
        ParameterError: it cannot be read, or lacks a route or an arm.
    """
    try:
        config = yaml.safe_load(path.read_text())
        args = next(app for app in config["applications"] if app["import_path"] == "serve.app:build")["args"]
    except (OSError, KeyError, StopIteration, TypeError, yaml.YAMLError) as error:
        raise ParameterError(
            f"{path} is no configuration with plans: name one as serve/configs/demo-plans.yaml is."
        ) from (error)
    named = {**args["experts"], **args.get("routes", {}), **args.get("arms", {})}
    for model in _ROWS.values():
        if model.partition("@")[0] not in named:
            raise ParameterError(f"{path} has no {model.partition('@')[0]!r}, which is measured: add it.")
    alone = {**args, "routes": {"auto": args["routes"]["auto"]}, "arms": {}, "default_route": "auto"}
    return [
        _stack("Pointsman with plans", args, _ROWS, folder / "plans.yaml"),
        _stack("Pointsman without a Scorer", alone, _WITHOUT_SCORER, folder / "no-scorer.yaml"),
    ]


def _stack(name: str, args: dict[str, Any], models: dict[str, str], path: Path) -> Stack:
    port = free_port()
    endpoint = {"name": "pointsman", "route_prefix": "/", "import_path": "serve.app:build", "args": args}
    engines = [
        {
            "name": expert,
            "route_prefix": f"/experts/{expert}",
            "import_path": "serve.app:simulated",
            "args": {"timing": {"step_s": STEP_S}, "answer": f"{expert} says {{prompt}}"},
        }
        for expert in args["experts"]
    ]
    http = {"host": "127.0.0.1", "port": port}
    config = written({"http_options": http, "applications": [endpoint, *engines]}, path)
    program = str(Path(sys.executable).with_name("pointsman"))
    # At temperature 0 an arm would ask for one answer only.
    body = {"temperature": 1.0}
    return Stack(name, [program, "serve", config], local_url(port), models, environment(), body=body)
