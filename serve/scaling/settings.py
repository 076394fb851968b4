"""The measured configuration: its pools of replicas, its delays compressed, and how it is served."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from loadtests.stacks import Stack, free_port
from routers import ParameterError
from serve.bench_stacks import pointsman_server
from serve.preflight import load_config
from serve.scaling.judging import Bounds

__all__ = ["Pool", "compressed", "find_pool", "pools_of", "read_settings", "served", "sleepers_of"]

ROUTER = "pointsman/Router"
_DELAYS = (
    "metrics_interval_s",
    "look_back_period_s",
    "upscale_delay_s",
    "downscale_delay_s",
    "downscale_to_zero_delay_s",
)
# How long a replica stays reachable after Serve has told HAProxy to ask others, and the variable that sets it.
_DRAIN = "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S"
_DRAIN_S = 30.0
_ENDPOINT = "serve.app:build"
_SIMULATED = "serve.app:simulated"


@dataclass(frozen=True)
class Pool:
    """The replicas of one deployment.

    Attributes:
        name: as the load test's figures have it, `application/deployment`.
        expert: its expert's id; None for Routers.
        gpus: that one replica would hold.
        bounds: how far it may scale.
    """

    name: str
    expert: str | None
    gpus: int
    bounds: Bounds


def read_settings(path: Path) -> dict[str, Any]:
    """Read a configuration whose experts are simulated.

    Raises:
        PointsmanError: it cannot be used, or nothing in it scales.
    """
    settings = load_config(path)
    others = [app["name"] for app in settings["applications"] if app["import_path"] not in (_ENDPOINT, _SIMULATED)]
    if others:
        raise ParameterError(
            f"{path}: {others[0]!r} is no simulated expert, and this machine could not run many of it: give a "
            "configuration like serve/configs/autoscaling.yaml."
        )
    if not pools_of(settings):
        raise ParameterError(
            f"{path} has no autoscaling_config of an application with the endpoint or an expert: add one."
        )
    return settings


def pools_of(settings: Mapping[str, Any]) -> list[Pool]:
    """The pools that scale, in the order of the configuration."""
    return [_pool(app, scaling) for app, scaling in _scaling(settings)]


def find_pool(settings: Mapping[str, Any], expert: str) -> Pool:
    """The pool of an expert.

    Raises:
        ParameterError: there is none.
    """
    found = next((pool for pool in pools_of(settings) if pool.expert == expert), None)
    if found is None:
        raise ParameterError(f"There is no expert {expert!r} with an autoscaling_config in the configuration: add one.")
    return found


def sleepers_of(settings: Mapping[str, Any]) -> list[str]:
    """Experts that may have no replica."""
    return [pool.expert for pool in pools_of(settings) if pool.expert is not None and pool.bounds.least == 0]


def compressed(settings: Mapping[str, Any], factor: float) -> dict[str, Any]:
    """The same configuration, every delay of its autoscaling divided by a factor."""
    # What a YAML alias repeats is one object, which would be divided again and again.
    shorter: dict[str, Any] = orjson.loads(orjson.dumps(settings))
    for _, scaling in _scaling(shorter):
        for name in _DELAYS:
            value = _value(scaling, name)
            if value is not None:
                scaling[name] = value / factor
    return shorter


def served(
    settings: Mapping[str, Any], folder: Path, *, factor: float = 1.0, models: Mapping[str, str] | None = None
) -> Stack:
    """`pointsman serve` on the configuration, at a port of its own, with delays and draining divided by a factor."""
    args = next(app["args"] for app in settings["applications"] if app["import_path"] == _ENDPOINT)
    route = args["default_route"]
    return pointsman_server(
        compressed(settings, factor),
        {route: route} if models is None else models,
        folder / "pointsman.yaml",
        free_port(),
        variables={_DRAIN: f"{_DRAIN_S / factor:g}"},
    )


def _scaling(settings: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The applications that scale, each with its `autoscaling_config`."""
    for app in settings["applications"]:
        for deployment in app.get("deployments", []):
            if deployment["name"] in ("Router", "Expert") and deployment.get("autoscaling_config"):
                yield app, deployment["autoscaling_config"]


def _pool(app: Mapping[str, Any], scaling: Mapping[str, Any]) -> Pool:
    target = float(_value(scaling, "target_ongoing_requests"))
    endpoint = app["import_path"] == _ENDPOINT
    args = app.get("args") or {}
    bounds = Bounds(
        least=_value(scaling, "min_replicas"),
        most=_value(scaling, "max_replicas"),
        target=target,
        capacity=target if endpoint else (args.get("capacity") or {}).get("max_sequences", target),
        look_back_s=_value(scaling, "look_back_period_s"),
        hold_s=_value(scaling, "downscale_delay_s"),
    )
    name = f"{app['name']}/{'Router' if endpoint else 'Expert'}"
    gpus = 0 if endpoint else (args.get("profile") or {}).get("tensor_parallel", 1)
    return Pool(name, None if endpoint else app["name"], gpus, bounds)


def _value(scaling: Mapping[str, Any], name: str) -> Any:
    """A value of an `autoscaling_config`, or Serve's default."""
    # An object of this class would warn of the interval between metrics, which nothing else sets yet.
    from ray.serve.config import AutoscalingConfig

    return scaling.get(name, AutoscalingConfig.model_fields[name].default)
