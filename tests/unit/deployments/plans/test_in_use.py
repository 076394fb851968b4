"""Plans do without experts that have stopped answering."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from deployments.breaker import Breaker
from deployments.openai import NoAnswerError
from deployments.plans.in_use import without_broken
from deployments.plans.plan import Blend, Cascade, Fusion, Single
from tests.unit.deployments.plans.conftest import JUDGE, Bench

CHAIN = Single(("small", "large"))


def broken(*experts: str) -> Breaker:
    breaker = Breaker(1, 60.0)
    for expert in experts:
        breaker.ended(expert, "failed", 1.0)
    return breaker


def all_but(*broken: str) -> Callable[[str], bool]:
    return lambda name: name not in broken


def test_each_kind_of_plan_loses_the_expert_and_its_threshold() -> None:
    assert without_broken(CHAIN, all_but("small")) == (Single(("large",)), ("small",))
    cascade = Cascade(("small", "large", "spare"), (0.3, 0.6), "judge")
    assert without_broken(cascade, all_but("small")) == (Cascade(("large", "spare"), (0.6,), "judge"), ("small",))
    assert without_broken(cascade, all_but("spare")) == (Cascade(("small", "large"), (0.3,), "judge"), ("spare",))
    assert without_broken(cascade, all_but("large", "spare"))[0] == Cascade(("small",), (), "judge")
    blend = Blend(("small", "large"), "judge", None, 1.0)
    assert without_broken(blend, all_but("small")) == (Blend(("large",), "judge", None, 1.0), ("small",))


def test_answers_are_not_fused_by_an_expert_that_is_out_of_use() -> None:
    fused = Blend(("small", "large"), "judge", Fusion("spare", 2, "{answers}"), 1.0)
    plain = Blend(("small", "large"), "judge", None, 1.0)
    assert without_broken(fused, all_but("spare")) == (plain, ("spare",))
    assert without_broken(fused, all_but("small", "spare")) == (replace(plain, experts=("large",)), ("small", "spare"))
    assert without_broken(fused, all_but()) == (fused, ())


def test_a_plan_is_never_left_without_an_expert() -> None:
    assert without_broken(CHAIN, all_but("small", "large")) == (CHAIN, ())
    assert without_broken(Single(("small",)), all_but("small")) == (Single(("small",)), ())
    assert without_broken(CHAIN, all_but()) == (CHAIN, ())


async def test_an_arm_is_out_of_use_with_its_expert(bench: Bench) -> None:
    bench.breaker = broken("small")
    answered = await bench.ask(Single(("small-x3", "large")))
    assert answered.outcomes == [("small-x3", "skipped"), ("large", "answered")]


async def test_an_expert_that_keeps_failing_is_asked_no_more_until_it_answers(bench: Bench) -> None:
    now_s = 0.0
    bench.breaker = Breaker(2, 10.0, lambda: now_s)
    bench.experts["small"].status = 500
    for _ in range(2):
        answered = await bench.ask(CHAIN)
        assert answered.outcomes == [("small", "failed"), ("large", "answered")]
    answered = await bench.ask(CHAIN)
    assert answered.outcomes == [("small", "skipped"), ("large", "answered")]
    assert answered.header["x-pointsman-attempts"] == "1"
    assert answered.header["x-pointsman-tried"] == "small=skipped, large=answered"
    assert len(bench.experts["small"].bodies) == 2
    with pytest.raises(NoAnswerError):
        await bench.ask(Single(("small",)))
    now_s = 10.0
    bench.experts["small"].status = 200
    assert (await bench.ask(CHAIN)).outcomes == [("small", "answered")]
    assert (await bench.ask(CHAIN)).outcomes == [("small", "answered")]


async def test_a_cascade_goes_on_without_its_cheap_expert(bench: Bench) -> None:
    bench.breaker = broken("small")
    answered = await bench.ask(Cascade(("small", "large"), (0.5,), JUDGE))
    assert answered.text == "large says"
    assert answered.outcomes == [("small", "skipped"), ("large", "answered")]
    assert bench.judge.asked == []
