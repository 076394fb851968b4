"""How many users there are at which time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from loadtests.errors import LoadTestError

__all__ = ["SHAPES", "STEPS", "Stage", "stages", "users_at"]

SHAPES = ("constant", "steps", "spike")
STEPS = (1, 10, 100, 250, 500, 1000)
_SPIKE_BASE = 10


@dataclass(frozen=True, slots=True)
class Stage:
    """A time with a number of users that does not change.

    Attributes:
        users: how many there are.
        from_s: when they begin to come (or to go).
        until_s: when the next stage begins.
    """

    users: int
    from_s: float
    until_s: float


def stages(shape: str, *, users: int, seconds: float, steps: Sequence[int] = STEPS) -> list[Stage]:
    """The stages of a shape.

    Args:
        shape: `constant`; `steps`, one after the other, each as long; or `spike`: a tenth of the users, all of them in
            the middle fifth of the time, and a tenth again.
        users: of `constant`, and at the top of `spike`.
        seconds: the whole time.
        steps: users of each step.

    Raises:
        LoadTestError: there is no such shape.
    """
    if shape == "constant":
        return [Stage(users, 0.0, seconds)]
    if shape == "spike":
        low = max(1, users // _SPIKE_BASE)
        return [
            Stage(low, 0.0, 0.4 * seconds),
            Stage(users, 0.4 * seconds, 0.6 * seconds),
            Stage(low, 0.6 * seconds, seconds),
        ]
    if shape == "steps":
        each_s = seconds / len(steps)
        return [Stage(count, place * each_s, (place + 1) * each_s) for place, count in enumerate(steps)]
    raise LoadTestError(f"There is no shape {shape!r}: use one of {', '.join(SHAPES)}, or a trace.")


def users_at(plan: Sequence[Stage], time_s: float) -> int | None:
    """Users at a time; None when it is all over."""
    return next((stage.users for stage in plan if time_s < stage.until_s), None)
