"""Best of n: one expert answers several times, and a judge keeps the best (BEST-Route, section 3)."""

from __future__ import annotations

from deployments.plans.exchange import Arm, Exchange

__all__ = ["answer_best_of"]


async def answer_best_of(exchange: Exchange, arm: Arm, *, until_s: float) -> int:
    """Ask for n answers to each that the client wants, and give it the best of them, the very best first.

    At temperature 0 all would be the same, so there the expert is asked as the client asked. Without a judge the first
    answers are given. The usage in the answer is that of all answers.

    Args:
        exchange: the request.
        arm: whom to ask, and how often.
        until_s: time by which the answers must be there.

    Returns:
        The HTTP status that the client got.

    Raises:
        NoAnswerError: the expert gave no answer.
        ApiError: the request is at fault.
    """
    wanted = exchange.fields.get("n") or 1
    if exchange.fields.get("temperature") == 0:
        return await exchange.relay(arm.expert, silent_until_s=until_s, metered=True)
    held, attempt = await exchange.hold(arm.expert, until_s=until_s, changes={"n": wanted * arm.n})
    order = list(range(len(held.texts)))
    scores = await exchange.judge(arm.judge, held.texts)
    if scores is not None:
        order.sort(key=lambda choice: -scores[choice])
        exchange.score = attempt.score = scores[order[0]]
    attempt.outcome = "accepted"
    return await exchange.deliver(held, order[:wanted])
