"""Routes: what a name that clients ask for makes of a prompt."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

from routers import (
    Decision,
    Outline,
    ParameterError,
    Policy,
    Prompt,
    check_policy,
    choose,
    without_router,
)
from routers.answers import CascadeSetting
from routers.answers.thresholds import affordable
from routers.outline import Chooser
from routers.prompt import SideValue

from .plans.plan import Blend, Cascade, Fusion, Plan, SelfVerification, Single
from .scoring import Late, Scoring, ScoringError

__all__ = ["Asked", "BlendSpec", "CascadeSpec", "LearnedRoute", "LearnedSpec", "Route", "RouteSpec", "make_route"]

Side = Mapping[str, SideValue]

_EITHER = ("threshold", "quality_cost", "max_quality_drop")


class Asked(NamedTuple):
    """What a route is asked about.

    Attributes:
        text: the prompt as text.
        told: side information that the request's `routing` gives.
        side: makes what the request itself says beside its text.
    """

    text: str
    told: Side
    side: Callable[[], Side] | None


@dataclass(frozen=True, slots=True)
class LearnedSpec:
    """A route by a trained router.

    Attributes:
        router: where its artifact lies.
        policy: turns scores into a choice.
        outline: what is known of the router, where its predictions come from the Scorer pool.
        light: where the artifact of the router lies that decides while a slow one is not heard.
        light_policy: policy of that one.
    """

    router: str
    policy: Policy = field(default_factory=Policy)
    outline: Outline | None = None
    light: str | None = None
    light_policy: Policy = field(default_factory=Policy)


@dataclass(frozen=True, slots=True)
class CascadeSpec:
    """A route that asks one expert after the other (see `Cascade`).

    Attributes:
        settings: orders and thresholds for other budgets; none where there is nothing to choose from.
    """

    experts: tuple[str, ...]
    thresholds: tuple[float, ...]
    judge: str | SelfVerification
    policy: Policy = field(default_factory=Policy)
    settings: tuple[CascadeSetting, ...] = ()


@dataclass(frozen=True, slots=True)
class BlendSpec:
    """A route that asks several experts at once (see `Blend`).

    Attributes:
        members: how many of the experts are asked, those that `chosen_by` expects most of; None: all.
        chosen_by: the router that chooses them.
    """

    experts: tuple[str, ...]
    judge: str
    fusion: Fusion | None = None
    member_timeout_s: float = 30.0
    members: int | None = None
    chosen_by: LearnedSpec | None = None
    policy: Policy = field(default_factory=Policy)


RouteSpec = LearnedSpec | CascadeSpec | BlendSpec


class Route(ABC):
    """What a name that clients ask for makes of a prompt.

    Args:
        name: the name.
        policy: as configured.

    Attributes:
        policy: in force now.
        router: name of the router or of the kind of plan, for the headers.
        experts: all that it may ask.
        needs: why it needs them, in words that the name of one follows.
        one_expert: whether one expert answers by itself, so that several choices are independent of each other.
    """

    one_expert: ClassVar[bool] = False

    router: str
    experts: tuple[str, ...]
    needs: str = "it asks the expert"

    def __init__(self, name: str, policy: Policy) -> None:
        self.name = name
        self.configured = policy
        self.policy = policy

    @abstractmethod
    def check(self, policy: Policy) -> None:
        """See whether a policy can be followed.

        Raises:
            ParameterError: it cannot.
        """

    @abstractmethod
    async def plan(self, asked: Asked, policy: Policy) -> Plan:
        """What to do with one prompt; the policy has been checked."""

    def changed(self, policy: Policy, changes: Mapping[str, Any]) -> Policy:
        """The policy with changes; a threshold, a quality_cost and a max_quality_drop take each other's place.

        Raises:
            ParameterError: the result is no policy, or cannot be followed.
        """
        kept = policy.model_dump(exclude_none=True)
        if any(changes.get(key) is not None for key in _EITHER):
            kept = {key: value for key, value in kept.items() if key not in _EITHER}
        made = Policy.parse({**kept, **changes})
        self.check(made)
        return made


class LearnedRoute(Route):
    """A route by a trained router: one expert answers, and others where it cannot.

    Args:
        name: the route's name.
        spec: the route as configured.
        scoring: where the router is.
        decision_timeout_s: how long a slow router may take, before the light one, else its fallback expert, decides.
        max_attempts: experts that are asked at most.

    Raises:
        PointsmanError: the policy cannot be followed with the router.
    """

    one_expert: ClassVar[bool] = True

    def __init__(
        self, name: str, spec: LearnedSpec, scoring: Scoring, decision_timeout_s: float, max_attempts: int
    ) -> None:
        super().__init__(name, spec.policy)
        self._scoring = scoring
        self._path = spec.router
        self._timeout_s = decision_timeout_s
        self._max_attempts = max_attempts
        chooser = spec.outline or scoring.router(spec.router)
        if chooser is None:
            raise ParameterError(f"Route {name!r}: the router {spec.router} has not been loaded.")
        self._chooser: Chooser = chooser
        self.needs = f"the artifact {spec.router} was trained for the expert"
        self.router = self._chooser.name
        self.experts = self._chooser.experts_
        self._side = tuple(getattr(self._chooser, "side", None) or ())
        self._light: LearnedRoute | None = None
        if spec.light is not None:
            light = LearnedSpec(spec.light, spec.light_policy)
            self._light = LearnedRoute(name, light, scoring, decision_timeout_s, max_attempts)
        self.check(spec.policy)

    def check(self, policy: Policy) -> None:
        """See whether the router can follow a policy.

        Raises:
            ParameterError: it cannot.
        """
        check_policy(self._chooser, policy)

    async def plan(self, asked: Asked, policy: Policy) -> Plan:
        """Decide at once, or in the Scorer pool where the router is slow."""
        start_ns = time.perf_counter_ns()
        decision, fallback, router = await self.decide(asked, policy)
        decision_us = (time.perf_counter_ns() - start_ns) // 1000
        experts = (decision.expert, *decision.alternatives())[: self._max_attempts]
        return Plan(Single(experts), self.name, router, decision, decision_us, fallback)

    async def decide(self, asked: Asked, policy: Policy) -> tuple[Decision, Late | None, str]:
        """The decision, why the route's own router was not heard, and the name of the one that was."""
        chooser, prompt = self._chooser, _with_side(asked, self._side)
        router = self._scoring.router(self._path)
        if router is not None and not router.slow:
            return choose(router, router.predict([prompt]), 0, policy), None, self.router
        try:
            prediction = await self._scoring.predict(self._path, prompt, timeout_s=self._timeout_s)
        except ScoringError as failure:
            light_policy = None if self._light is None else self._light.within(policy)
            if self._light is not None and light_policy is not None:
                decision, _, name = await self._light.decide(asked, light_policy)
                return decision, failure.reason, name
            return without_router(chooser, policy, f"the router {failure}"), failure.reason, self.router
        return choose(chooser, prediction, 0, policy), None, self.router

    def within(self, policy: Policy) -> Policy | None:
        """This router's own policy, within the experts and the budget that another policy allows; None if none is left.

        Thresholds of two routers mean different things, so the other's is not taken over.
        """
        limits = policy.model_dump(include={"experts", "budget"}, exclude_none=True)
        if policy.experts is not None:
            limits["experts"] = [expert for expert in policy.experts if expert in self.experts]
        try:
            return self.changed(self.policy, limits)
        except ParameterError:
            return None


