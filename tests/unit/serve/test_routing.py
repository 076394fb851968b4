from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pydantic import ValidationError

from deployments.plans.exchange import Arm
from deployments.plans.plan import Fusion, SelfVerification
from deployments.routes import BlendSpec, CascadeSpec, LearnedSpec
from routers import ArtifactError, ParameterError, Policy, RoutingData, make_judge, make_router, save_judge, save_router
from serve.config import PointsmanSettings
from serve.routing import Routing, read_routing, route_table
from tests.synthetic import synthetic_data
from tests.unit.routers.checkpoints import tiny_encoder

PRICE = {"input_per_million": 1.0, "output_per_million": 1.0}


def answered() -> RoutingData:
    """Answers that are told apart by their words: small's to hard prompts are bad, all others good."""
    frame = synthetic_data("small", "large").frame
    said = frame["quality"].map({1.0: "surely so", 0.0: "no idea"})
    return RoutingData(pd.DataFrame(frame.assign(response=said)))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a quick router, a slow one, a cascade and a judge."""
    folder = tmp_path_factory.mktemp("artifacts")
    data = synthetic_data("small", "large")
    save_router(make_router("hybrid-trans").fit(data), folder / "quick")
    save_router(make_router("hybrid-det", encoder=tiny_encoder(), encoder_epochs=1).fit(data), folder / "slow")
    save_judge(make_judge("frugal", budget_share=0.7).fit(answered()), folder / "frugal")
    save_judge(make_judge("answer-scorer").fit(answered()), folder / "judge")
    return folder


def settings(place: Path, routes: dict[str, Any], **more: Any) -> PointsmanSettings:
    def absolute(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: absolute(one) for key, one in value.items()}
        return str(place / value[1:]) if isinstance(value, str) and value.startswith("@") else value

    experts = {name: {"price": PRICE} for name in ("small", "large", "spare")}
    return PointsmanSettings.model_validate(absolute({"experts": experts, "routes": routes, **more}))


def read(place: Path, route: dict[str, Any], **more: Any) -> tuple[Any, Routing]:
    given = settings(place, {"r": route}, **more)
    routing = read_routing(given)
    route_table(given, routing)
    return routing.routes["r"], routing


def test_a_quick_router_is_loaded_by_router_replicas(place: Path) -> None:
    spec, routing = read(place, {"router": "@quick", "policy": {"threshold": 0.3}})
    assert spec == LearnedSpec(str(place / "quick"), Policy(threshold=0.3))
    assert (routing.quick, routing.slow) == ((str(place / "quick"),), ())


def test_a_slow_router_belongs_into_the_pool_and_leaves_its_outline(place: Path) -> None:
    spec, routing = read(place, {"router": "@slow", "light": "@quick"})
    assert (spec.outline.name, spec.outline.experts_) == ("hybrid-det", ("small", "large"))
    assert spec.light == str(place / "quick")
    assert (routing.quick, routing.slow) == ((str(place / "quick"),), (str(place / "slow"),))


def test_a_cascade_takes_order_and_thresholds_from_its_artifact(place: Path) -> None:
    spec, routing = read(place, {"cascade": "@frugal"})
    assert isinstance(spec, CascadeSpec)
    assert (spec.experts, len(spec.thresholds)) == (("small", "large"), 1)
    assert routing.quick == (str(place / "frugal"),)


async def test_a_budget_chooses_another_setting_of_a_cascade(place: Path) -> None:
    given = settings(place, {"r": {"cascade": "@frugal"}})
    table = route_table(given, read_routing(given))
    assert (await table.plan("r", "x", {"budget": 1.1e-6})).steps.experts == ("small",)
    with pytest.raises(Exception, match="cheapest way costs"):
        await table.plan("r", "x", {"budget": 1e-9})
    with pytest.raises(Exception, match="asks small only"):
        await table.plan("r", "x", {"budget": 1.1e-6, "experts": ["large"]})


def test_self_verification_and_blends_need_no_more_than_the_configuration(place: Path) -> None:
    spec, routing = read(place, {"self_verify": {"experts": ["small", "spare", "large"], "threshold": 0.7}})
    assert (spec.thresholds, type(spec.judge)) == ((0.7, 0.7), SelfVerification)
    assert routing.artifacts == {}
    blend = {"ranker": "@judge", "experts": ["small", "large"], "fuser": "spare", "top_k": 2}
    spec, routing = read(place, {"blend": blend})
    assert isinstance(spec, BlendSpec)
    assert isinstance(spec.fusion, Fusion)
    assert (spec.judge, spec.fusion.expert, spec.chosen_by) == (str(place / "judge"), "spare", None)
    chosen, _ = read(place, {"blend": {**blend, "router": "@quick", "members": 2}})
    assert (chosen.members, chosen.chosen_by.router) == (2, str(place / "quick"))


def test_arms_can_be_chosen_by_routers(place: Path) -> None:
    data = synthetic_data("small-x4", "large")
    save_router(make_router("hybrid-trans").fit(data), place / "over-arms")
    arms = {"small-x4": {"expert": "small", "n": 4, "ranker": "@judge"}}
    spec, routing = read(place, {"router": "@over-arms"}, arms=arms)
    assert routing.arms == {"small-x4": Arm("small", 4, str(place / "judge"))}
    assert spec.router == str(place / "over-arms")
    with pytest.raises(ParameterError, match="trained for the expert 'small-x4', which is not configured"):
        read(place, {"router": "@over-arms"})


@pytest.mark.parametrize(
    ("route", "message"),
    [
        ({"router": "@nothing"}, "no router at"),
        ({"router": "@judge"}, "is no router"),
        ({"cascade": "@quick"}, "is a router and judges no answers"),
        ({"cascade": "@judge"}, "is no cascade"),
        ({"blend": {"ranker": "@quick", "experts": ["small", "large"]}}, "judges no answers"),
        ({"router": "@slow", "light": "@slow"}, "is slow itself"),
        ({"router": "@quick", "light": "@quick"}, "remove light"),
        ({"self_verify": {"experts": ["small", "huge"]}}, "asks the expert 'huge'"),
        ({"blend": {"ranker": "@judge", "experts": ["small", "large"], "fuser": "huge"}}, "asks the expert 'huge'"),
        ({"cascade": "@frugal", "policy": {"novelty": 1}}, "has no 'novelty'"),
    ],
)
def test_what_does_not_fit_is_named(place: Path, route: dict[str, Any], message: str) -> None:
    with pytest.raises((ParameterError, ArtifactError), match=message):
        read(place, route)


@pytest.mark.parametrize(
    ("route", "message"),
    [
        ({}, "has none of them"),
        ({"router": "a", "cascade": "b"}, "has router and cascade"),
        ({"cascade": "b", "light": "a"}, "light belongs to a route with a router"),
        ({"self_verify": {"experts": ["small"]}}, "at least 2"),
        ({"self_verify": {"experts": ["small", "large"], "prompt": "ok?"}}, "must hold"),
        ({"self_verify": {"experts": ["small", "large"], "accept": "("}}, "no regular expression"),
        ({"blend": {"ranker": "x", "experts": ["small", "large"], "members": 2}}, "go together"),
    ],
)
def test_a_route_that_makes_no_sense_is_refused(place: Path, route: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        settings(place, {"r": route})


def test_names_mean_one_thing(place: Path) -> None:
    arm = {"expert": "small", "n": 2, "ranker": "x"}
    for arms, message in (
        ({"small": arm}, "both an arm and an expert"),
        ({"r": arm}, "both a route and an arm"),
        ({"x": {**arm, "expert": "huge"}}, "which is not an expert"),
    ):
        with pytest.raises(ValidationError, match=message):
            settings(place, {"r": {"router": "x"}}, arms=arms)
