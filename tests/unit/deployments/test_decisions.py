from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from deployments.decisions import RouteTable
from deployments.openai import ApiError
from deployments.plans.plan import Plan, Single
from deployments.routes import LearnedSpec
from deployments.scoring import Scoring
from routers import (
    ParameterError,
    Policy,
    RoutingData,
    load_router,
    make_router,
    save_router,
)

EXPERTS = ["sim-small", "sim-large", "spare"]


def scoring(*paths: Path) -> Scoring:
    return Scoring({str(path): load_router(path) for path in paths})


@pytest.fixture
def table(synthetic_router: Path) -> RouteTable:
    spec = LearnedSpec(str(synthetic_router))
    routes = {"auto": spec, "thrifty": LearnedSpec(spec.router, Policy(experts=("sim-small",)))}
    return RouteTable(EXPERTS, routes, "auto", scoring(synthetic_router))


@pytest.mark.parametrize(
    ("model", "text", "expert"),
    [
        (None, "easy red", "sim-small"),
        ("auto", "hard red", "sim-large"),
        ("auto@0", "easy red", "sim-large"),
        ("thrifty", "hard red", "sim-small"),
        ("thrifty@0", "easy red", "sim-small"),
        ("router-hybrid-trans-0", "easy red", "sim-large"),
        ("spare", "hard red", "spare"),
    ],
)
async def test_names(table: RouteTable, model: str | None, text: str, expert: str) -> None:
    assert (await table.plan(model, text)).expert == expert


@pytest.mark.parametrize("model", ["gpt-5", "auto@2", "spare@0.5", "router-cluster-0.5", ""])
async def test_names_that_do_not_exist(table: RouteTable, model: str) -> None:
    with pytest.raises(ApiError) as caught:
        await table.plan(model, "easy")
    assert caught.value.status in (400, 404)
    assert caught.value.param == "model"


async def test_no_model_without_a_default_route() -> None:
    with pytest.raises(ApiError, match="no default route"):
        await RouteTable(EXPERTS, {}, None, scoring()).plan(None, "easy")


async def test_one_requests_settings_leave_the_route_as_it_was(table: RouteTable) -> None:
    assert (await table.plan("auto", "easy red", {"threshold": 0})).expert == "sim-large"
    assert (await table.plan("auto", "easy red", {"experts": ["sim-large"]})).expert == "sim-large"
    assert (await table.plan("auto", "easy red")).expert == "sim-small"


@pytest.mark.parametrize("routing", [{"x": 1}, {"threshold": "high"}, {"experts": []}, {"experts": ["spare"]}, 7])
async def test_settings_that_cannot_be(table: RouteTable, routing: Any) -> None:
    with pytest.raises(ApiError) as caught:
        await table.plan("auto", "easy", routing)
    assert (caught.value.status, caught.value.code) == (400, "invalid_routing")


async def test_reconfigure_changes_and_restores_policies(table: RouteTable) -> None:
    table.reconfigure({"auto": {"threshold": 0.0}})
    assert (await table.plan("auto", "easy red")).expert == "sim-large"
    with pytest.raises(ParameterError, match="nobody"):
        table.reconfigure({"nobody": {"threshold": 0.5}})
    with pytest.raises(ParameterError):
        table.reconfigure({"auto": {"threshold": 7}})
    assert (await table.plan("auto", "easy red")).expert == "sim-large", "a refused change must change nothing"
    table.reconfigure({})
    assert (await table.plan("auto", "easy red")).expert == "sim-small"


def test_artifacts_must_fit_the_experts(synthetic_router: Path) -> None:
    routes = {"auto": LearnedSpec(str(synthetic_router))}
    with pytest.raises(ParameterError, match="trained for the expert 'sim-small'"):
        RouteTable(["large", "tiny"], routes, "auto", scoring(synthetic_router))
    with pytest.raises(ParameterError, match="has not been loaded"):
        RouteTable(EXPERTS, {"auto": LearnedSpec("elsewhere")}, "auto", scoring())


