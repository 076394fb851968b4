import json
from pathlib import Path

from routers import RoutingData

from .conftest import refused, run


def test_route_sends_easy_prompts_to_small(artifact: Path) -> None:
    easy = json.loads(run("route", artifact, "What is 3 ?", "--json").stdout)
    hard = json.loads(run("route", artifact, "What is 3 + 4 + 5 + 6 + 7 + 8 + 9 + 1 ?", "--json").stdout)
    assert (easy["expert"], hard["expert"]) == ("small", "large")
    told = {"router", "expert", "score", "threshold", "qualities", "novelty", "confidence", "reason", "candidates"}
    assert set(easy) == told


def test_route_follows_the_policy(artifact: Path) -> None:
    forced = json.loads(run("route", artifact, "What is 3 ?", "--threshold", 0, "--json").stdout)
    assert (forced["expert"], forced["threshold"]) == ("large", 0.0)
    assert json.loads(run("route", artifact, "x", "--experts", "small", "--json").stdout)["expert"] == "small"
    assert json.loads(run("route", artifact, "x", "--budget", 0.5, "--json").stdout)["expert"] == "small"
    assert "below the cheapest" in refused("route", artifact, "x", "--budget", 0.01)
    assert "unknown" in refused("route", artifact, "x", "--experts", "huge")
    assert "threshold is 2" in refused("route", artifact, "x", "--threshold", 2)


def test_route_falls_back_where_it_is_unsure_or_the_prompt_is_novel(artifact: Path) -> None:
    unsure = json.loads(run("route", artifact, "What is 3 + 4 + 5 + 6 ?", "--confidence", 0.95, "--json").stdout)
    assert (unsure["expert"], "confidence" in unsure["reason"]) == ("large", True)
    novel = json.loads(run("route", artifact, "What is 3 ?", "--novelty", 0, "--json").stdout)
    assert (novel["expert"], "novelty" in novel["reason"]) == ("large", True)
    traded = json.loads(run("route", artifact, "What is 3 + 4 + 5 + 6 + 7 + 8 ?", "--quality-cost", 5, "--json").stdout)
    assert traded["expert"] == "small"


def test_route_with_side_information(data_file: Path, tmp_path: Path) -> None:
    frame = RoutingData.read(data_file).frame
    size = frame["prompt"].str.count(r"\+") + 1
    labels = size.map(lambda n: "few" if n <= 4 else "many")
    same = "add these, " + frame["prompt_id"]
    RoutingData(frame.assign(prompt=same, size=size, kind=labels)).write(tmp_path / "data.parquet")
    options = ("--param", 'side=["size", "kind"]', "--max-drop", "0.1", "--out", tmp_path / "router")
    assert run("train", "hybrid-prob", tmp_path / "data.parquet", *options).exit_code == 0
    for size, kind, expert in ((1, "few", "small"), (8, "many", "large")):
        side = ("--side", f"size={size}", "--side", f"kind={kind}")
        shown = json.loads(run("route", tmp_path / "router", "add these", *side, "--json").stdout)
        assert shown["expert"] == expert
    assert "key=value" in refused("route", tmp_path / "router", "add these", "--side", "size")


def test_route_for_people(artifact: Path) -> None:
    shown = run("route", artifact, "What is 3 ?").stdout
    assert "small" in shown
    assert "below the threshold" in shown
    assert "confidence" in shown
    assert "novelty" in shown


def test_route_without_a_router(tmp_path: Path) -> None:
    assert "There is no router" in refused("route", tmp_path / "none", "x")
