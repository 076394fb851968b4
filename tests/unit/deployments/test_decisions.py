from pathlib import Path
from typing import Any

import pytest

from deployments.decisions import Plan, RouteSpec, RouteTable
from deployments.openai import ApiError
from routers import ArtifactError, ParameterError, Policy

EXPERTS = ["sim-small", "sim-large", "spare"]


@pytest.fixture
def table(synthetic_router: Path) -> RouteTable:
    spec = RouteSpec(str(synthetic_router))
    return RouteTable(
        EXPERTS, {"auto": spec, "thrifty": RouteSpec(spec.router, Policy(experts=("sim-small",)))}, "auto"
    )


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
def test_names(table: RouteTable, model: str | None, text: str, expert: str) -> None:
    assert table.plan(model, text).expert == expert


@pytest.mark.parametrize("model", ["gpt-5", "auto@2", "spare@0.5", "router-cluster-0.5", ""])
def test_names_that_do_not_exist(table: RouteTable, model: str) -> None:
    with pytest.raises(ApiError) as caught:
        table.plan(model, "easy")
    assert caught.value.status in (400, 404)
    assert caught.value.param == "model"


def test_no_model_without_a_default_route() -> None:
    with pytest.raises(ApiError, match="no default route"):
        RouteTable(EXPERTS, {}, None).plan(None, "easy")


def test_one_requests_settings_leave_the_route_as_it_was(table: RouteTable) -> None:
    assert table.plan("auto", "easy red", {"threshold": 0}).expert == "sim-large"
    assert table.plan("auto", "easy red", {"experts": ["sim-large"]}).expert == "sim-large"
    assert table.plan("auto", "easy red").expert == "sim-small"


@pytest.mark.parametrize("routing", [{"x": 1}, {"threshold": "high"}, {"experts": []}, {"experts": ["spare"]}, 7])
def test_settings_that_cannot_be(table: RouteTable, routing: Any) -> None:
    with pytest.raises(ApiError) as caught:
        table.plan("auto", "easy", routing)
    assert (caught.value.status, caught.value.code) == (400, "invalid_routing")


def test_reconfigure_changes_and_restores_policies(table: RouteTable) -> None:
    table.reconfigure({"auto": {"threshold": 0.0}})
    assert table.plan("auto", "easy red").expert == "sim-large"
    with pytest.raises(ParameterError, match="nobody"):
        table.reconfigure({"nobody": {"threshold": 0.5}})
    with pytest.raises(ParameterError):
        table.reconfigure({"auto": {"threshold": 7}})
    assert table.plan("auto", "easy red").expert == "sim-large", "a refused change must change nothing"
    table.reconfigure({})
    assert table.plan("auto", "easy red").expert == "sim-small"


def test_artifacts_must_fit_the_experts(synthetic_router: Path, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="trained for the expert 'sim-small'"):
        RouteTable(["large", "tiny"], {"auto": RouteSpec(str(synthetic_router))}, "auto")
    with pytest.raises(ArtifactError):
        RouteTable(EXPERTS, {"auto": RouteSpec(str(tmp_path / "nothing"))}, "auto")


def test_a_plan_explains_itself(table: RouteTable) -> None:
    plan = table.plan("auto", "hard red")
    headers = plan.headers()
    assert headers["x-pointsman-route"] == "auto"
    assert float(headers["x-pointsman-score"]) >= float(headers["x-pointsman-threshold"])
    assert plan.explain()["qualities"].keys() == {"sim-small", "sim-large"}
    direct = Plan("spare")
    assert direct.headers() == {"x-pointsman-expert": "spare", "x-pointsman-attempts": "1"}
    assert direct.explain()["reason"] == "the request named the expert"