async def test_a_plan_explains_itself(table: RouteTable) -> None:
    plan = await table.plan("auto", "hard red")
    headers = plan.headers()
    assert headers["x-pointsman-route"] == "auto"
    assert float(headers["x-pointsman-score"]) >= float(headers["x-pointsman-threshold"])
    explained = plan.explain()
    assert explained["qualities"].keys() == {"sim-small", "sim-large"}
    assert 0 <= explained["confidence"] <= 1
    assert explained["novelty"] >= 0
    assert explained["fallback"] is None
    assert explained["plan"] == {"kind": "single", "experts": ("sim-large", "sim-small")}
    direct = Plan(Single(("spare",)))
    assert direct.headers() == {}
    assert direct.explain()["reason"] == "the request named the expert"


async def test_any_part_of_a_policy_can_be_one_requests_own(table: RouteTable) -> None:
    assert (await table.plan("auto", "hard red", {"quality_cost": 5})).expert == "sim-small"
    assert (await table.plan("auto@0", "easy red", {"quality_cost": None})).expert == "sim-large"
    novel = await table.plan("auto", "easy red", {"novelty": 0})
    assert novel.expert == "sim-large"
    assert "novelty" in novel.explain()["reason"]
    unsure = await table.plan("auto", "red blue", {"confidence": 0.999})
    assert unsure.expert == "sim-large"
    assert "confidence" in unsure.explain()["reason"]


async def test_a_requests_quality_cost_takes_the_place_of_the_routes_threshold(synthetic_router: Path) -> None:
    routes = {
        "dear": LearnedSpec(str(synthetic_router), Policy(threshold=0)),
        "traded": LearnedSpec(str(synthetic_router), Policy(quality_cost=5)),
    }
    table = RouteTable(EXPERTS, routes, None, scoring(synthetic_router))
    assert (await table.plan("dear", "hard red", {"quality_cost": 5})).expert == "sim-small"
    assert (await table.plan("traded@0", "easy red")).expert == "sim-large"
    with pytest.raises(ApiError, match="not both"):
        await table.plan("dear", "hard red", {"quality_cost": 5, "threshold": 0.5})


SIDES: list[Any] = [7, "law", ["law"], {"domain": None}, {"domain": ["law"]}, {"domain": {}}]


@pytest.mark.parametrize("side", SIDES)
async def test_side_information_must_be_plain_values(table: RouteTable, side: Any) -> None:
    with pytest.raises(ApiError) as caught:
        await table.plan("auto", "easy", {"side": side})
    assert (caught.value.status, caught.value.code) == (400, "invalid_routing")
    assert str(caught.value.param).startswith("routing.side")


@pytest.fixture(scope="module")
def sided(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A router that can only go by the number of images: above none, the large expert is needed."""
    rows = [
        (f"p{i}", "look at this", expert, 0, float(expert == "sim-large" or not images), 3, 3, cost, 0.1, images, "any")
        for i in range(60)
        for images in [i % 2 * 3]
        for expert, cost in (("sim-small", 0.1), ("sim-large", 1.0))
    ]
    columns = ["prompt_id", "prompt", "expert", "sample", "quality", "input_tokens", "output_tokens", "cost"]
    data = RoutingData(pd.DataFrame(rows, columns=[*columns, "latency_s", "images", "domain"]))
    path = tmp_path_factory.mktemp("sided") / "router"
    save_router(make_router("hybrid-trans", side=["images", "domain"]).fit(data), path)
    return path


async def test_side_information_of_the_request_and_of_its_routing_object(sided: Path) -> None:
    table = RouteTable(EXPERTS, {"auto": LearnedSpec(str(sided))}, "auto", scoring(sided))
    text = "look at this"
    assert (await table.plan(None, text, side=lambda: {"images": 0, "tools": 1})).expert == "sim-small"
    assert (await table.plan(None, text, side=lambda: {"images": 3})).expert == "sim-large"
    told = {"side": {"images": 3, "domain": "any", "unheard": True}}
    assert (await table.plan(None, text, told, lambda: {"images": 0})).expert == "sim-large", "what is told goes first"


async def test_side_information_is_not_asked_for_where_nobody_reads_it(table: RouteTable) -> None:
    def never() -> dict[str, int]:
        raise AssertionError("this router reads only text")

    assert (await table.plan("auto", "easy red", {"side": {"images": 2}}, never)).expert == "sim-small"
    assert (await table.plan("spare", "easy red", None, never)).expert == "spare"
