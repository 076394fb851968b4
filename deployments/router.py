"""The Router: Pointsman's HTTP ingress. It decides, and relays bytes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from .asgi import Application, ASGIApp, Request, Response
from .breaker import Breaker
from .decisions import RouteTable
from .disconnects import this_process_watches
from .garbage import collect_seldom
from .health import Health
from .openai import ApiError, model_card
from .plans import run
from .plans.exchange import Arm, Exchange, Pool
from .plans.plan import Plan, Single
from .request_body import Body, named_expert, read_body
from .routes import RouteSpec
from .scoring import Scoring, load_artifact
from .telemetry import Telemetry
from .upstream import ExpertTarget, Upstream

__all__ = ["Limits", "Router", "RouterSettings"]

_DEADLINE_MARGIN_S = 0.25
_CLIENT_LEFT = 499

logger = logging.getLogger("ray.serve")


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what one Router replica does.

    Attributes:
        request_timeout_s: the deadline of a whole request; ``x-request-timeout-seconds`` may lower it.
        connect_timeout_s: how long a connection to an expert may take to come about.
        max_body_bytes: the largest request body.
        max_open_requests: requests that a replica works on at a time; more are told to come back later.
        decision_timeout_s: how long a slow router or a judge may take, before the plan goes on without it.
        max_attempts: experts that a request may be tried with, where they give no answer.
        breaker_failures: attempts without an answer in a row after which plans do without an expert; 0: never.
        breaker_cooldown_s: how long they do, before one request tries it again.
    """

    request_timeout_s: float = 600.0
    connect_timeout_s: float = 5.0
    max_body_bytes: int = 32 * 1024 * 1024
    max_open_requests: int = 4096
    decision_timeout_s: float = 1.0
    max_attempts: int = 3
    breaker_failures: int = 5
    breaker_cooldown_s: float = 10.0


@dataclass(frozen=True, slots=True)
class RouterSettings:
    """All that a Router replica is told at its start.

    Attributes:
        artifacts: where the routers and judges lie that it loads itself; the Scorer pool has the others.
    """

    targets: Mapping[str, ExpertTarget]
    prices: Mapping[str, tuple[float, float]]
    routes: Mapping[str, RouteSpec]
    arms: Mapping[str, Arm] = field(default_factory=dict)
    artifacts: Sequence[str] = ()
    default_route: str | None = None
    limits: Limits = field(default_factory=Limits)


