"""From the routes of a configuration to what Router and Scorer replicas are told, with every artifact checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from deployments.decisions import RouteTable
from deployments.plans.exchange import Arm
from deployments.plans.plan import Fusion, SelfVerification
from deployments.routes import BlendSpec, CascadeSpec, LearnedSpec, RouteSpec
from deployments.scoring import Artifact, Scoring, load_artifact
from routers import AnswerJudge, Outline, ParameterError, Policy, Router
from routers.answers import FrugalCascade
from serve.config import BlendSettings, PointsmanSettings, RouteSettings, SelfVerifySettings

__all__ = ["Routing", "read_routing", "route_table"]


@dataclass(slots=True)
class Routing:
    """The routes of a configuration.

    Attributes:
        routes: by name.
        arms: by name.
        artifacts: every trained router and judge that they name, by its absolute place.
    """

    routes: dict[str, RouteSpec] = field(default_factory=dict)
    arms: dict[str, Arm] = field(default_factory=dict)
    artifacts: dict[str, Artifact] = field(default_factory=dict)

    @property
    def quick(self) -> tuple[str, ...]:
        """Places of the artifacts that Router replicas load."""
        return tuple(path for path, artifact in self.artifacts.items() if not artifact.slow)

    @property
    def slow(self) -> tuple[str, ...]:
        """Places of the artifacts that belong into the Scorer pool."""
        return tuple(path for path, artifact in self.artifacts.items() if artifact.slow)


def read_routing(settings: PointsmanSettings) -> Routing:
    """Load all that the routes name, and describe the routes.

    Raises:
        PointsmanError: an artifact is missing or damaged, or is of another kind than the route needs.
    """
    found = Routing()
    for name, route in settings.routes.items():
        found.routes[name] = _spec(found, name, route)
    for name, arm in settings.arms.items():
        where = f"Arm {name!r}"
        found.arms[name] = Arm(arm.expert, arm.n, _judge(found, arm.ranker, where)[0])
    return found


def route_table(settings: PointsmanSettings, routing: Routing) -> RouteTable:
    """The table of these routes, which checks that they fit the experts and their policies.

    Raises:
        PointsmanError: they do not.
    """
    experts = [*settings.experts, *settings.arms]
    return RouteTable(experts, routing.routes, settings.default_route, Scoring(routing.artifacts))


def _spec(found: Routing, name: str, route: RouteSettings) -> RouteSpec:
    where = f"Route {name!r}"
    if route.cascade is not None:
        return _cascade(found, route.cascade, route.policy, where)
    if route.self_verify is not None:
        return _self_verify(route.self_verify, route.policy)
    if route.blend is not None:
        return _blend(found, route.blend, route.policy, where)
    assert route.router is not None  # noqa: S101 - the settings have one kind
    return _learned(found, route.router, route.policy, where, route.light)


def _learned(found: Routing, place: str, policy: Policy, where: str, light: str | None = None) -> LearnedSpec:
    path, router = _router(found, place, where)
    light_path = None
    if light is not None:
        light_path, quick = _router(found, light, where)
        if quick.slow:
            raise ParameterError(f"{where}: the light router {light} is slow itself: use one on TF-IDF features.")
        if not router.slow:
            raise ParameterError(f"{where}: {place} is quick, so that nothing has to stand in for it: remove light.")
    outline = Outline.of(router) if router.slow else None
    return LearnedSpec(path, policy, outline, light_path)


def _cascade(found: Routing, place: str, policy: Policy, where: str) -> CascadeSpec:
    path, plan = _judge(found, place, where)
    if not isinstance(plan, FrugalCascade):
        raise ParameterError(f"{where}: {place} judges answers, but is no cascade: train one with `frugal`.")
    return CascadeSpec(plan.experts_, plan.thresholds_, path, policy, plan.settings_)


def _self_verify(settings: SelfVerifySettings, policy: Policy) -> CascadeSpec:
    how = SelfVerification(
        settings.samples, settings.prompt, settings.accept, settings.temperature, settings.max_tokens
    )
    thresholds = (settings.threshold,) * (len(settings.experts) - 1)
    return CascadeSpec(settings.experts, thresholds, how, policy)


def _blend(found: Routing, settings: BlendSettings, policy: Policy, where: str) -> BlendSpec:
    fusion = None if settings.fuser is None else Fusion(settings.fuser, settings.top_k, settings.fuse_prompt)
    chosen_by = None if settings.router is None else _learned(found, settings.router, Policy(), where)
    return BlendSpec(
        settings.experts,
        _judge(found, settings.ranker, where)[0],
        fusion,
        settings.member_timeout_s,
        settings.members,
        chosen_by,
        policy,
    )


def _router(found: Routing, place: str, where: str) -> tuple[str, Router]:
    path, artifact = _loaded(found, place)
    if not isinstance(artifact, Router):
        raise ParameterError(f"{where}: {place} judges answers and is no router: give a router's directory.")
    return path, artifact


def _judge(found: Routing, place: str, where: str) -> tuple[str, AnswerJudge]:
    path, artifact = _loaded(found, place)
    if not isinstance(artifact, AnswerJudge):
        raise ParameterError(f"{where}: {place} is a router and judges no answers: give a ranker's directory.")
    return path, artifact


def _loaded(found: Routing, place: str) -> tuple[str, Artifact]:
    path = str(Path(place).resolve())
    if path not in found.artifacts:
        found.artifacts[path] = load_artifact(path)
    return path, found.artifacts[path]
