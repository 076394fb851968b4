"""Metrics of the Router, exported by Ray with all others."""

from __future__ import annotations

from ray.serve.metrics import Counter, Histogram

from .attempts import Ledger
from .plans.plan import Plan

__all__ = ["Telemetry"]

_LATENCY_MS = [5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 300_000]
_DECISION_US = [50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 50_000, 200_000, 1_000_000]


class Telemetry:
    """Counters and histograms of one Router replica."""

    def __init__(self) -> None:
        self._answers = Counter(
            "pointsman_answers",
            "Answers by route, expert and HTTP status.",
            tag_keys=("route", "expert", "status"),
        )
        self._latency = Histogram(
            "pointsman_answer_latency_ms",
            "Time from the whole request to the end of its answer.",
            boundaries=_LATENCY_MS,
            tag_keys=("route", "expert"),
        )
        self._decision = Histogram(
            "pointsman_decision_us", "Time spent on deciding.", boundaries=_DECISION_US, tag_keys=("route",)
        )

        self._attempts = Counter(
            "pointsman_attempts",
            "Requests to experts by route, expert, purpose and what came of them.",
            tag_keys=("route", "expert", "purpose", "outcome"),
        )
        self._tokens = Counter(
            "pointsman_plan_tokens",
            "Tokens of attempts that plans count, kept or not.",
            tag_keys=("route", "expert", "outcome", "kind"),
        )

    def answered(self, plan: Plan, ledger: Ledger, status: int, latency_s: float) -> None:
        """Record one answer. Status 499 stands for a client that left."""
        route = plan.route or ""
        for attempt in ledger.attempts:
            tags = {"route": route, "expert": attempt.expert, "outcome": attempt.outcome}
            self._attempts.inc(tags={**tags, "purpose": attempt.purpose})
            if attempt.usage is not None:
                for kind, tokens in zip(("input", "output"), attempt.usage, strict=True):
                    self._tokens.inc(tokens, tags={**tags, "kind": kind})
        expert = ledger.attempts[-1].expert if ledger.attempts else plan.expert
        tags = {"route": route, "expert": expert}
        self._answers.inc(tags={**tags, "status": str(status)})
        self._latency.observe(latency_s * 1000, tags=tags)
        if plan.route is not None:
            self._decision.observe(plan.decision_us, tags={"route": plan.route})
