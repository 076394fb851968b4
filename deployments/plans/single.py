"""One expert answers; where it gives no answer, the next does."""

from __future__ import annotations

from deployments.openai import NoAnswerError
from deployments.plans.best_of import answer_best_of
from deployments.plans.exchange import Exchange
from deployments.plans.plan import Single

__all__ = ["run_single"]


async def run_single(exchange: Exchange, steps: Single) -> int:
    """Ask the plan's experts until one answers; each may take its share of the time that is left.

    Returns:
        The HTTP status that the client got.

    Raises:
        NoAnswerError: no expert answered.
        ApiError: the request is at fault.
    """
    waiting = len(steps.experts)
    for name in steps.experts:
        silent_until_s = exchange.share_s(waiting)
        waiting -= 1
        try:
            arm = exchange.pool.arms.get(name)
            if arm is not None:
                return await answer_best_of(exchange, arm, until_s=silent_until_s)
            return await exchange.relay(name, silent_until_s=silent_until_s if waiting else None)
        except NoAnswerError:
            if not waiting:
                raise
    raise AssertionError("a plan has at least one expert")
