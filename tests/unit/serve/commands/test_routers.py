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
