"""From a request's ``model`` to a plan: which expert answers, by which route, and why."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from routers import Decision, ParameterError, Policy, Router, check_policy, decide, load_router

from .openai import ApiError, ModelName, parse_model_name

__all__ = ["Plan", "RouteSpec", "RouteTable"]

_REQUEST_KEYS = ("threshold", "budget", "experts")


@dataclass(frozen=True, slots=True)
class RouteSpec:
    """A route as configured: where its router's artifact lies and the policy that turns scores into a choice."""

    router: str
    policy: Policy = field(default_factory=Policy)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do with one prompt.

    Attributes:
        expert: the id of the expert that answers.
        route: the route that chose it, or None if the request named the expert itself.
        router: the name of the route's router.
        decision: scores and reason; None without a route.
        decision_us: microseconds spent on deciding.
    """

    expert: str
    route: str | None = None
    router: str | None = None
    decision: Decision | None = None
    decision_us: int = 0

    def headers(self, attempts: int = 1) -> dict[str, str]:
        """The response headers that explain the plan."""
        headers = {"x-pointsman-expert": self.expert, "x-pointsman-attempts": str(attempts)}
        if self.route is not None:
            headers["x-pointsman-route"] = self.route
            headers["x-pointsman-router"] = self.router or ""
            headers["x-pointsman-decision-us"] = str(self.decision_us)
        if self.decision is not None and self.decision.score is not None:
            headers["x-pointsman-score"] = f"{self.decision.score:.4f}"
        if self.decision is not None and self.decision.threshold is not None:
            headers["x-pointsman-threshold"] = f"{self.decision.threshold:.4f}"
        return headers

    def explain(self) -> dict[str, Any]:
        """The whole decision, for ``POST /v1/route`` and the debug header."""
        decision = self.decision
        return {
            "object": "route.decision",
            "expert": self.expert,
            "route": self.route,
            "router": self.router,
            "score": None if decision is None else decision.score,
            "threshold": None if decision is None else decision.threshold,
            "qualities": {} if decision is None else decision.qualities,
            "novelty": None if decision is None else decision.novelty,
            "reason": "the request named the expert" if decision is None else decision.reason,
            "decision_us": self.decision_us,
        }


class RouteTable:
    """All names that clients can ask for, with the loaded routers behind them.

    Args:
        experts: ids of the experts.
        routes: the configured routes by name.
        default_route: the route for requests that name no model.

    Raises:
        PointsmanError: an artifact cannot be loaded, or was trained for experts that are not configured.
    """

    def __init__(self, experts: Sequence[str], routes: Mapping[str, RouteSpec], default_route: str | None) -> None:
        self.experts = tuple(experts)
        self.default_route = default_route
        self._routers = {name: load_router(spec.router) for name, spec in routes.items()}
        for name, router in self._routers.items():
            _require_experts(name, routes[name].router, router, self.experts)
            check_policy(router, routes[name].policy)
        self._configured = {name: spec.policy for name, spec in routes.items()}
        self._policies = dict(self._configured)

    @property
    def routes(self) -> tuple[str, ...]:
        """The names of the routes."""
        return tuple(self._routers)

    def reconfigure(self, policies: Mapping[str, Mapping[str, Any]]) -> None:
        """Replace policies of running routes: ``{"auto": {"threshold": 0.7}}``. What is not named is as configured.

        Raises:
            PointsmanError: an unknown route or an invalid policy; the running policies then stay as they are.
        """
        updated = dict(self._configured)
        for name, changes in policies.items():
            if name not in self._routers:
                raise ParameterError(
                    f"user_config.policies names the route {name!r}, which does not exist: use one of {self.routes}."
                )
            updated[name] = _merged(updated[name], changes)
            check_policy(self._routers[name], updated[name])
        self._policies = updated

    def plan(self, model: str | None, text: str, overrides: Mapping[str, Any] | None = None) -> Plan:
        """Decide on one request.

        Args:
            model: the request's ``model``; None means the default route.
            text: the prompt as text.
            overrides: the request's ``routing`` object: ``threshold``, ``budget``, ``experts``.

        Raises:
            ApiError: 404 for an unknown name, 400 for routing settings that cannot be met.
        """
        asked = self._resolve(model)
        if asked.name in self.experts and not asked.by_router:
            return Plan(asked.name)
        changes = _request_policy(overrides)
        if asked.threshold is not None:
            changes["threshold"] = asked.threshold
        try:
            policy = _merged(self._policies[asked.name], changes) if changes else self._policies[asked.name]
            start_ns = time.perf_counter_ns()
            decision = decide(self._routers[asked.name], text, policy)
            decision_us = (time.perf_counter_ns() - start_ns) // 1000
        except ParameterError as error:
            raise ApiError(400, str(error), code="invalid_routing", param="routing") from error
        return Plan(decision.expert, asked.name, self._routers[asked.name].name, decision, decision_us)

    def _resolve(self, model: str | None) -> ModelName:
        if model is None:
            if self.default_route is None:
                raise ApiError(
                    400,
                    "Name a model: this endpoint has no default route.",
                    code="model_required",
                    param="model",
                )
            return ModelName(self.default_route)
        if model in self._routers or model in self.experts:
            return ModelName(model)
        asked = parse_model_name(model)
        if asked.by_router:
            for route, router in self._routers.items():
                if router.name == asked.name:
                    return ModelName(route, asked.threshold)
        elif asked.name in self._routers:
            return asked
        known = ", ".join([*self._routers, *self.experts])
        raise ApiError(
            404,
            f"The model {model!r} does not exist: use one of {known}.",
            code="model_not_found",
            param="model",
        )


def _request_policy(overrides: Mapping[str, Any] | None) -> dict[str, Any]:
    if overrides is None:
        return {}
    if not isinstance(overrides, Mapping):
        raise ApiError(
            400,
            'routing must be an object, as in {"threshold": 0.7}.',
            code="invalid_routing",
            param="routing",
        )
    unknown = [key for key in overrides if key not in _REQUEST_KEYS]
    if unknown:
        raise ApiError(
            400,
            f"routing has the unknown key {unknown[0]!r}: use {', '.join(_REQUEST_KEYS)}.",
            code="invalid_routing",
            param=f"routing.{unknown[0]}",
        )
    return dict(overrides)


def _merged(policy: Policy, changes: Mapping[str, Any]) -> Policy:
    return Policy.parse({**policy.model_dump(exclude_none=True), **changes})


def _require_experts(route: str, path: str, router: Router, experts: Sequence[str]) -> None:
    missing = [expert for expert in router.experts_ if expert not in experts]
    if missing:
        raise ParameterError(
            f"Route {route!r}: the artifact {path} was trained for the expert {missing[0]!r}, which is not configured: "
            f"add it under experts, or train a router for {', '.join(experts)}."
        )
