"""What is compared: setups that answer the same prompts with the same resources, and the servers that they are."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from deployments.scoring import load_artifact
from loadtests.stacks import Stack, free_port
from routers import ParameterError
from serve.bench_stacks import environment, local_url, written

__all__ = ["LARGE", "MOST_DROP", "NAMES", "SMALL", "Engine", "Setup", "Source", "engine_app", "real_setups", "server"]

SMALL, LARGE = "small", "large"
_ROUTES = ("auto", "expert", "frugal")
NAMES = ("all-large", "all-small", *_ROUTES)
"""The kinds of setups, as `--setup` takes them."""
MOST_DROP = 0.01
"""Share of all-large's quality that a setup may lose."""
_PROCESSORS = 2
_ENGINES = {"serve.app:vllm", "serve.app:simulated"}


@dataclass(frozen=True, slots=True)
class Engine:
    """The replicas of one expert.

    Attributes:
        expert: its id.
        replicas: how many there are, each an engine of its own.
        gpus: that each replica holds its model with (tensor parallel); 0 where it runs on the processors.
    """

    expert: str
    replicas: int = 1
    gpus: int = 0


@dataclass(frozen=True, slots=True)
class Setup:
    """One way to answer every prompt.

    Attributes:
        name: what tables call it.
        kind: one of `NAMES`.
        model: what requests ask for: a route, or an expert.
        engines: the experts that it needs.
    """

    name: str
    kind: str
    model: str
    engines: tuple[Engine, ...]

    @property
    def gpus(self) -> int:
        """GPUs of all engines."""
        return sum(engine.replicas * engine.gpus for engine in self.engines)

    @property
    def said(self) -> str:
        """The engines in words."""
        return ", ".join(map(_said, self.engines))


@dataclass(frozen=True, slots=True)
class Source:
    """A configuration with the experts `small` and `large` and the studied routes.

    Attributes:
        endpoint: its ``serve.app:build`` application.
        engines: its experts' applications by id.
        trained: of each studied route, the experts that its router or cascade was trained for.
    """

    endpoint: dict[str, Any]
    engines: dict[str, dict[str, Any]]
    trained: dict[str, tuple[str, ...]]

    @classmethod
    def read(cls, path: Path) -> Source:
        """Read a configuration.

        Raises:
            PointsmanError: it cannot be read, lacks an expert or a route, or a route's artifact cannot be loaded.
        """
        try:
            apps = yaml.safe_load(path.read_text())["applications"]
            endpoint = next(app for app in apps if app["import_path"] == "serve.app:build")
            routes, experts = endpoint["args"]["routes"], endpoint["args"]["experts"]
        except (OSError, KeyError, StopIteration, TypeError, yaml.YAMLError) as error:
            raise ParameterError(
                f"{path} is no configuration with routes: name one as serve/configs/demo-plans.yaml is."
            ) from error
        engines = {app["name"]: app for app in apps if app["import_path"] in _ENGINES}
        for name in (SMALL, LARGE):
            if name not in experts or name not in engines:
                raise ParameterError(f"{path} runs no expert {name!r}, which is studied: add it.")
        for name in _ROUTES:
            if name not in routes:
                raise ParameterError(f"{path} has no route {name!r}, which is studied: add it.")
        trained = {name: tuple(load_artifact(_artifact(routes[name])).experts_) for name in _ROUTES}
        absent = sorted({expert for of in trained.values() for expert in of} - engines.keys())
        if absent:
            raise ParameterError(f"{path} runs no expert {absent[0]!r}, which a studied route needs: add it.")
        return cls(endpoint, engines, trained)

    def experts(self, kind: str) -> tuple[str, ...]:
        """The experts of a kind of setup."""
        return {"all-large": (LARGE,), "all-small": (SMALL,)}.get(kind) or self.trained[kind]

    def model(self, kind: str) -> str:
        """What requests of a kind of setup ask for."""
        return {"all-large": LARGE, "all-small": SMALL}.get(kind, kind)


def real_setups(source: Source) -> list[Setup]:
    """Every kind of setup with the engines that it needs on the same two processors.

    An engine is one process with one thread, so a setup with a single expert gets two replicas: otherwise one of the
    two processors would have nothing to do.
    """
    found = []
    for kind in NAMES:
        experts = source.experts(kind)
        replicas = _PROCESSORS if len(experts) < _PROCESSORS else 1
        engines = tuple(Engine(expert, replicas) for expert in experts)
        found.append(Setup(kind, kind, source.model(kind), engines))
    return found


def server(
    setup: Setup, source: Source, apps: Sequence[Mapping[str, Any]], folder: Path, *, limits: Mapping[str, Any]
) -> Stack:
    """Pointsman with the engines of a setup, whose configuration is written to a folder.

    All setups get one Router and, where the route needs it, one Scorer, so that nothing grows while it is measured.

    Args:
        setup: the setup.
        source: where the endpoint comes from.
        apps: the engines' applications.
        folder: where to write.
        limits: what replaces the endpoint's own `limits`.
    """
    args = source.endpoint["args"]
    experts = [engine.expert for engine in setup.engines]
    routes = {setup.model: args["routes"][setup.model]} if setup.model in args["routes"] else {}
    endpoint = {
        **source.endpoint,
        "args": {
            **args,
            "experts": {name: args["experts"][name] for name in experts},
            "routes": routes,
            "arms": {},
            "default_route": next(iter(routes), None),
            "limits": {**args.get("limits", {}), **limits},
        },
        "deployments": [_single("Router"), *([_single("Scorer")] if _needs_scorer(routes) else [])],
    }
    port = free_port()
    http = {"host": "127.0.0.1", "port": port}
    config = written(
        {"proxy_location": "EveryNode", "http_options": http, "applications": [endpoint, *apps]},
        folder / "study.yaml",
    )
    program = str(Path(sys.executable).with_name("pointsman"))
    # Each expert is asked by its id too, so that nothing is measured before all of them answer.
    models = {setup.name: setup.model, **{f"expert {name}": name for name in experts}}
    return Stack(setup.name, [program, "serve", config], local_url(port), models, environment())


def engine_app(app: Mapping[str, Any], replicas: int) -> dict[str, Any]:
    """An engine's application with so many replicas all the time."""
    kept = [of for of in app.get("deployments", []) if of.get("name") != "Expert"]
    own = {
        key: value
        for of in app.get("deployments", [])
        if of.get("name") == "Expert"
        for key, value in of.items()
        if key != "autoscaling_config"
    }
    return {**app, "deployments": [*kept, {**own, "name": "Expert", "num_replicas": replicas}]}


def _said(engine: Engine) -> str:
    times = f"{engine.replicas} × " if engine.replicas > 1 else ""
    place = f" on {engine.gpus} GPU{'s' if engine.gpus > 1 else ''}" if engine.gpus else ""
    return f"{times}`{engine.expert}`{place}"


def _artifact(route: Mapping[str, Any]) -> str:
    named = route.get("router") or route.get("cascade")
    if named is None:
        raise ParameterError("A studied route needs a router or a cascade: give it one.")
    return str(named)


def _needs_scorer(routes: Mapping[str, Any]) -> bool:
    return any(load_artifact(_artifact(route)).slow for route in routes.values())


def _single(name: str) -> dict[str, Any]:
    return {"name": name, "num_replicas": 1}
