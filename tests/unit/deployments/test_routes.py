from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deployments.decisions import RouteTable
from deployments.openai import ApiError
from deployments.plans.plan import Blend, Cascade, Fusion, Plan, SelfVerification, Single
from deployments.routes import BlendSpec, CascadeSpec, LearnedSpec
from deployments.scoring import Scoring
from routers import FeatureError, Outline, ParameterError, Policy, Prediction, load_router, make_router
from routers.methods.hybrid import HybridTransRouter
from tests.synthetic import synthetic_data

EXPERTS = ["sim-small", "sim-large", "spare"]


class SlowRouter(HybridTransRouter):
    """A real router that takes its time in a thread, or finds its source of features silent."""

    delay_s = 0.0
    silent = False

    @property
    def slow(self) -> bool:
        return True

    def _predict(self, prompts: Sequence[str]) -> Prediction:
        time.sleep(self.delay_s)
        if self.silent:
            raise FeatureError("The embeddings endpoint is silent: see whether it runs.")
        return super()._predict(prompts)

    async def _predict_async(self, prompts: Sequence[str]) -> Prediction:
        return await asyncio.to_thread(self._predict, prompts)


@pytest.fixture
def slow(synthetic_router: Path) -> SlowRouter:
    made = SlowRouter.__new__(SlowRouter)
    made.__dict__.update(load_router(synthetic_router).__dict__)
    return made


def table_of(router: SlowRouter, timeout_s: float = 5.0, **more: Any) -> RouteTable:
    artifacts = {"slow": router, **more.pop("artifacts", {})}
    spec = replace(LearnedSpec("slow"), **more)
    return RouteTable(EXPERTS, {"auto": spec}, "auto", Scoring(artifacts), decision_timeout_s=timeout_s)


async def ticks_during(work: Awaitable[Plan]) -> tuple[Plan, int]:
    """How often the event loop came round while the work was going on."""
    count = 0

    async def tick() -> None:
        nonlocal count
        while True:
            await asyncio.sleep(0.005)
            count += 1

    ticking = asyncio.create_task(tick())
    plan = await work
    ticking.cancel()
    return plan, count


async def test_a_slow_router_decides_while_the_event_loop_goes_on(slow: SlowRouter) -> None:
    table = table_of(slow)
    slow.delay_s = 0.2
    plan, count = await ticks_during(table.plan("auto", "easy red"))
    assert (plan.expert, plan.fallback) == ("sim-small", None)
    assert plan.decision_us >= 200_000
    assert count > 5
    started_s = time.perf_counter()
    plans = await asyncio.gather(*(table.plan("auto", f"hard {i}") for i in range(6)))
    assert {plan.expert for plan in plans} == {"sim-large"}
    assert time.perf_counter() - started_s < 1.1, "they wait next to each other"


async def test_a_late_router_leaves_the_prompt_to_its_fallback(slow: SlowRouter) -> None:
    table = table_of(slow, timeout_s=0.05)
    slow.delay_s = 0.4
    plan, count = await ticks_during(table.plan("auto", "easy red"))
    assert count > 2
    assert plan.decision_us < 400_000
    assert (plan.expert, plan.fallback) == ("sim-large", "late")
    assert plan.headers()["x-pointsman-fallback"] == "late"
    assert "x-pointsman-score" not in plan.headers()
    explained = plan.explain()
    assert explained["reason"] == "the router slow took longer than 0.05 s"
    assert (explained["score"], explained["confidence"], explained["qualities"]) == (None, None, {})


async def test_a_failing_router_leaves_the_prompt_to_its_fallback(slow: SlowRouter) -> None:
    table = table_of(slow)
    slow.silent = True
    plan = await table.plan("auto", "easy red")
    assert (plan.expert, plan.fallback) == ("sim-large", "failed")
    assert "failed (FeatureError)" in plan.explain()["reason"]
    only_small = await table.plan("auto", "hard red", {"experts": ["sim-small"]})
    assert only_small.steps == Single(("sim-small",)), "the policy goes before the fallback"
    with pytest.raises(ApiError) as caught:
        await table.plan("auto", "hard red", {"budget": 0})
    assert caught.value.status == 400


async def test_whoever_leaves_while_a_slow_router_thinks_is_let_go(slow: SlowRouter) -> None:
    table = table_of(slow)
    slow.delay_s = 0.2
    asking = asyncio.create_task(table.plan("auto", "easy red"))
    await asyncio.sleep(0.02)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_the_light_router_decides_while_the_slow_one_is_silent(slow: SlowRouter, synthetic_router: Path) -> None:
    light = make_router("length", small="sim-small", large="sim-large").fit(synthetic_data("sim-small", "sim-large"))
    table = table_of(slow, light="light", artifacts={"light": light})
    heard = await table.plan("auto", "hard red")
    assert (heard.router, heard.fallback) == ("hybrid-trans", None)
    slow.silent = True
    plan = await table.plan("auto@0.0", "easy red")
    assert (plan.router, plan.fallback) == ("length", "failed")
    assert plan.decision is not None
    assert plan.decision.threshold == light.threshold_, "another router's threshold means something else"
    narrowed = await table.plan("auto", "easy red", {"experts": ["sim-small"]})
    assert narrowed.steps == Single(("sim-small",))
    assert narrowed.router == "length"