class Router:
    """The ingress deployment's class: a learned reverse proxy as one ASGI application.

    Args:
        settings: experts, routes and limits.
        scorer: handle of the Scorer deployment, where a route needs it.

    Raises:
        PointsmanError: an artifact cannot be loaded or does not fit the experts.
    """

    async def __init__(self, settings: RouterSettings, scorer: Any = None) -> None:  # type: ignore[misc]
        this_process_watches()
        collect_seldom()
        self._settings = settings
        self._limits = limits = settings.limits
        scoring = Scoring({path: load_artifact(path) for path in settings.artifacts}, scorer)
        self._table = RouteTable(
            [*settings.targets, *settings.arms],
            settings.routes,
            settings.default_route,
            scoring,
            decision_timeout_s=limits.decision_timeout_s,
            max_attempts=limits.max_attempts,
        )
        self._upstream = Upstream(connect_timeout_s=limits.connect_timeout_s)
        self._pool = Pool(
            settings.targets,
            settings.prices,
            settings.arms,
            self._upstream,
            scoring,
            limits.decision_timeout_s,
            Breaker(limits.breaker_failures, limits.breaker_cooldown_s),
        )
        self._health = Health(self._upstream, settings.targets.values())
        self._telemetry = Telemetry()
        self._started_s = int(time.time())

    def __serve_build_asgi_app__(self) -> ASGIApp:
        return Application(
            self._answer,
            max_body_bytes=self._limits.max_body_bytes,
            max_open_requests=self._limits.max_open_requests,
        )

    def reconfigure(self, user_config: Mapping[str, Any]) -> None:
        """Take new policies without a restart: ``user_config: {policies: {auto: {threshold: 0.7}}}``."""
        self._table.reconfigure((user_config or {}).get("policies", {}))

    async def _answer(self, request: Request, response: Response) -> None:
        try:
            await self._dispatch(request, response)
        except ApiError:
            raise
        except Exception:
            logger.exception("A request to %s failed.", request.path)
            if response.started:
                raise
            await response.error(ApiError(500, "Pointsman failed on this request; its log says why.", code="internal"))

    async def _dispatch(self, request: Request, response: Response) -> None:
        path = request.path
        if path == "/v1/route":
            self._only("POST", request)
            body = await read_body(request)
            plan = await self._plan(body, path)
            headers = {"x-pointsman-expert": plan.expert, "x-pointsman-attempts": "0", **plan.headers()}
            await response.json(plan.explain(), headers=headers)
        elif path == "/health":
            self._only("GET", request)
            await self._send_health(response)
        elif path == "/v1/models":
            self._only("GET", request)
            await response.json({"object": "list", "data": [self._card(name) for name in self._names()]})
        elif path.startswith("/v1/models/"):
            self._only("GET", request)
            await self._send_model(unquote(path.removeprefix("/v1/models/")), response)
        elif path.startswith("/v1/"):
            if path in ("/v1/chat/completions", "/v1/completions"):
                self._only("POST", request)
            await self._relay(request, response)
        else:
            raise ApiError(404, f"There is nothing at {path}: the API lives under /v1.", code="not_found")

    @staticmethod
    def _only(method: str, request: Request) -> None:
        if request.method != method:
            raise ApiError(405, f"{request.path} takes {method}, not {request.method}.", code="method_not_allowed")

    async def _plan(self, body: Body, path: str) -> Plan:
        return await self._table.plan(body.model, body.text(path), body.routing, body.side)

    async def _relay(self, request: Request, response: Response) -> None:
        started_s = time.perf_counter()
        deadline_s = asyncio.get_running_loop().time() + self._timeout_s(request)
        plan, body = await self._prepare(request)
        exchange = Exchange(self._pool, request, body, plan, response, deadline_s)
        status = HTTPStatus.SERVICE_UNAVAILABLE.value
        try:
            status = await run(exchange)
        except ApiError as error:
            status = error.status
            attempts = exchange.ledger.attempts
            await response.error(error, exchange.headers(attempts[-1].expert if attempts else plan.expert))
        except asyncio.CancelledError:
            status = _CLIENT_LEFT
            raise
        finally:
            self._telemetry.answered(plan, exchange.ledger, status, time.perf_counter() - started_s)

    async def _prepare(self, request: Request) -> tuple[Plan, Body | None]:
        """Decide who answers."""
        if request.method == "POST" and "multipart/" not in request.headers.get("content-type", ""):
            body = await read_body(request)
            return await self._plan(body, request.path), body
        named = named_expert(request)
        if named is None or named not in self._settings.targets:
            raise ApiError(
                404 if named else 400,
                f"{request.path} goes to the expert that the request names: name one of "
                f"{', '.join(self._settings.targets)} in ?model=, the form's model or the x-pointsman-expert header.",
                code="model_not_found" if named else "model_required",
                param="model",
            )
        return Plan(Single((named,))), None

    def _timeout_s(self, request: Request) -> float:
        limit_s = self._limits.request_timeout_s
        asked = request.headers.get("x-request-timeout-seconds")
        if asked is None:
            return limit_s
        try:
            asked_s = float(asked)
        except ValueError:
            asked_s = 0.0
        if not asked_s > 0:
            raise ApiError(400, "x-request-timeout-seconds must be a number above 0.", code="invalid_timeout")
        # Ray Serve heeds the same header, in plain text: this deadline has to come a little earlier.
        return min(asked_s - min(_DEADLINE_MARGIN_S, asked_s / 10), limit_s)

    def _names(self) -> tuple[str, ...]:
        return (*self._table.routes, *self._settings.targets, *self._settings.arms)

    def _card(self, name: str) -> dict[str, Any]:
        if name in self._table.routes:
            route = self._table.route(name)
            independent = route.one_expert and not any(expert in self._settings.arms for expert in route.experts)
            details = {"router": route.router, "independent_choices": independent}
            return model_card(name, self._started_s, kind="route", **details)
        arm = self._settings.arms.get(name)
        price = self._settings.prices[name if arm is None else arm.expert]
        return model_card(
            name,
            self._started_s,
            kind="expert" if arm is None else "arm",
            independent_choices=arm is None,
            price={"input_per_million": price[0], "output_per_million": price[1]},
        )

    async def _send_model(self, name: str, response: Response) -> None:
        if name not in self._names():
            raise ApiError(
                404,
                f"The model {name!r} does not exist: use one of {', '.join(self._names())}.",
                code="model_not_found",
                param="model",
            )
        await response.json(self._card(name))

    async def _send_health(self, response: Response) -> None:
        experts = await self._health.experts()
        ready = all(experts.values())
        body = {
            "status": "ready" if ready else "starting",
            "experts": {expert: "ready" if up else "unavailable" for expert, up in experts.items()},
        }
        headers = {} if ready else {"retry-after": "1"}
        await response.json(body, status=200 if ready else 503, headers=headers)

    async def __del__(self) -> None:
        upstream = getattr(self, "_upstream", None)
        if upstream is not None:
            await upstream.close()
