"""The servers that the benchmarks start: Pointsman, ``ray.serve.llm``'s own ingress, and vLLM alone."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from loadtests.stacks import Stack, clean_environment, free_port
from serve.bench_session import RAY
from serve.benchmark import BenchSource, bare_command, pointsman_config, ray_config
from serve.commands.serve import PRIORITY_ENVIRONMENT

__all__ = [
    "BARE",
    "bare_stack",
    "environment",
    "instant_stack",
    "local_url",
    "pointsman_server",
    "pointsman_stack",
    "ray_stack",
    "written",
]

BARE = "bare vLLM"
_SAME_FOR_ALL = {
    **PRIORITY_ENVIRONMENT,
    "RAY_ADDRESS": "local",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


def environment() -> dict[str, str]:
    """What every server is started with."""
    return {**clean_environment(), **_SAME_FOR_ALL}


def pointsman_stack(
    source: BenchSource,
    folder: Path,
    *,
    direct: bool,
    upstream: Stack | None = None,
    router_replicas: int | None = None,
) -> Stack:
    """Pointsman with the measured expert, whose configuration is written to a folder.

    Args:
        source: the configuration to take from.
        folder: where to write.
        direct: also a row for requests that name the expert, so without a decision.
        upstream: what answers in the engine's place.
        router_replicas: so many Routers all the time, in place of the configured number.
    """
    port = free_port()
    url = None if upstream is None else upstream.url
    config, route = pointsman_config(source, port, upstream=url, router_replicas=router_replicas)
    models = {} if route is None else {f"Pointsman, route {route}": route}
    if direct or route is None:
        models[f"Pointsman, expert {source.expert}"] = source.expert
    return pointsman_server(
        config, models, folder / "pointsman.yaml", port, behind=() if upstream is None else (upstream,)
    )


def pointsman_server(
    config: Mapping[str, Any],
    models: Mapping[str, str],
    path: Path,
    port: int,
    *,
    behind: Sequence[Stack] = (),
    variables: Mapping[str, str] | None = None,
) -> Stack:
    """`pointsman serve` on a configuration, which is written to a file.

    Args:
        config: the configuration.
        models: as for `Stack`.
        path: where to write it.
        port: where it listens on this machine.
        behind: as for `Stack`.
        variables: more of its environment.
    """
    here = {**config, "http_options": {**(config.get("http_options") or {}), "host": "127.0.0.1", "port": port}}
    command = [_program("pointsman"), "serve", written(here, path)]
    return Stack("Pointsman", command, local_url(port), models, {**environment(), **(variables or {})}, behind)


def ray_stack(source: BenchSource, engine: Mapping[str, Any], folder: Path) -> Stack:
    """``ray.serve.llm``'s own ingress over the measured engine, whose configuration is written to a folder."""
    port = free_port()
    config = written(ray_config(source, engine, port), folder / "ray-serve-llm.yaml")
    return Stack(RAY, [_program("serve"), "run", config], local_url(port), {RAY: source.expert}, environment())


def bare_stack(source: BenchSource, engine: Mapping[str, Any]) -> Stack:
    """The measured engine as a vLLM server alone."""
    port = free_port()
    command, variables = bare_command(engine, port)
    return Stack(BARE, command, local_url(port), {BARE: source.expert}, {**environment(), **variables})


def instant_stack(name: str) -> Stack:
    """A simulated expert that answers at once."""
    port = free_port()
    command = [sys.executable, "-m", "loadtests.instant_expert", "--port", str(port)]
    return Stack(name, command, local_url(port), {name: "small"}, environment())


def local_url(port: int) -> str:
    """The base URL of a server on a port of this machine."""
    return f"http://127.0.0.1:{port}/v1"


def written(settings: Mapping[str, Any], path: Path) -> str:
    """Write settings as YAML, and give the file's name."""
    path.write_text(yaml.safe_dump(dict(settings), sort_keys=False))
    return str(path)


def _program(name: str) -> str:
    return str(Path(sys.executable).parent / name)
