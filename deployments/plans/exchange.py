"""One request while it is answered: asking experts, holding answers back, and the client's side."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from deployments.asgi import Request, Response
from deployments.attempts import Attempt, Ledger, Purpose
from deployments.breaker import Breaker
from deployments.held import HeldAnswer, UsageMeter
from deployments.plans.in_use import without_broken
from deployments.plans.plan import Plan, Steps
from deployments.request_body import Body
from deployments.scoring import Late, Scoring, ScoringError
from deployments.upstream import ExpertTarget, Upstream, UpstreamRequest

__all__ = ["Arm", "Exchange", "Pool"]


@dataclass(frozen=True, slots=True)
class Arm:
    """Best of n: several answers of one expert, of which a judge keeps the best.

    Attributes:
        expert: who is asked.
        n: for how many answers.
        judge: where the trained ranker or scorer lies.
    """

    expert: str
    n: int
    judge: str


@dataclass(frozen=True, slots=True)
class Pool:
    """All that can be asked.

    Attributes:
        targets: experts by id.
        prices: per million input and output tokens, by expert.
        arms: best-of-n arms by name.
        upstream: connections to the experts.
        scoring: routers and judges.
        scoring_timeout_s: how long a judge may take.
        breaker: which experts are out of use.
    """

    targets: Mapping[str, ExpertTarget]
    prices: Mapping[str, tuple[float, float]]
    arms: Mapping[str, Arm]
    upstream: Upstream
    scoring: Scoring
    scoring_timeout_s: float
    breaker: Breaker = field(default_factory=Breaker)


class Exchange:
    """One request, and everything that is done for it.

    Args:
        pool: whom to ask.
        request: what the client sent.
        body: its parsed body; None where it is passed on as it came.
        plan: what to do.
        response: the client's side.
        deadline_s: time on the event loop's clock by which the answer must have ended.
    """

    __slots__ = ("_debug", "body", "deadline_s", "fallback", "ledger", "plan", "pool", "request", "response", "score")

    def __init__(
        self, pool: Pool, request: Request, body: Body | None, plan: Plan, response: Response, deadline_s: float
    ) -> None:
        self.pool = pool
        self.request = request
        self.body = body
        self.plan = plan
        self.response = response
        self.deadline_s = deadline_s
        self.ledger = Ledger(pool.prices, pool.breaker)
        self.fallback: Late | None = plan.fallback
        self.score: float | None = None
        self._debug = request.headers.get("x-pointsman-debug") == "1"

    def steps(self) -> Steps:
        """What to do: the plan's steps, without the experts that are out of use."""
        steps, left_out = without_broken(self.plan.steps, self._usable)
        self.ledger.skipped(left_out)
        return steps

    @property
    def fields(self) -> Mapping[str, Any]:
        """The request's JSON."""
        return {} if self.body is None else self.body.fields

    @property
    def streams(self) -> bool:
        """Whether the client wants a stream."""
        return bool(self.fields.get("stream"))

    @property
    def keeps_usage(self) -> bool:
        """Whether the client wants a stream's usage."""
        options = self.fields.get("stream_options")
        return isinstance(options, Mapping) and bool(options.get("include_usage"))

    def share_s(self, attempts: int) -> float:
        """When an attempt must be over, so that as much time is left for each of the others."""
        now_s = asyncio.get_running_loop().time()
        return now_s + max(0.0, self.deadline_s - now_s) / attempts

    async def relay(
        self,
        expert: str,
        *,
        silent_until_s: float | None = None,
        changes: Mapping[str, Any] | None = None,
        metered: bool = False,
        purpose: Purpose = "answer",
    ) -> int:
        """Send the request to an expert, and its answer to the client as it comes.

        Args:
            expert: who is asked.
            silent_until_s: time by which the answer must have begun.
            changes: of the request's JSON.
            metered: count the tokens, which takes a look at every line of a stream.
            purpose: of the attempt.

        Returns:
            The HTTP status that the client got.

        Raises:
            NoAnswerError: the expert gave no answer, and nothing was sent to the client.
            ApiError: likewise, but no other expert would do better.
        """
        meter = UsageMeter(keeps=self.keeps_usage) if metered else None
        if metered and self.streams:
            changes = {**(changes or {}), **self._counted()}
        request = await self._outbound(expert, changes)
        with self.ledger.attempt(expert, purpose) as attempt:
            attempt.outcome = "answered"

            def headers() -> dict[str, str]:
                # The expert is back as soon as its answer begins, which may go on for long.
                self.pool.breaker.answered(expert)
                # A whole answer is metered before its headers are made; a stream's tokens come too late for them.
                if meter is not None:
                    attempt.usage = meter.usage
                    self.ledger.charge(attempt)
                return self.headers(expert)

            try:
                return await self.pool.upstream.relay(
                    self.pool.targets[expert],
                    request,
                    self.response,
                    headers,
                    deadline_s=self.deadline_s,
                    silent_until_s=silent_until_s,
                    change=meter,
                )
            except asyncio.CancelledError:
                attempt.outcome = "cancelled"
                raise
            finally:
                if meter is not None:
                    attempt.usage = meter.usage

    async def hold(
        self, expert: str, *, until_s: float, changes: Mapping[str, Any] | None = None
    ) -> tuple[HeldAnswer, Attempt]:
        """Ask an expert, and keep its answer from the client.

        Args:
            expert: who is asked.
            until_s: time by which the answer must have ended.
            changes: of the request's JSON.

        Raises:
            NoAnswerError: the expert gave no answer.
            ApiError: the request is at fault.
        """
        if self.streams:
            changes = {**(changes or {}), **self._counted()}
        request = await self._outbound(expert, changes)
        return await self._hold(expert, request, until_s, "answer")

    async def consult(self, expert: str, fields: Mapping[str, Any], *, until_s: float) -> HeldAnswer:
        """Ask an expert something of our own, which is not what the client asked, as to verify an answer.

        Raises:
            NoAnswerError: the expert gave no answer.
            ApiError: it refuses such a question.
        """
        target = self.pool.targets[expert]
        body = orjson.dumps({"model": target.upstream_model, **fields})
        request = UpstreamRequest("POST", "/chat/completions", {"content-type": "application/json"}, body)
        held, _ = await self._hold(expert, request, until_s, "verify")
        return held

    async def deliver(self, held: HeldAnswer, choices: Sequence[int] | None = None) -> int:
        """Send an answer that was held back, all of its choices or some of them in this order."""
        answer = held.answer
        headers = [*answer.headers, *self.headers(held.expert).items()]
        body = held.body(choices, with_usage=self.keeps_usage)
        if answer.streamed:
            await self.response.start(answer.status, headers)
            await self.response.write(body, more=False)
        else:
            await self.response.whole(answer.status, headers, body)
        return answer.status

    async def judge(self, judge: str, answers: Sequence[str]) -> list[float] | None:
        """What a trained judge gives each answer; None where it was not heard in time, which `fallback` then says."""
        left_s = self.deadline_s - asyncio.get_running_loop().time()
        timeout_s = min(self.pool.scoring_timeout_s, left_s)
        try:
            return await self.pool.scoring.judge(judge, self.question(), answers, timeout_s=timeout_s)
        except ScoringError as failure:
            self.fallback = failure.reason
            return None

    def question(self) -> str:
        """The text that judges read as the question."""
        return "" if self.body is None else self.body.text(self.request.path)

    def headers(self, expert: str) -> dict[str, str]:
        """The response headers that say who answers, and why."""
        headers = {"x-pointsman-expert": expert, **self.plan.headers(), **self.ledger.headers()}
        if self.score is not None:
            headers["x-pointsman-score"] = f"{self.score:.4f}"
        if self.fallback is not None:
            headers["x-pointsman-fallback"] = self.fallback
        if self._debug:
            headers["x-pointsman-decision"] = orjson.dumps(self.explain(expert)).decode()
        return headers

    def explain(self, expert: str) -> dict[str, Any]:
        """The whole plan, with what has come of it so far."""
        attempts = [attempt.explain() for attempt in self.ledger.attempts]
        return {**self.plan.explain(), "expert": expert, "fallback": self.fallback, "attempts": attempts}

    def _usable(self, name: str) -> bool:
        arm = self.pool.arms.get(name)
        return self.pool.breaker.usable(name if arm is None else arm.expert)

    def _counted(self) -> dict[str, Any]:
        options = self.fields.get("stream_options")
        given = options if isinstance(options, Mapping) else {}
        return {"stream_options": {**given, "include_usage": True}}

    async def _hold(
        self, expert: str, request: UpstreamRequest, until_s: float, purpose: Purpose
    ) -> tuple[HeldAnswer, Attempt]:
        with self.ledger.attempt(expert, purpose) as attempt:
            answer = await self.pool.upstream.fetch(
                self.pool.targets[expert], request, until_s=min(until_s, self.deadline_s)
            )
            held = HeldAnswer(expert, answer)
            attempt.outcome, attempt.usage = "answered", held.usage
        return held, attempt

    async def _outbound(self, expert: str, changes: Mapping[str, Any] | None) -> UpstreamRequest:
        request = self.request
        query = "?" + request.query.decode("latin-1") if request.query else ""
        path = request.path.removeprefix("/v1") + query
        if self.body is None:
            return UpstreamRequest(request.method, path, request.headers, request.body)
        payload = await self.body.encoded(self.pool.targets[expert].upstream_model, changes)
        headers = {**request.headers, "content-type": "application/json"}
        return UpstreamRequest(request.method, path, headers, payload)
