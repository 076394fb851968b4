"""From a request's ``model`` to a plan: which expert answers, by which route, and why."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from routers import (
    Decision,
    ParameterError,
    PointsmanError,
    Policy,
    Prompt,
    Router,
    check_policy,
    choose,
    load_router,
    without_router,
)
from routers.prompt import SideValue

from .openai import ApiError, ModelName, parse_model_name

__all__ = ["Plan", "RouteSpec", "RouteTable"]

Side = Mapping[str, SideValue]

_REQUEST_KEYS = (*Policy.model_fields, "side")
_EITHER = ("threshold", "quality_cost", "max_quality_drop")

logger = logging.getLogger("ray.serve")


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
        fallback: why the router was not heard, where it is slow: it was "late", or it "failed".
    """

    expert: str
    route: str | None = None
    router: str | None = None
    decision: Decision | None = None
    decision_us: int = 0
    fallback: Literal["late", "failed"] | None = None

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
        if self.fallback is not None:
            headers["x-pointsman-fallback"] = self.fallback
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
            "confidence": None if decision is None else decision.confidence,
            "fallback": self.fallback,
            "reason": "the request named the expert" if decision is None else decision.reason,
            "decision_us": self.decision_us,
        }


class RouteTable:
    """All names that clients can ask for, with the loaded routers behind them.

    Args:
        experts: ids of the experts.
        routes: the configured routes by name.
        default_route: the route for requests that name no model.
        decision_timeout_s: how long a slow router may take, before its fallback expert answers instead.

    Raises:
        PointsmanError: an artifact cannot be loaded, or was trained for experts that are not configured.
    """

    def __init__(
        self,
        experts: Sequence[str],
        routes: Mapping[str, RouteSpec],
        default_route: str | None,
        *,
        decision_timeout_s: float = 1.0,
    ) -> None:
        self.experts = tuple(experts)
        self.default_route = default_route
        self._decision_timeout_s = decision_timeout_s
        self._routers = {name: load_router(spec.router) for name, spec in routes.items()}
        for name, router in self._routers.items():
            _require_experts(name, routes[name].router, router, self.experts)
            check_policy(router, routes[name].policy)
        self._configured = {name: spec.policy for name, spec in routes.items()}
        self._policies = dict(self._configured)
        self._side = {name: tuple(getattr(router, "side", None) or ()) for name, router in self._routers.items()}

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

    async def plan(
        self,
        model: str | None,
        text: str,
        overrides: Mapping[str, Any] | None = None,
        side: Callable[[], Side] | None = None,
    ) -> Plan:
        """Decide on one request: at once, or off the event loop where the router is slow.

        Args:
            model: the request's ``model``; None means the default route.
            text: the prompt as text.
            overrides: the request's ``routing`` object: the keys of a policy, and ``side``, which goes before what
                the request itself says.
            side: what the request itself says beside its text; it is only asked for a router that reads that.

        Raises:
            ApiError: 404 for an unknown name, 400 for routing settings that cannot be met.
        """
        asked = self._resolve(model)
        if asked.name in self.experts and not asked.by_router:
            return Plan(asked.name)
        changes, told = _request_settings(overrides)
        if asked.threshold is not None:
            changes["threshold"] = asked.threshold
        router = self._routers[asked.name]
        policy = self._policy(asked.name, changes) if changes else self._policies[asked.name]
        start_ns = time.perf_counter_ns()
        prompt = _with_side(text, self._side[asked.name], told, side)
        fallback = None
        if router.slow:
            decision, fallback = await self._decide_in_time(asked.name, prompt, policy)
        else:
            decision = choose(router, router.predict([prompt]), 0, policy)
        decision_us = (time.perf_counter_ns() - start_ns) // 1000
        return Plan(decision.expert, asked.name, router.name, decision, decision_us, fallback)

    def _policy(self, route: str, changes: Mapping[str, Any]) -> Policy:
        try:
            policy = _merged(self._policies[route], changes)
            check_policy(self._routers[route], policy)
        except ParameterError as error:
            raise ApiError(400, str(error), code="invalid_routing", param="routing") from error
        return policy

    async def _decide_in_time(
        self, route: str, prompt: str, policy: Policy
    ) -> tuple[Decision, Literal["late", "failed"] | None]:
        """What a slow router decides, or what is done without it where it is late or fails."""
        router = self._routers[route]
        try:
            async with asyncio.timeout(self._decision_timeout_s):
                prediction = await router.predict_async([prompt])
        except TimeoutError:
            reason = f"the router took longer than {self._decision_timeout_s:g} s"
            logger.warning("Route %r: %s.", route, reason)
            return without_router(router, policy, reason), "late"
        except Exception as error:
            # Whatever keeps a router from deciding, an answer of the fallback expert is better than none.
            known = isinstance(error, PointsmanError)
            logger.warning("Route %r: the router failed: %s", route, error, exc_info=not known)
            return without_router(router, policy, f"the router failed ({type(error).__name__})"), "failed"
        return choose(router, prediction, 0, policy), None

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


def _request_settings(overrides: Mapping[str, Any] | None) -> tuple[dict[str, Any], Side]:
    """Changes of the policy, and side information, that a request's ``routing`` holds."""
    if overrides is None:
        return {}, {}
    if not isinstance(overrides, Mapping):
        raise _bad_routing('routing must be an object, as in {"threshold": 0.7}.', "routing")
    unknown = [key for key in overrides if key not in _REQUEST_KEYS]
    if unknown:
        message = f"routing has the unknown key {unknown[0]!r}: use {', '.join(_REQUEST_KEYS)}."
        raise _bad_routing(message, f"routing.{unknown[0]}")
    changes = {key: value for key, value in overrides.items() if key != "side"}
    return changes, _checked_side(overrides.get("side", {}))


def _checked_side(side: Any) -> Side:
    if not isinstance(side, Mapping):
        raise _bad_routing('routing.side must be an object, as in {"domain": "law"}.', "routing.side")
    for name, value in side.items():
        if not isinstance(value, str | int | float):
            raise _bad_routing(
                f"routing.side.{name} must be a string, a number, true or false.", f"routing.side.{name}"
            )
    return side


def _with_side(text: str, names: tuple[str, ...], told: Side, asked: Callable[[], Side] | None) -> str:
    """The text, with the side information of these names."""
    if not names:
        return text
    known = {**(asked() if asked is not None else {}), **told}
    return Prompt(text, {name: known[name] for name in names if name in known})


def _bad_routing(message: str, param: str) -> ApiError:
    return ApiError(400, message, code="invalid_routing", param=param)


def _merged(policy: Policy, changes: Mapping[str, Any]) -> Policy:
    """The policy with changes; a threshold, a quality_cost and a max_quality_drop take each other's place."""
    kept = policy.model_dump(exclude_none=True)
    if any(changes.get(key) is not None for key in _EITHER):
        kept = {key: value for key, value in kept.items() if key not in _EITHER}
    return Policy.parse({**kept, **changes})


def _require_experts(route: str, path: str, router: Router, experts: Sequence[str]) -> None:
    missing = [expert for expert in router.experts_ if expert not in experts]
    if missing:
        raise ParameterError(
            f"Route {route!r}: the artifact {path} was trained for the expert {missing[0]!r}, which is not configured: "
            f"add it under experts, or train a router for {', '.join(experts)}."
        )