async def test_a_light_router_that_knows_no_allowed_expert_is_not_asked(slow: SlowRouter) -> None:
    data = synthetic_data("spare", "sim-large")
    light = make_router("constant", expert="spare").fit(data)
    table = table_of(slow, light="light", artifacts={"light": light})
    slow.silent = True
    assert (await table.plan("auto", "easy red")).expert == "spare"
    plan = await table.plan("auto", "easy red", {"experts": ["sim-small"]})
    assert (plan.router, plan.steps) == ("hybrid-trans", Single(("sim-small",)))


async def test_an_outline_chooses_as_the_router_does(slow: SlowRouter, synthetic_router: Path) -> None:
    outline = Outline.of(load_router(synthetic_router))
    spec = LearnedSpec("slow", outline=outline)
    table = RouteTable(EXPERTS, {"auto": spec}, None, Scoring({"slow": slow}))
    for text in ("easy red", "hard red"):
        whole = await table_of(slow).plan("auto", text)
        plan = await table.plan("auto", text)
        assert (plan.steps, plan.decision) == (whole.steps, whole.decision)
    with pytest.raises(ParameterError, match="promises no drop"):
        RouteTable(EXPERTS, {"auto": replace(spec, policy=Policy(max_quality_drop=0.1))}, None, Scoring({}))


async def test_who_answers_next_is_the_next_best_of_the_allowed(synthetic_router: Path) -> None:
    data = synthetic_data("sim-small", "sim-large")
    spare = data.frame[data.frame["expert"] == "sim-small"].assign(expert="spare", quality=0.5)
    import pandas as pd

    from routers import RoutingData

    router = make_router("poly-knn").fit(RoutingData(pd.concat([data.frame, spare], ignore_index=True)))
    table = RouteTable(EXPERTS, {"auto": LearnedSpec("knn")}, None, Scoring({"knn": router}))
    assert (await table.plan("auto", "hard red")).steps == Single(("sim-large", "spare", "sim-small"))
    allowed = await table.plan("auto", "hard red", {"experts": ["sim-small", "spare"]})
    assert allowed.steps == Single(("spare", "sim-small"))
    two = RouteTable(EXPERTS, {"auto": LearnedSpec("knn")}, None, Scoring({"knn": router}), max_attempts=2)
    assert len((await two.plan("auto", "hard red")).steps.experts) == 2


CASCADE = CascadeSpec(("sim-small", "spare", "sim-large"), (0.8, 0.6), "judge")


async def test_a_cascade_asks_in_order_within_what_is_allowed() -> None:
    table = RouteTable(EXPERTS, {"frugal": CASCADE}, None, Scoring({}))
    plan = await table.plan("frugal", "anything")
    assert plan.steps == Cascade(("sim-small", "spare", "sim-large"), (0.8, 0.6), "judge")
    assert plan.headers()["x-pointsman-router"] == "frugal"
    assert "judge" not in plan.explain()["plan"], "where an artifact lies is no client's business"
    fewer = await table.plan("frugal", "anything", {"experts": ["sim-large", "sim-small"]})
    assert fewer.steps == Cascade(("sim-small", "sim-large"), (0.8,), "judge")
    strict = await table.plan("frugal@0.95", "anything")
    assert strict.steps == Cascade(CASCADE.experts, (0.95, 0.95), "judge")
    last = await table.plan("frugal", "anything", {"experts": ["spare"]})
    assert last.steps == Cascade(("spare",), (), "judge"), "the only one is always kept"
    for routing in ({"budget": 1}, {"experts": ["nobody"]}):
        with pytest.raises(ApiError) as caught:
            await table.plan("frugal", "anything", routing)
        assert caught.value.status == 400
    table.reconfigure({"frugal": {"threshold": 0.1}})
    assert (await table.plan("frugal", "anything")).steps == Cascade(CASCADE.experts, (0.1, 0.1), "judge")


async def test_self_verification_shows_how_it_asks() -> None:
    how = SelfVerification(5, "Is {answer} right?", "yes")
    spec = CascadeSpec(("sim-small", "sim-large"), (0.5,), how)
    plan = await RouteTable(EXPERTS, {"sv": spec}, None, Scoring({})).plan("sv", "anything")
    explained = plan.explain()["plan"]
    assert (explained["kind"], explained["judge"]["samples"]) == ("self-verify", 5)


async def test_a_blend_asks_all_or_those_its_router_expects_most_of(synthetic_router: Path) -> None:
    whole = BlendSpec(("sim-small", "sim-large"), "judge", Fusion("spare", 2, "{answers}"))
    chosen = replace(whole, members=1, chosen_by=LearnedSpec("router"))
    scoring = Scoring({"router": load_router(synthetic_router)})
    table = RouteTable(EXPERTS, {"all": whole, "best": chosen}, None, scoring)
    plan = await table.plan("all", "hard red")
    assert plan.steps == Blend(("sim-small", "sim-large"), "judge", whole.fusion, 30.0)
    assert (await table.plan("all", "hard red", {"experts": ["sim-large"]})).steps.experts == ("sim-large",)
    assert (await table.plan("best", "hard red")).steps.experts == ("sim-large",)
    assert (await table.plan("best", "easy red")).steps.experts == ("sim-small",)
    with pytest.raises(ApiError, match="has no 'threshold'"):
        await table.plan("all@0.5", "hard red")
    with pytest.raises(ParameterError, match="does not know the member 'spare'"):
        RouteTable(EXPERTS, {"x": replace(chosen, experts=("spare", "sim-large"))}, None, scoring)
    with pytest.raises(ParameterError, match="asks the expert 'spare'"):
        RouteTable(["sim-small", "sim-large"], {"all": whole}, None, scoring)
