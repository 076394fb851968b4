"""Throughput beside quality: the ratios of one run, and whether each setup reached what is aimed at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from serve.results.study import Aim
from serve.study.measuring import users_said
from serve.study.setups import LARGE, MOST_DROP

__all__ = ["LEAST_RATIO", "add_ratios", "aims"]

LEAST_RATIO = 2.0
_BASE = "all-large"
_UNAIMED = (_BASE, "all-small")


def add_ratios(setups: Sequence[dict[str, Any]]) -> None:
    """Give each step of each setup `ratio`: its requests/s over those of all-large at as many users.

    Where all-large was measured in several forms, it is the one that served most at those users. `ratio` is None where
    there is none.
    """
    base: dict[int, float] = {}
    for setup in setups:
        if setup["kind"] == _BASE:
            for step in setup["steps"]:
                base[step["users"]] = max(base.get(step["users"], 0.0), step["requests_per_s"])
    for setup in setups:
        for step in setup["steps"]:
            of = base.get(step["users"])
            step["ratio"] = step["requests_per_s"] / of if of else None


def aims(setups: Sequence[Mapping[str, Any]]) -> list[Aim]:
    """What is aimed at, for every setup but those with a single expert, at the most users that were measured."""
    return [found for setup in setups if setup["kind"] not in _UNAIMED and (found := _aim(setup)) is not None]


def _aim(setup: Mapping[str, Any]) -> Aim | None:
    step = max(setup["steps"], key=lambda one: one["users"], default=None)
    if step is None or step["ratio"] is None:
        return None
    quality = setup["quality"]
    drop = None if quality is None else quality["drop"]
    fast, good = step["ratio"] >= LEAST_RATIO, drop is not None and drop <= MOST_DROP
    said = "a quality drop that nobody measured" if drop is None else f"a quality drop of {_percent(drop)}"
    text = (
        f"`{setup['name']}` serves {step['ratio']:.2f} × {_BASE}'s requests/s at {users_said(step['users'])} at {said} "
        f"(wanted: at least {LEAST_RATIO:g} × at no more than {_percent(MOST_DROP)})"
    )
    causes = [*([] if fast else [_ceiling(step)]), *([] if good else ["Its answers are not known to be good enough."])]
    return Aim(text, fast and good, " ".join(filter(None, causes)))


def _ceiling(step: Mapping[str, Any]) -> str:
    """How far the share of prompts that the large expert answers would let the ratio grow."""
    share = step["shares"].get(LARGE, 0.0)
    if share <= 0:
        return ""
    said = f"`{LARGE}` answered {_percent(share)} of the requests"
    if 1 / share < LEAST_RATIO:
        return f"{said}, so that even if all other answers cost nothing it would be about {1 / share:.2f} ×."
    return f"{said}; the rest is what the other experts, the decisions and the relay take of the same resources."


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"
