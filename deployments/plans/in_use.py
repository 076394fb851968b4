"""Plans without the experts that are out of use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from deployments.breaker import Breaker
from deployments.plans.plan import Cascade, Steps

__all__ = ["without_broken"]


def without_broken(steps: Steps, breaker: Breaker, stands_for: Mapping[str, str]) -> tuple[Steps, tuple[str, ...]]:
    """The steps of a plan without the experts that are out of use, and who these are; all of them if none is left.

    Args:
        steps: whom to ask.
        breaker: who is out of use.
        stands_for: the expert of each arm.
    """
    kept = tuple(name for name in steps.experts if breaker.usable(stands_for.get(name, name)))
    if not kept or len(kept) == len(steps.experts):
        return steps, ()
    left_out = tuple(name for name in steps.experts if name not in kept)
    changes: dict[str, Any] = {"experts": kept}
    if isinstance(steps, Cascade):
        limits = dict(zip(steps.experts, steps.thresholds, strict=False))
        changes["thresholds"] = tuple(limits[name] for name in kept[:-1])
    return replace(steps, **changes), left_out