class CascadeRoute(Route):
    """A route that asks one expert after the other.

    Its policy takes `threshold`, in the place of every expert's own, `experts`, and, where it was trained, `budget`:
    the most that an answer may cost on average, all attempts together.

    Args:
        name: the route's name.
        spec: the route as configured.

    Raises:
        ParameterError: the policy cannot be followed.
    """

    def __init__(self, name: str, spec: CascadeSpec) -> None:
        super().__init__(name, spec.policy)
        self._spec = spec
        self.router = "frugal" if isinstance(spec.judge, str) else "self-verify"
        orders = [spec.experts, *(setting.order for setting in spec.settings)]
        self.experts = tuple(dict.fromkeys(expert for order in orders for expert in order))
        self.check(spec.policy)

    def check(self, policy: Policy) -> None:
        """See whether a policy sets only what a cascade has, and a budget that it can keep.

        Raises:
            ParameterError: it does not.
        """
        keys = ("threshold", "experts", "budget") if self._spec.settings else ("threshold", "experts")
        _only(policy, keys, self.experts, self.router)
        order, _ = self._setting(policy)
        if policy.experts is not None and not set(policy.experts) & set(order):
            raise ParameterError(f"Within this budget the route asks {', '.join(order)} only: allow one of them.")

    async def plan(self, asked: Asked, policy: Policy) -> Plan:
        """The experts that the policy allows, in order."""
        order, thresholds = self._setting(policy)
        kept = [
            (expert, limit if policy.threshold is None else policy.threshold)
            for expert, limit in zip(order, (*thresholds, 0.0), strict=True)
            if policy.experts is None or expert in policy.experts
        ]
        experts = tuple(expert for expert, _ in kept)
        limits = tuple(limit for _, limit in kept[:-1])
        return Plan(Cascade(experts, limits, self._spec.judge), self.name, self.router)

    def _setting(self, policy: Policy) -> tuple[tuple[str, ...], tuple[float, ...]]:
        """Order and thresholds, its own or those for the policy's budget."""
        spec = self._spec
        if policy.budget is None:
            return spec.experts, spec.thresholds
        setting = affordable(spec.settings, policy.budget)
        return tuple(setting.order), tuple(setting.thresholds)


