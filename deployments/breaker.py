"""Leaving out experts that have stopped answering, until they answer again."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Breaker"]

_PATIENCE_S = 5.0
"""An expert that was given less time than this is not to blame for having been late."""


class Breaker:
    """One circuit breaker for each expert (Nygard, Release It!, 2nd edition, section 5.2).

    An expert that has failed, or been late, so many times in a row is out of use: plans that can ask another one do
    without it. When a while has passed, a single request tries it. Its answer brings the expert back; otherwise it
    stays out of use for as long again. A full queue, which an expert says at once, and an error that is the request's
    own fault change nothing. Each Router replica goes by what it has seen itself.

    Args:
        failures: attempts without an answer in a row that put an expert out of use; 0: none ever is.
        cooldown_s: how long it is left alone.
        clock: seconds, for tests.
    """

    def __init__(
        self, failures: int = 5, cooldown_s: float = 10.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = failures
        self._cooldown_s = cooldown_s
        self._clock = clock
        self._failures: dict[str, int] = {}
        self._out_until_s: dict[str, float] = {}
        self._tried: set[str] = set()

    def usable(self, expert: str) -> bool:
        """Whether plans should ask it: it is in use, or nobody is trying it although its time has come."""
        out_until_s = self._out_until_s.get(expert)
        return out_until_s is None or (expert not in self._tried and self._clock() >= out_until_s)

    def asked(self, expert: str) -> None:
        """Note that an attempt begins."""
        if expert in self._out_until_s:
            self._tried.add(expert)

    def ended(self, expert: str, outcome: str, waited_s: float) -> None:
        """Note what came of an attempt.

        Args:
            expert: who was asked.
            outcome: of `Attempt`, before anybody judges the answer.
            waited_s: how long it took.
        """
        if not self._limit:
            return
        self._tried.discard(expert)
        if outcome == "failed" or (outcome == "late" and waited_s >= _PATIENCE_S):
            self._failures[expert] = self._failures.get(expert, 0) + 1
            if self._failures[expert] >= self._limit:
                self._out_until_s[expert] = self._clock() + self._cooldown_s
        elif outcome == "answered":
            self.answered(expert)

    def answered(self, expert: str) -> None:
        """Note that an expert answers."""
        self._failures.pop(expert, None)
        self._out_until_s.pop(expert, None)
