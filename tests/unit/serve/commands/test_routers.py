import json

from .conftest import run


def test_routers_as_json() -> None:
    listed = json.loads(run("routers", "--json").stdout)
    assert {"cluster", "hybrid-trans"} <= {info["name"] for info in listed}
    keys = {"name", "paper", "experts", "needs", "summary", "parameters"}
    assert all(set(info) == keys and info["experts"] in ("two", "n") for info in listed)


def test_routers_for_people() -> None:
    shown = run("routers").stdout
    assert "hybrid-trans" in shown
    assert "2404.14618" in shown
    assert max(map(len, shown.splitlines())) <= 100


def test_plans_and_judges() -> None:
    listed = json.loads(run("routers", "--judges", "--json").stdout)
    assert {("frugal", "plan"), ("answer-scorer", "judge")} <= {(info["name"], info["kind"]) for info in listed}
    assert "frugal" not in {info["name"] for info in json.loads(run("routers", "--json").stdout)}
    shown, only = run("routers").stdout, run("routers", "--judges").stdout
    assert "frugal" in shown
    assert "frugal" in only
    assert "hybrid-trans" not in only
