"""Configurations for ``pointsman bench``: one engine behind Pointsman, behind ``ray.serve.llm``, and alone."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from routers import ParameterError
from serve.config import VLLMSettings

__all__ = ["BenchSource", "bare_command", "llm_config", "pointsman_config", "ray_config", "read_source"]

# Experts that a router was trained for beside the measured one: the policy never chooses them.
_NOWHERE = "http://127.0.0.1:9/v1"
_PROMPT_LOGS = "RAYLLM_ENABLE_REQUEST_PROMPT_LOGS"


@dataclass(frozen=True, slots=True)
class BenchSource:
    """What is taken from a configuration that ``pointsman serve`` runs.

    Attributes:
        config: all of it.
        endpoint: its ``serve.app:build`` application.
        engine: its ``serve.app:vllm`` application of the measured expert.
        expert: that expert's id.
    """

    config: dict[str, Any]
    endpoint: dict[str, Any]
    engine: dict[str, Any]
    expert: str

    def http_options(self, port: int) -> dict[str, Any]:
        """Serve's HTTP options on another port of this machine."""
        return {**(self.config.get("http_options") or {}), "host": "127.0.0.1", "port": port}


def read_source(path: Path, expert: str) -> BenchSource:
    """Read a configuration, and find the endpoint and the engine in it.

    Raises:
        ParameterError: it cannot be read, or lacks one of them.
    """
    try:
        config = yaml.safe_load(path.read_text())
        apps = list(config["applications"])
    except OSError as error:
        raise ParameterError(f"{path} cannot be read ({error.strerror}): name a configuration file.") from error
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise ParameterError(f"{path} is not a Ray Serve configuration: name one as config.yaml is.") from error
    endpoint = next((app for app in apps if app.get("import_path") == "serve.app:build"), None)
    if endpoint is None:
        raise ParameterError(f"{path} has no application of serve.app:build: name a configuration that has one.")
    engines = {app["route_prefix"]: app for app in apps if app.get("import_path") == "serve.app:vllm"}
    engine = engines.get(f"/experts/{expert}")
    if engine is None or expert not in endpoint["args"]["experts"]:
        known = ", ".join(prefix.removeprefix("/experts/") for prefix in engines)
        raise ParameterError(f"{path} runs no vLLM expert {expert!r}: give one of {known or '(there is none)'}.")
    return BenchSource(config, endpoint, engine, expert)


def llm_config(source: BenchSource) -> dict[str, Any]:
    """The arguments of ``ray.serve.llm.LLMConfig`` that make the measured engine, as ``serve.app:vllm`` makes them.

    Only the switches for prompt logs and the event loop are left at Ray's defaults, as they belong to the server and
    not to the engine.

    Raises:
        ParameterError: a setting of the expert is wrong.
    """
    # Imports Ray, which a wrong argument of the command must not wait for.
    from serve.app import EVENT_LOOP_ENV, llm_config_arguments

    args = source.engine.get("args") or {}
    try:
        settings = VLLMSettings.model_validate({**args, "id": source.expert, "model": _absolute(args.get("model"))})
    except ValidationError as error:
        raise ParameterError(f"The expert {source.expert!r}: {error.errors()[0]['msg']}.") from error
    config = llm_config_arguments(settings)
    given = (args.get("runtime_env") or {}).get("env_vars", {})
    for name in {_PROMPT_LOGS, EVENT_LOOP_ENV} - given.keys():
        config["runtime_env"]["env_vars"].pop(name, None)
    for deployment in source.engine.get("deployments", []):
        options = {name: value for name, value in deployment.items() if name != "name"}
        config["deployment_config"] = {**config["deployment_config"], **options}
    return config


