import json
from pathlib import Path

from .conftest import refused, run


def test_route_sends_easy_prompts_to_small(artifact: Path) -> None:
    easy = json.loads(run("route", artifact, "What is 3 ?", "--json").stdout)
    hard = json.loads(run("route", artifact, "What is 3 + 4 + 5 + 6 + 7 + 8 + 9 + 1 ?", "--json").stdout)
    assert (easy["expert"], hard["expert"]) == ("small", "large")
    assert set(easy) == {"router", "expert", "score", "threshold", "qualities", "novelty", "reason"}


def test_route_follows_the_policy(artifact: Path) -> None:
    forced = json.loads(run("route", artifact, "What is 3 ?", "--threshold", 0, "--json").stdout)
    assert (forced["expert"], forced["threshold"]) == ("large", 0.0)
    assert json.loads(run("route", artifact, "x", "--experts", "small", "--json").stdout)["expert"] == "small"
    assert json.loads(run("route", artifact, "x", "--budget", 0.5, "--json").stdout)["expert"] == "small"
    assert "below the cheapest" in refused("route", artifact, "x", "--budget", 0.01)
    assert "unknown" in refused("route", artifact, "x", "--experts", "huge")
    assert "threshold is 2" in refused("route", artifact, "x", "--threshold", 2)


def test_route_for_people(artifact: Path) -> None:
    shown = run("route", artifact, "What is 3 ?").stdout
    assert "small" in shown
    assert "below the threshold" in shown


def test_route_without_a_router(tmp_path: Path) -> None:
    assert "There is no router" in refused("route", tmp_path / "none", "x")
