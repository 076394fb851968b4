"""Every configuration that we ship builds its whole application graph, and no key of it can be misspelt unnoticed.

Building needs neither a GPU nor a model hub: engines and weights only come with a deployment's replicas.
"""

import copy
import dataclasses
import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import ray
import yaml
from pydantic import BaseModel, ValidationError
from ray.serve import Deployment
from ray.serve._private.build_app import build_app
from ray.serve.config import AutoscalingConfig, HTTPOptions

from routers import PointsmanError, RoutingData, make_router, save_router
from serve.preflight import load_config

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = [ROOT / "config.yaml", *sorted((ROOT / "serve" / "configs").glob("*.yaml"))]
UNTRAINED = [ROOT / "serve/configs/gpu.yaml", ROOT / "serve/configs/experts.yaml"]
# What a user takes the "#" away from after training.
ROUTES_BLOCK = re.compile(r"^    # routes:\n(?:    #.*\n)+", re.MULTILINE)


@pytest.fixture(scope="module", autouse=True)
def ray_instance() -> Iterator[None]:
    """Ray, which `ray.serve.llm` asks for the driver's runtime environment while it builds."""
    started_here = not ray.is_initialized()
    if started_here:
        ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    yield
    if started_here:
        ray.shutdown()


@pytest.fixture(autouse=True)
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def trained_config(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configuration after training: its routes in force, with real artifacts where they say."""
    source: Path = request.param
    path = tmp_path / source.name
    path.write_text(with_routes(source.read_text()))
    args = yaml.safe_load(path.read_text())["applications"][0]["args"]
    for route in args["routes"].values():
        train(Path(route["router"]).name, list(args["experts"]), tmp_path / route["router"])
    monkeypatch.chdir(tmp_path)
    return path


def with_routes(text: str) -> str:
    assert len(ROUTES_BLOCK.findall(text)) == 1
    return ROUTES_BLOCK.sub(lambda block: re.sub(r"^    # ", "    ", block.group(), flags=re.MULTILINE), text)


def train(name: str, experts: list[str], out: Path) -> None:
    """Train a router for these experts, each of them best at its own kind of prompt."""
    rows = [
        {
            "prompt_id": f"p{i}",
            "prompt": f"about {experts[i % len(experts)]} question number {i}",
            "expert": expert,
            "sample": 0,
            "quality": 1.0 if expert in (experts[i % len(experts)], "large") else 0.0,
            "input_tokens": 5,
            "output_tokens": 5,
            "cost": 1.0 if expert == "large" else 0.1,
            "latency_s": 0.1,
        }
        for i in range(80)
        for expert in experts
    ]
    parameters: dict[str, Any] = {"fallback": "large"} if name == "cluster" else {}
    save_router(make_router(name, **parameters).fit(RoutingData(pd.DataFrame(rows))), out)


def silent_problems(config: dict[str, Any]) -> list[str]:
    """Name the keys inside sections that Ray Serve would pass over in silence."""
    sections: list[tuple[str, dict[str, Any], type[BaseModel]]] = [
        ("http_options", config.get("http_options", {}), HTTPOptions)
    ]
    for app in config["applications"]:
        for deployment in app.get("deployments", []):
            where = f"autoscaling_config of {app['name']}"
            sections.append((where, deployment.get("autoscaling_config", {}), AutoscalingConfig))
    return [
        f"{where}: unknown key {key!r}"
        for where, given, model in sections
        for key in given
        if key not in model.model_fields
    ]


def graph_problems(config: dict[str, Any]) -> list[str]:
    """Build each application as Serve does, and set what the file sets on its deployments."""
    found = []
    for app in config["applications"]:
        module, _, function = app["import_path"].partition(":")
        builder: Callable[[Any], Any] = getattr(importlib.import_module(module), function)
        settings_of = inspect.signature(builder).parameters["args"].annotation
        application = builder(settings_of.model_validate(app["args"]))
        built = {d.name: d for d in build_app(application, name=app["name"]).deployments}
        for override in app.get("deployments", []):
            options = {key: value for key, value in override.items() if key != "name"}
            if override["name"] not in built:
                found.append(f"{app['name']} has no deployment {override['name']!r}: it has {sorted(built)}")
            else:
                built[override["name"]].options(**options)
        if app["import_path"] == "serve.app:vllm" and app["args"].get("device", "gpu") == "gpu":
            found += gpu_problems(app, built["Expert"])
    return found


def gpu_problems(app: dict[str, Any], expert: Deployment) -> list[str]:
    """Compare what a replica will ask Ray for with one GPU of the right type for each part of the model."""
    kind = app["args"].get("accelerator_type")
    part = (1, 0.001 if kind else None)
    parts = [(bundle.get("GPU"), bundle.get(f"accelerator_type:{kind}")) for bundle in bundles_of(expert)]
    wanted = [part] * app["args"]["engine_kwargs"].get("tensor_parallel_size", 1)
    return [] if parts == wanted else [f"{app['name']} asks for {parts} instead of {wanted}"]


def bundles_of(deployment: Deployment) -> list[dict[str, float]]:
    return deployment._replica_config.placement_group_bundles or []


def engine_problems(config: dict[str, Any]) -> list[str]:
    """Look for what vLLM's engine and its server do not know; they would say so only after their node was up."""
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.entrypoints.launchers.cli_args import FrontendArgs

    known = {field.name for arguments in (AsyncEngineArgs, FrontendArgs) for field in dataclasses.fields(arguments)}
    return [
        f"engine_kwargs of {app['name']}: unknown key {key!r}"
        for app in config["applications"]
        if app["import_path"] == "serve.app:vllm"
        for key in app["args"].get("engine_kwargs", {})
        if key not in known
    ]


def problems(path: Path) -> list[str]:
    """Return everything that is wrong with a configuration file; empty where nothing is."""
    config = yaml.safe_load(path.read_text())
    try:
        load_config(path)
        return silent_problems(config) + graph_problems(config) + engine_problems(config)
    except (PointsmanError, ValidationError, TypeError, ValueError) as error:
        return [f"{type(error).__name__}: {error}"]


def keys(node: Any, where: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the way to every key of a nested structure."""
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else []
    for key, value in pairs:
        if isinstance(node, dict):
            yield (*where, key)
        yield from keys(value, (*where, key))


def renamed(config: dict[str, Any], way: tuple[str | int, ...]) -> dict[str, Any]:
    """Return a copy with one key misspelt."""
    config = copy.deepcopy(config)
    parent: Any = config
    for step in way[:-1]:
        parent = parent[step]
    parent[f"{way[-1]}x"] = parent.pop(way[-1])
    return config


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_builds_as_shipped(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert problems(path) == []


@pytest.mark.parametrize("trained_config", UNTRAINED, indirect=True, ids=lambda path: path.stem)
def test_builds_with_a_trained_router(trained_config: Path) -> None:
    assert problems(trained_config) == []


@pytest.mark.parametrize("trained_config", UNTRAINED, indirect=True, ids=lambda path: path.stem)
def test_every_misspelt_key_is_noticed(trained_config: Path, tmp_path: Path) -> None:
    config = yaml.safe_load(trained_config.read_text())
    misspelt = tmp_path / "misspelt.yaml"
    unnoticed = []
    for way in keys(config):
        misspelt.write_text(yaml.safe_dump(renamed(config, way)))
        if not problems(misspelt):
            unnoticed.append(".".join(map(str, way)))
    assert unnoticed == []


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_only_experts_that_may_sleep_are_not_probed(path: Path) -> None:
    """A probe wakes an expert that sleeps; without one, nobody would see that an expert which may not is down."""
    apps = yaml.safe_load(path.read_text())["applications"]
    experts = next(app["args"]["experts"] for app in apps if app["import_path"] == "serve.app:build")
    may_sleep = {
        app["name"]
        for app in apps
        for deployment in app.get("deployments", [])
        if deployment.get("autoscaling_config", {}).get("min_replicas") == 0
    }
    unprobed = {name for name, expert in experts.items() if not expert.get("probe", True)}
    assert unprobed == may_sleep & experts.keys()