def pointsman_config(
    source: BenchSource, port: int, *, upstream: str | None = None, router_replicas: int | None = None
) -> tuple[dict[str, Any], str | None]:
    """The configuration with the measured engine alone, and the route that leads to it.

    The route's router still scores every prompt; a policy that allows one expert makes that expert the answer. The
    other experts keep their place in the configuration, as the router was trained for them, but do not run.

    Args:
        source: where experts, routes and settings come from.
        port: where it listens.
        upstream: an endpoint's URL, ending in ``/v1``, that answers in the engine's place; no engine runs then.
        router_replicas: so many of them all the time, in place of the configured number.

    Returns:
        The configuration, and the name of its default route, or of the first one whose artifact is there; None if
        there is no such route.
    """
    args = source.endpoint["args"]
    routes = {
        name: {
            **route,
            "router": _absolute(route["router"]),
            "policy": {**route.get("policy", {}), "experts": [source.expert]},
        }
        for name, route in (args.get("routes") or {}).items()
        if (Path(route["router"]) / "router.json").is_file()
    }
    default = args.get("default_route")
    route = default if default in routes else next(iter(routes), None)
    experts = {name: _named(expert, runs=name == source.expert) for name, expert in args["experts"].items()}
    if upstream is not None:
        experts[source.expert] = {"price": experts[source.expert]["price"], "url": upstream}
    endpoint = {
        **source.endpoint,
        "args": {**args, "experts": experts, "routes": routes, "default_route": route},
        "deployments": [_options(each, router_replicas) for each in source.endpoint.get("deployments", [])],
    }
    engine = {**source.engine, "args": {**source.engine["args"], "model": _absolute(source.engine["args"]["model"])}}
    applications = [endpoint] if upstream is not None else [endpoint, engine]
    return {**source.config, "http_options": source.http_options(port), "applications": applications}, route


def ray_config(source: BenchSource, engine: Mapping[str, Any], port: int) -> dict[str, Any]:
    """The engine behind ``ray.serve.llm``'s own ingress, with that ingress' default settings."""
    application = {
        "name": "ray-serve-llm",
        "route_prefix": "/",
        "import_path": "ray.serve.llm:build_openai_app",
        "args": {"llm_configs": [dict(engine)]},
    }
    return {"http_options": source.http_options(port), "applications": [application]}


def bare_command(engine: Mapping[str, Any], port: int) -> tuple[list[str], dict[str, str]]:
    """The command line and the environment variables of the engine as a vLLM server alone."""
    loading = engine["model_loading_config"]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--model", loading["model_source"], "--served-model-name", loading["model_id"]]
    for name, value in engine["engine_kwargs"].items():
        option = name.replace("_", "-")
        if isinstance(value, bool):
            command.append(f"--{option}" if value else f"--no-{option}")
        else:
            command += [f"--{option}", str(value) if isinstance(value, str | int | float) else json.dumps(value)]
    processors = engine["deployment_config"].get("ray_actor_options", {}).get("num_cpus", 1)
    # Ray tells its workers the same; without it an engine that is alone takes every processor of the machine.
    threads = {"OMP_NUM_THREADS": str(max(1, int(processors)))}
    return command, {**threads, **engine["runtime_env"]["env_vars"]}


def _named(expert: Mapping[str, Any], *, runs: bool) -> dict[str, Any]:
    return dict(expert) if runs else {"price": expert["price"], "url": _NOWHERE, "probe": False}


def _options(options: Mapping[str, Any], router_replicas: int | None) -> dict[str, Any]:
    """Deployment options without policies meant for other experts, and with the number of Routers asked for."""
    kept = {name: value for name, value in options.items() if name != "user_config"}
    if router_replicas is not None and options.get("name") == "Router":
        kept.pop("autoscaling_config", None)
        kept["num_replicas"] = router_replicas
    return kept


def _absolute(path: Any) -> Any:
    """A directory's full path; anything else, such as the name of a model on a hub, as it is."""
    return (
        str(Path(path).expanduser().resolve()) if isinstance(path, str) and Path(path).expanduser().is_dir() else path
    )