class BlendRoute(Route):
    """A route that asks several experts at once.

    Its policy takes `experts`.

    Args:
        name: the route's name.
        spec: the route as configured.
        chosen_by: the route whose router chooses the members; None where all are asked.

    Raises:
        ParameterError: the policy cannot be followed.
    """

    router = "blend"

    def __init__(self, name: str, spec: BlendSpec, chosen_by: LearnedRoute | None) -> None:
        super().__init__(name, spec.policy)
        self._spec = spec
        self._chosen_by = chosen_by
        self.experts = (*spec.experts, *(() if spec.fusion is None else (spec.fusion.expert,)))
        for expert in spec.experts:
            if chosen_by is not None and expert not in chosen_by.experts:
                raise ParameterError(
                    f"Route {name!r}: its router does not know the member {expert!r}: train it for all of them."
                )
        self.check(spec.policy)

    def check(self, policy: Policy) -> None:
        """See whether a policy sets nothing but allowed experts.

        Raises:
            ParameterError: it does.
        """
        _only(policy, ("experts",), self._spec.experts, self.router)

    async def plan(self, asked: Asked, policy: Policy) -> Plan:
        """All members that the policy allows, or those that the router expects most of."""
        spec = self._spec
        experts = tuple(expert for expert in spec.experts if policy.experts is None or expert in policy.experts)
        start_ns = time.perf_counter_ns()
        decision: Decision | None = None
        fallback: Late | None = None
        if self._chosen_by is not None:
            decision, fallback, _ = await self._chosen_by.decide(asked, Policy(experts=experts))
            experts = (decision.expert, *decision.alternatives())[: spec.members]
        decision_us = (time.perf_counter_ns() - start_ns) // 1000
        steps = Blend(experts, spec.judge, spec.fusion, spec.member_timeout_s)
        return Plan(steps, self.name, self.router, decision, decision_us, fallback)


def make_route(name: str, spec: RouteSpec, scoring: Scoring, *, decision_timeout_s: float, max_attempts: int) -> Route:
    """The route that was configured.

    Raises:
        PointsmanError: its policy cannot be followed.
    """

    def learned(one: LearnedSpec) -> LearnedRoute:
        return LearnedRoute(name, one, scoring, decision_timeout_s, max_attempts)

    if isinstance(spec, CascadeSpec):
        return CascadeRoute(name, spec)
    if isinstance(spec, BlendSpec):
        return BlendRoute(name, spec, None if spec.chosen_by is None else learned(spec.chosen_by))
    return learned(spec)


def _only(policy: Policy, keys: tuple[str, ...], experts: tuple[str, ...], what: str) -> None:
    other = policy.model_dump(exclude_none=True).keys() - set(keys)
    if other:
        raise ParameterError(f"A route of the kind {what!r} has no {min(other)!r}: it takes {' and '.join(keys)}.")
    for expert in policy.experts or ():
        if expert not in experts:
            raise ParameterError(f"The route does not ask the expert {expert!r}: it asks {', '.join(experts)}.")


def _with_side(asked: Asked, names: tuple[str, ...]) -> str:
    """The text, with the side information of these names."""
    if not names:
        return asked.text
    known = {**(asked.side() if asked.side is not None else {}), **asked.told}
    return Prompt(asked.text, {name: known[name] for name in names if name in known})
