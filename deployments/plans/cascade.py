"""Cascades: the cheap expert first, and another only where its answer is judged not to do."""

from __future__ import annotations

import re

from deployments.held import HeldAnswer
from deployments.openai import ApiError, NoAnswerError
from deployments.plans.exchange import Exchange
from deployments.plans.plan import Cascade, SelfVerification

__all__ = ["run_cascade"]


async def run_cascade(exchange: Exchange, steps: Cascade) -> int:
    """Ask the experts in order, and keep the first answer whose score reaches its threshold.

    Nothing reaches the client before an answer is kept. The last expert's answer is always kept, and is relayed as it
    comes. Where the last gives none, the best of the rejected answers is better than nothing; `x-pointsman-fallback`
    says so. With several choices (`n`) their mean score counts.

    Returns:
        The HTTP status that the client got.

    Raises:
        NoAnswerError: no expert answered.
        ApiError: the request is at fault.
    """
    best: HeldAnswer | None = None
    best_score = float("-inf")
    left = len(steps.experts)
    for expert, threshold in zip(steps.experts, steps.thresholds, strict=False):
        try:
            held, attempt = await exchange.hold(expert, until_s=exchange.share_s(left))
        except NoAnswerError:
            continue
        finally:
            left -= 1
        score = await _score(exchange, steps, held)
        if score is not None and score >= threshold:
            attempt.outcome, attempt.score, exchange.score = "accepted", score, score
            return await exchange.deliver(held)
        attempt.outcome, attempt.score = "rejected", score
        if best is None or (score is not None and score > best_score):
            best, best_score = held, -1.0 if score is None else score
    try:
        return await exchange.relay(steps.experts[-1], metered=True)
    except NoAnswerError as failure:
        if best is None:
            raise
        exchange.fallback = "late" if failure.outcome == "late" else "failed"
        return await exchange.deliver(best)


async def _score(exchange: Exchange, steps: Cascade, held: HeldAnswer) -> float | None:
    if isinstance(steps.judge, SelfVerification):
        shares = [await _verified(exchange, steps.judge, held.expert, text) for text in held.texts]
        known = [share for share in shares if share is not None]
        return sum(known) / len(known) if known else None
    scores = await exchange.judge(steps.judge, held.texts)
    return None if scores is None else sum(scores) / len(scores)


async def _verified(exchange: Exchange, how: SelfVerification, expert: str, answer: str) -> float | None:
    """Share of the expert's own replies that call its answer right (AutoMix, section 3); None without a reply.

    Where the pattern holds `{answer}`, it is the answer that a reply must repeat.
    """
    question = exchange.question()
    parts = {"{question}": question, "{answer}": answer}
    prompt = re.sub(r"\{question\}|\{answer\}", lambda found: parts[found[0]], how.prompt)
    fields = {
        "messages": [{"role": "user", "content": prompt}],
        "n": how.samples,
        "temperature": how.temperature,
        "max_tokens": how.max_tokens,
    }
    try:
        replies = await exchange.consult(expert, fields, until_s=exchange.share_s(2))
    except ApiError:
        exchange.fallback = "failed"
        return None
    pattern = re.compile(how.accept.replace("{answer}", re.escape(answer.strip())))
    accepted = sum(pattern.search(reply) is not None for reply in replies.texts)
    return accepted / len(replies.texts)
