"""Circuit breakers: out of use after failures in a row, and back after an answer."""

from __future__ import annotations

import pytest

from deployments.breaker import Breaker


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(3, 10.0, clock)


def end(breaker: Breaker, *outcomes: str, expert: str = "small", waited_s: float = 60.0) -> None:
    for outcome in outcomes:
        breaker.asked(expert)
        breaker.ended(expert, outcome, waited_s)


def test_failures_in_a_row_put_an_expert_out_of_use(breaker: Breaker) -> None:
    end(breaker, "failed", "late")
    assert breaker.usable("small")
    end(breaker, "failed")
    assert not breaker.usable("small")
    assert breaker.usable("large")


def test_an_answer_between_failures_starts_the_count_anew(breaker: Breaker) -> None:
    end(breaker, "failed", "failed", "answered", "failed", "failed")
    assert breaker.usable("small")


def test_an_expert_is_back_when_its_answer_begins(breaker: Breaker, clock: Clock) -> None:
    end(breaker, "failed", "failed", "failed")
    clock.now_s += 10
    breaker.asked("small")
    breaker.answered("small")
    assert breaker.usable("small")


@pytest.mark.parametrize("outcome", ["refused", "cancelled"])
def test_what_says_nothing_about_an_expert_changes_nothing(breaker: Breaker, outcome: str) -> None:
    end(breaker, *[outcome] * 9)
    assert breaker.usable("small")
    end(breaker, "failed", outcome, "failed", outcome, "failed")
    assert not breaker.usable("small")


def test_a_client_in_a_hurry_is_not_the_experts_fault(breaker: Breaker) -> None:
    end(breaker, *["late"] * 9, waited_s=0.5)
    assert breaker.usable("small")


def test_one_request_tries_it_after_a_while(breaker: Breaker, clock: Clock) -> None:
    end(breaker, "failed", "failed", "failed")
    clock.now_s += 9.9
    assert not breaker.usable("small")
    clock.now_s += 0.1
    assert breaker.usable("small")
    breaker.asked("small")
    clock.now_s += 100
    assert not breaker.usable("small"), "somebody is trying it"
    breaker.ended("small", "late", 100)
    assert not breaker.usable("small")
    clock.now_s += 10
    end(breaker, "answered")
    assert breaker.usable("small")
    end(breaker, "failed", "failed")
    assert breaker.usable("small")


def test_a_try_that_is_cancelled_leaves_room_for_another(breaker: Breaker, clock: Clock) -> None:
    end(breaker, "failed", "failed", "failed")
    clock.now_s += 10
    end(breaker, "cancelled")
    assert breaker.usable("small")


def test_without_a_limit_no_expert_is_out_of_use() -> None:
    never = Breaker(0)
    end(never, *["failed"] * 99)
    assert never.usable("small")
