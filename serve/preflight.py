"""What can be wrong with a configuration, found before anything starts: one sentence that names key and remedy."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from deployments.experts.simulation.recordings import read_recordings
from routers import ParameterError, PointsmanError
from serve.config import PointsmanSettings, RecordedSettings, SimulatedSettings, VLLMSettings
from serve.routing import read_routing, route_table

__all__ = ["check_port", "load_config"]

_SETTINGS: dict[str, type[BaseModel]] = {
    "serve.app:build": PointsmanSettings,
    "serve.app:vllm": VLLMSettings,
    "serve.app:simulated": SimulatedSettings,
}


def load_config(path: Path) -> dict[str, Any]:
    """Read a Serve configuration file and check all that can be checked without starting anything.

    Args:
        path: the YAML file.

    Returns:
        The configuration, as it was written.

    Raises:
        PointsmanError: the file, a key, an expert or an artifact is missing or wrong.
    """
    config = _read(path)
    _check_schema(config, path)
    prefixes = {app.get("route_prefix", "/") for app in config["applications"]}
    for app in config["applications"]:
        where = f"{path}, application {app.get('name', 'default')!r}"
        settings = _settings(app, where)
        if isinstance(settings, PointsmanSettings):
            _check_experts(settings, prefixes, where)
            _check_routes(settings, app, where)
        if isinstance(settings, SimulatedSettings) and settings.recorded is not None:
            _check_recorded(settings.recorded, where)
    return config


def check_port(host: str, port: int) -> None:
    """See whether a port is free.

    Raises:
        ParameterError: something listens there.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ParameterError(
                f"Port {port} on {host} cannot be used ({error.strerror}): "
                "stop what listens there, or set another http_options.port."
            ) from error


def _read(path: Path) -> dict[str, Any]:
    try:
        config = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ParameterError(f"{path} cannot be read ({error.strerror}): name a configuration file.") from error
    except yaml.YAMLError as error:
        raise ParameterError(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(config, dict) or not config.get("applications"):
        raise ParameterError(f"{path} has no applications: it must be a Ray Serve configuration, as config.yaml is.")
    return config


def _check_schema(config: Mapping[str, Any], path: Path) -> None:
    """Serve's own schema, which lets unknown keys pass."""
    from ray.serve.config import AutoscalingConfig
    from ray.serve.schema import DeploymentSchema, HTTPOptionsSchema, ServeApplicationSchema, ServeDeploySchema

    _refuse_unknown(config, ServeDeploySchema, str(path))
    _refuse_unknown(config.get("http_options") or {}, HTTPOptionsSchema, f"{path}, http_options")
    for app in config["applications"]:
        where = f"{path}, application {app.get('name', 'default')!r}"
        _refuse_unknown(app, ServeApplicationSchema, where)
        for deployment in app.get("deployments", []):
            place = f"{where}, deployment {deployment.get('name')!r}"
            _refuse_unknown(deployment, DeploymentSchema, place)
            scaling = deployment.get("autoscaling_config")
            if isinstance(scaling, Mapping):
                _refuse_unknown(scaling, AutoscalingConfig, f"{place}, autoscaling_config")
    try:
        ServeDeploySchema.model_validate(config)
    except ValidationError as error:
        raise ParameterError(f"{path}: {_first(error)}") from error


def _refuse_unknown(node: Mapping[str, Any], schema: type[BaseModel], where: str) -> None:
    unknown = [key for key in node if key not in schema.model_fields]
    if unknown:
        raise ParameterError(f"{where}: the key {unknown[0]!r} is unknown: remove it or correct its spelling.")


def _settings(app: Mapping[str, Any], where: str) -> BaseModel | None:
    model = _SETTINGS.get(str(app.get("import_path")))
    if model is None:
        return None
    try:
        return model.model_validate(app.get("args") or {})
    except ValidationError as error:
        raise ParameterError(f"{where}: {_first(error)}") from error
    except PointsmanError as error:
        raise ParameterError(f"{where}: {error}") from error


def _first(error: ValidationError) -> str:
    """The first complaint in one sentence."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"]) or "the configuration"
    if first["type"] == "extra_forbidden":
        return f"the key {key!r} is unknown: remove it or correct its spelling."
    if first["type"] == "missing":
        return f"the key {key!r} is missing: add it."
    message = first["msg"].removeprefix("Value error, ").rstrip(".")
    return f"{key}: {message}."


def _check_experts(settings: PointsmanSettings, prefixes: set[str], where: str) -> None:
    for name, expert in settings.experts.items():
        if expert.url is None and f"/experts/{name}" not in prefixes:
            raise ParameterError(
                f"{where}: the expert {name!r} has neither a url nor an application with the "
                f"route_prefix /experts/{name}: add one of them."
            )
        try:
            expert.api_key()
        except ValueError as error:
            raise ParameterError(f"{where}: expert {name!r}: {error}.") from error


def _check_recorded(settings: RecordedSettings, where: str) -> None:
    try:
        read_recordings(settings.file, settings.expert)
    except PointsmanError as error:
        raise ParameterError(f"{where}: recorded: {error}") from error


def _check_routes(settings: PointsmanSettings, app: Mapping[str, Any], where: str) -> None:
    try:
        table = route_table(settings, read_routing(settings))
        for deployment in app.get("deployments", []):
            if deployment["name"] == "Router" and deployment.get("user_config"):
                table.reconfigure(deployment["user_config"].get("policies", {}))
    except PointsmanError as error:
        raise ParameterError(f"{where}: {error}") from error
