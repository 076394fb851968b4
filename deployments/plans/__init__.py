"""Plans: how one request is answered by one expert or several."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from deployments.plans.blend import run_blend
from deployments.plans.cascade import run_cascade
from deployments.plans.exchange import Exchange
from deployments.plans.plan import Blend, Cascade, Single
from deployments.plans.refusals import refuse_what_cannot_be
from deployments.plans.single import run_single

__all__ = ["run"]

_RUNNERS: dict[type, Callable[[Exchange, Any], Awaitable[int]]] = {
    Single: run_single,
    Cascade: run_cascade,
    Blend: run_blend,
}


async def run(exchange: Exchange) -> int:
    """Answer one request as its plan says.

    Returns:
        The HTTP status that the client got.

    Raises:
        ApiError: there is no answer, and the client has been sent nothing.
    """
    refuse_what_cannot_be(exchange)
    steps = exchange.steps()
    return await _RUNNERS[type(steps)](exchange, steps)
