import json

from .conftest import run


def test_routers_as_json() -> None:
    listed = json.loads(run("routers", "--json").stdout)
    assert {"cluster", "hybrid-trans"} <= {info["name"] for info in listed}
    assert all({"paper", "experts", "needs", "summary"} <= set(info) for info in listed)


def test_routers_for_people() -> None:
    shown = run("routers").stdout
    assert "hybrid-trans" in shown
    assert "2404.14618" in shown
