"""Ensembles: several experts answer at once, a ranker keeps the best, and an expert may fuse the best into one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from deployments.attempts import Attempt
from deployments.held import HeldAnswer
from deployments.openai import ApiError, NoAnswerError
from deployments.plans.exchange import Exchange
from deployments.plans.plan import Blend, Fusion

__all__ = ["run_blend"]

_Candidate = tuple[HeldAnswer, Attempt]


async def run_blend(exchange: Exchange, steps: Blend) -> int:
    """Ask all experts, rank what they answered in time, and send the best, or what an expert makes of the best.

    Members that are late or fail are left out. Where nobody can rank, the first member of the plan that answered goes
    before the others. Answers that call tools are not fused (LLM-Blender, sections 3 and 4, fuses texts).

    Returns:
        The HTTP status that the client got.

    Raises:
        NoAnswerError: no expert answered.
        ApiError: the request is at fault.
    """
    candidates = await _ask_all(exchange, steps)
    ranked = await _ranked(exchange, steps, candidates)
    fusion = steps.fusion
    if fusion is not None and len(ranked) > 1 and not any(held.uses_tools for held, _ in ranked):
        for _, attempt in ranked[: fusion.top_k]:
            attempt.outcome = "accepted"
        changes = {"messages": [*exchange.fields["messages"], _request_to_fuse(fusion, ranked)]}
        try:
            return await exchange.relay(fusion.expert, changes=changes, metered=True, purpose="fuse")
        except NoAnswerError as failure:
            exchange.fallback = "late" if failure.outcome == "late" else "failed"
    held, attempt = ranked[0]
    attempt.outcome, exchange.score = "accepted", attempt.score
    return await exchange.deliver(held)


async def _ask_all(exchange: Exchange, steps: Blend) -> list[_Candidate]:
    """The answers of all members that came in time, in the plan's order; at least one."""
    loop = asyncio.get_running_loop()
    wait_until_s = min(loop.time() + steps.member_timeout_s, exchange.share_s(2))
    asked = [loop.create_task(exchange.hold(expert, until_s=exchange.deadline_s)) for expert in steps.experts]
    try:
        pending: set[asyncio.Task[_Candidate]] = set(asked)
        while pending:
            answered = any(task.done() and task.exception() is None for task in asked)
            # Without any answer the deadline alone counts, and then the first answer is taken.
            timeout_s = max(0.0, wait_until_s - loop.time()) if answered or loop.time() < wait_until_s else None
            if timeout_s == 0.0:
                break
            _, pending = await asyncio.wait(pending, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in asked:
            task.cancel()
        ended = await asyncio.gather(*asked, return_exceptions=True)
    candidates = [one for one in ended if not isinstance(one, BaseException)]
    if not candidates:
        raise _worst(ended)
    return candidates


def _worst(ended: Sequence[Any]) -> BaseException:
    """What to tell the client: that its request is at fault, if a member said so, else that the experts failed."""
    failures = [one for one in ended if isinstance(one, BaseException)]
    at_fault = [one for one in failures if isinstance(one, ApiError) and not isinstance(one, NoAnswerError)]
    known = [one for one in failures if isinstance(one, ApiError)]
    return (at_fault or known or failures)[0]


async def _ranked(exchange: Exchange, steps: Blend, candidates: list[_Candidate]) -> list[_Candidate]:
    """The candidates, best first; equal answers are judged once."""
    texts = list(dict.fromkeys(held.texts[0] for held, _ in candidates))
    scores = await exchange.judge(steps.judge, texts) if len(texts) > 1 else [1.0]
    for _, attempt in candidates:
        attempt.outcome = "rejected"
    if scores is None:
        return candidates
    by_text = dict(zip(texts, scores, strict=True))
    for held, attempt in candidates:
        attempt.score = by_text[held.texts[0]]
    return sorted(candidates, key=lambda candidate: -by_text[candidate[0].texts[0]])


def _request_to_fuse(fusion: Fusion, ranked: list[_Candidate]) -> dict[str, str]:
    texts = list(dict.fromkeys(held.texts[0] for held, _ in ranked))[: fusion.top_k]
    answers = "\n\n".join(f"[{number}] {text}" for number, text in enumerate(texts, start=1))
    return {"role": "user", "content": fusion.prompt.replace("{answers}", answers)}
