"""Plans without the experts that are out of use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import compress

from deployments.plans.plan import Blend, Cascade, Steps

__all__ = ["without_broken"]


def without_broken(steps: Steps, usable: Callable[[str], bool]) -> tuple[Steps, tuple[str, ...]]:
    """The steps of a plan without the experts that are out of use, and who these are; all of them if none is left.

    Args:
        steps: whom to ask.
        usable: whether an expert or arm is in use.
    """
    left_out: tuple[str, ...] = ()
    if isinstance(steps, Blend) and steps.fusion is not None and not usable(steps.fusion.expert):
        left_out = (steps.fusion.expert,)
        steps = replace(steps, fusion=None)
    use = [usable(name) for name in steps.experts]
    if all(use) or not any(use):
        return steps, left_out
    kept = tuple(compress(steps.experts, use))
    left_out = (*(name for name, used in zip(steps.experts, use, strict=True) if not used), *left_out)
    if isinstance(steps, Cascade):
        thresholds = tuple(compress(steps.thresholds, use))[: len(kept) - 1]
        return replace(steps, experts=kept, thresholds=thresholds), left_out
    return replace(steps, experts=kept), left_out
