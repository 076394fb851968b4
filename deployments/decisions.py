"""From a request's ``model`` to a plan: which experts answer, by which route, and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from routers import ParameterError, Policy

from .openai import ApiError, ModelName, parse_model_name
from .plans.plan import Plan, Single
from .routes import Asked, Route, RouteSpec, Side, make_route
from .scoring import Scoring

__all__ = ["RouteTable"]

_REQUEST_KEYS = (*Policy.model_fields, "side")


class RouteTable:
    """All names that clients can ask for, with the routes behind them.

    Args:
        experts: ids of the experts, and names of arms.
        routes: the configured routes by name.
        default_route: the route for requests that name no model.
        scoring: the trained routers and judges.
        decision_timeout_s: how long a slow router may take, before others decide in its place.
        max_attempts: experts that one request may be tried with.

    Raises:
        PointsmanError: an artifact was trained for experts that are not configured, or a policy cannot be followed.
    """

    def __init__(
        self,
        experts: Sequence[str],
        routes: Mapping[str, RouteSpec],
        default_route: str | None,
        scoring: Scoring,
        *,
        decision_timeout_s: float = 1.0,
        max_attempts: int = 3,
    ) -> None:
        self.experts = tuple(experts)
        self.default_route = default_route
        self._routes: dict[str, Route] = {}
        for name, spec in routes.items():
            route = make_route(name, spec, scoring, decision_timeout_s=decision_timeout_s, max_attempts=max_attempts)
            _require_experts(route, self.experts)
            self._routes[name] = route

    @property
    def routes(self) -> tuple[str, ...]:
        """The names of the routes."""
        return tuple(self._routes)

    def route(self, name: str) -> Route:
        """The route of a name that is among `routes`."""
        return self._routes[name]

    def reconfigure(self, policies: Mapping[str, Mapping[str, Any]]) -> None:
        """Replace policies of running routes: ``{"auto": {"threshold": 0.7}}``. What is not named is as configured.

        Raises:
            PointsmanError: an unknown route or an invalid policy; the running policies then stay as they are.
        """
        updated = {name: route.configured for name, route in self._routes.items()}
        for name, changes in policies.items():
            if name not in self._routes:
                raise ParameterError(
                    f"user_config.policies names the route {name!r}, which does not exist: use one of {self.routes}."
                )
            updated[name] = self._routes[name].changed(updated[name], changes)
        for name, policy in updated.items():
            self._routes[name].policy = policy

    async def plan(
        self,
        model: str | None,
        text: str,
        overrides: Mapping[str, Any] | None = None,
        side: Callable[[], Side] | None = None,
    ) -> Plan:
        """Decide on one request.

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
            return Plan(Single((asked.name,)))
        changes, told = _request_settings(overrides)
        if asked.threshold is not None:
            changes["threshold"] = asked.threshold
        route = self._routes[asked.name]
        policy = route.policy
        if changes:
            try:
                policy = route.changed(policy, changes)
            except ParameterError as error:
                raise ApiError(400, str(error), code="invalid_routing", param="routing") from error
        return await route.plan(Asked(text, told, side), policy)

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
        if model in self._routes or model in self.experts:
            return ModelName(model)
        asked = parse_model_name(model)
        if asked.by_router:
            for name, route in self._routes.items():
                if route.router == asked.name:
                    return ModelName(name, asked.threshold)
        elif asked.name in self._routes:
            return asked
        known = ", ".join([*self._routes, *self.experts])
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


def _bad_routing(message: str, param: str) -> ApiError:
    return ApiError(400, message, code="invalid_routing", param=param)


def _require_experts(route: Route, experts: Sequence[str]) -> None:
    missing = [expert for expert in route.experts if expert not in experts]
    if missing:
        raise ParameterError(
            f"Route {route.name!r}: {route.needs} {missing[0]!r}, which is not configured: "
            f"add it under experts, or train a router for {', '.join(experts)}."
        )
