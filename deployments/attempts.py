"""The attempts at answering one request: who was asked, what came of it, and what it cost."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from .breaker import Breaker
from .openai import NoAnswerError

__all__ = ["Attempt", "Ledger", "Outcome", "Usage"]

Outcome = Literal["answered", "accepted", "rejected", "refused", "failed", "late", "cancelled", "skipped"]
Purpose = Literal["answer", "verify", "fuse"]


class Usage(NamedTuple):
    """Tokens that an expert counted, of all choices of an answer."""

    input_tokens: int
    output_tokens: int


@dataclass(slots=True)
class Attempt:
    """One request to one expert.

    Attributes:
        expert: who was asked.
        purpose: for an answer, to verify one, or to fuse several.
        outcome: "answered" by relaying it; "accepted" or "rejected" by a judge; "refused" by the expert, as when its
            queue is full; "failed", "late", or "cancelled", as when the client has gone; "skipped" where it was not
            asked at all, since it is out of use.
        latency_ms: until its end.
        usage: tokens, where the expert counted them.
        cost: of these tokens, in the currency of the prices; None without usage.
        score: what a judge gave the answer.
    """

    expert: str
    purpose: Purpose = "answer"
    outcome: Outcome = "cancelled"
    latency_ms: float = 0.0
    usage: Usage | None = None
    cost: float | None = None
    score: float | None = None

    def explain(self) -> dict[str, Any]:
        """The attempt for people and programs."""
        return {
            "expert": self.expert,
            "purpose": self.purpose,
            "outcome": self.outcome,
            "latency_ms": round(self.latency_ms, 1),
            "input_tokens": None if self.usage is None else self.usage.input_tokens,
            "output_tokens": None if self.usage is None else self.usage.output_tokens,
            "cost": self.cost,
            "score": self.score,
        }


class Ledger:
    """All attempts at one request.

    Args:
        prices: per million input and output tokens, by expert.
        breaker: is told what comes of them.
    """

    __slots__ = ("_breaker", "_prices", "attempts")

    def __init__(self, prices: Mapping[str, tuple[float, float]], breaker: Breaker) -> None:
        self._prices = prices
        self._breaker = breaker
        self.attempts: list[Attempt] = []

    @contextmanager
    def attempt(self, expert: str, purpose: Purpose = "answer") -> Iterator[Attempt]:
        """Note one attempt; what ends it by an exception decides its outcome."""
        attempt = Attempt(expert, purpose)
        self.attempts.append(attempt)
        self._breaker.asked(expert)
        started_s = time.perf_counter()
        try:
            yield attempt
        except NoAnswerError as failure:
            attempt.outcome = failure.outcome
            raise
        finally:
            waited_s = time.perf_counter() - started_s
            attempt.latency_ms = waited_s * 1000
            self._breaker.ended(expert, attempt.outcome, waited_s)
            self.charge(attempt)

    def skipped(self, experts: Sequence[str]) -> None:
        """Note who is not asked, as out of use."""
        self.attempts += [Attempt(expert, outcome="skipped") for expert in experts]

    def charge(self, attempt: Attempt) -> None:
        """Work out what an attempt cost, once its tokens are known."""
        if attempt.usage is not None:
            input_price, output_price = self._prices[attempt.expert]
            tokens = attempt.usage
            attempt.cost = (tokens.input_tokens * input_price + tokens.output_tokens * output_price) / 1e6

    @property
    def cost(self) -> float | None:
        """What all attempts together cost, as far as their tokens are known; None if none are."""
        known = [attempt.cost for attempt in self.attempts if attempt.cost is not None]
        return sum(known) if known else None

    def headers(self) -> dict[str, str]:
        """How many experts were asked, who they were, and what is known of the cost."""
        asked = sum(attempt.outcome != "skipped" for attempt in self.attempts)
        headers = {"x-pointsman-attempts": str(asked)}
        if len(self.attempts) > 1:
            tried = (f"{attempt.expert}={attempt.outcome}" for attempt in self.attempts)
            headers["x-pointsman-tried"] = ", ".join(tried)
        if (cost := self.cost) is not None:
            headers["x-pointsman-cost"] = f"{cost:.9g}"
        return headers
