"""What a plan cannot answer, said before anybody is asked."""

from __future__ import annotations

from deployments.openai import ApiError
from deployments.plans.exchange import Exchange
from deployments.plans.plan import Blend, Single

__all__ = ["refuse_what_cannot_be"]

_CHAT = "/v1/chat/completions"
_PATHS = (_CHAT, "/v1/completions")


def refuse_what_cannot_be(exchange: Exchange) -> None:
    """Refuse requests that a plan which judges answers cannot handle.

    Raises:
        ApiError: 400, with what to ask instead.
    """
    steps = exchange.plan.steps
    if isinstance(steps, Single) and not any(name in exchange.pool.arms for name in steps.experts):
        return
    name = exchange.plan.route or steps.experts[0]
    if exchange.request.path not in _PATHS:
        raise _refusal(
            f"{name!r} judges answers, which it can of {' and '.join(_PATHS)} only: name an expert.", "model"
        )
    prompt = exchange.fields.get("prompt")
    if isinstance(prompt, list) and len(prompt) != 1:
        raise _refusal(f"{name!r} judges the answers to one prompt: send the prompts one by one.", "prompt")
    if isinstance(steps, Blend):
        if (exchange.fields.get("n") or 1) != 1:
            raise _refusal(f"{name!r} makes one answer of several: leave n out.", "n")
        if steps.fusion is not None and exchange.request.path != _CHAT:
            raise _refusal(f"{name!r} fuses answers, which it can of {_CHAT} only.", "model")


def _refusal(message: str, param: str) -> ApiError:
    return ApiError(400, message, code="not_with_this_plan", param=param)
