"""A plan: what to do with one prompt, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from deployments.scoring import Late
from routers import Decision

__all__ = ["Blend", "Cascade", "Fusion", "Plan", "SelfVerification", "Single", "Steps"]


@dataclass(frozen=True, slots=True)
class Single:
    """Ask one expert; where it gives no answer, the next, as long as the client has been sent nothing.

    Attributes:
        experts: ids of experts or arms, in this order.
    """

    kind: ClassVar[str] = "single"

    experts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SelfVerification:
    """How an expert is asked whether its own answer is right.

    Attributes:
        samples: how often it is asked.
        prompt: what it is asked; `{question}` and `{answer}` are replaced.
        accept: regular expression that a reply matches where it says that the answer is right; `{answer}` in it is
            replaced too.
        temperature: of these replies.
        max_tokens: most tokens of a reply.
    """

    samples: int
    prompt: str
    accept: str
    temperature: float = 1.0
    max_tokens: int = 16


@dataclass(frozen=True, slots=True)
class Cascade:
    """Ask experts one after the other, until an answer is judged good enough; that of the last always is.

    Attributes:
        experts: in the order in which they are asked.
        thresholds: least score at which an answer is kept, of each expert but the last.
        judge: where the trained scorer lies, or how experts verify their own answers.
    """

    experts: tuple[str, ...]
    thresholds: tuple[float, ...]
    judge: str | SelfVerification

    @property
    def kind(self) -> str:
        """What people call it."""
        return "cascade" if isinstance(self.judge, str) else "self-verify"


@dataclass(frozen=True, slots=True)
class Fusion:
    """How an expert writes the final answer from several.

    Attributes:
        expert: who writes it.
        top_k: how many of the best answers it is shown.
        prompt: what it is told; `{answers}` is replaced.
    """

    expert: str
    top_k: int
    prompt: str


@dataclass(frozen=True, slots=True)
class Blend:
    """Ask several experts at once, and keep the best answer, or have one expert make one of the best.

    Attributes:
        experts: who is asked; the first goes before others where nobody can rank.
        judge: where the trained ranker lies.
        fusion: how the best are fused; None: the best is the answer.
        member_timeout_s: how long to wait for all of them.
    """

    kind: ClassVar[str] = "blend"

    experts: tuple[str, ...]
    judge: str
    fusion: Fusion | None
    member_timeout_s: float


Steps = Single | Cascade | Blend


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do with one prompt.

    Attributes:
        steps: whom to ask, and how.
        route: the route that made the plan, or None if the request named the expert itself.
        router: the name of the route's router, or of its kind of plan.
        decision: scores and reason of the router that was asked; None without one.
        decision_us: microseconds spent on deciding.
        fallback: why the route's own router was not heard.
    """

    steps: Steps
    route: str | None = None
    router: str | None = None
    decision: Decision | None = None
    decision_us: int = 0
    fallback: Late | None = None

    @property
    def expert(self) -> str:
        """The expert that is asked first."""
        return self.steps.experts[0]

    def headers(self) -> dict[str, str]:
        """The response headers that explain the plan."""
        headers = {}
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
            "plan": {"kind": self.steps.kind, **_without_places(asdict(self.steps))},
            "route": self.route,
            "router": self.router,
            "score": None if decision is None else decision.score,
            "threshold": None if decision is None else decision.threshold,
            "qualities": {} if decision is None else decision.qualities,
            "novelty": None if decision is None else decision.novelty,
            "confidence": None if decision is None else decision.confidence,
            "fallback": self.fallback,
            "reason": self._reason(),
            "decision_us": self.decision_us,
        }

    def _reason(self) -> str:
        if self.decision is not None:
            return self.decision.reason
        return "the request named the expert" if self.route is None else "the route asks these experts"


def _without_places(steps: Mapping[str, Any]) -> dict[str, Any]:
    """Steps without the folders of artifacts, which are no client's business."""
    return {name: value for name, value in steps.items() if not (name == "judge" and isinstance(value, str))}
