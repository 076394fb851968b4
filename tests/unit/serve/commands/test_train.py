import json
from pathlib import Path

import pytest

from routers import RoutingData, load_router
from routers.calibration import calibrate
from routers.promises import promises_of

from .conftest import refused, run


def test_training_saves_a_router_with_its_threshold_and_summary(artifact: Path) -> None:
    router = load_router(artifact)
    noted = router.summary_["calibration"]
    assert router.threshold_ == noted["threshold"]  # type: ignore[attr-defined]
    assert 0.3 < noted["cost_advantage"] < 0.6
    assert noted["shares"]["small"] == pytest.approx(noted["cost_advantage"])


def test_the_threshold_is_what_calibrate_promises(artifact: Path, data_file: Path) -> None:
    router = load_router(artifact)
    calibration = RoutingData.read(data_file).subset("calibration")
    promise = calibrate(router, calibration, "max_drop", 0.1)
    assert promises_of(router) == [promise]
    noted = router.summary_["calibration"]
    assert (noted["threshold"], noted["quality_drop_bound"]) == (promise.value, promise.bound)


def test_training_is_kept_where_the_drop_cannot_be_promised(data_file: Path, tmp_path: Path) -> None:
    shown = run("train", "hybrid-trans", data_file, "--out", tmp_path / "router").stdout
    assert "Everything goes to large. A quality drop of at most 1.00% cannot be promised" in shown
    router = load_router(tmp_path / "router")
    assert promises_of(router) == []
    assert router.threshold_ == 0.0  # type: ignore[attr-defined]
    assert router.summary_["calibration"]["shares"]["large"] == 1.0


def test_training_summary_for_people_and_programs(data_file: Path, tmp_path: Path) -> None:
    shown = run("train", "hybrid-trans", data_file, "--out", tmp_path / "a").stdout
    assert "threshold" in shown
    assert "kept off large" in shown
    printed = run("train", "cluster", data_file, "--out", tmp_path / "b", "--json", "--param", "fallback=large")
    summary = json.loads(printed.stdout)
    assert summary["router"] == "cluster"
    assert summary["calibration"]["n_prompts"] == 100
    assert "threshold" not in summary["calibration"]


def test_parameters_seed_and_experts_reach_the_router(data_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "router"
    options = ("--param", "C=2.5", "--param", "small=large", "--param", "large=small", "--seed", "7")
    assert run("train", "hybrid-trans", data_file, "--out", out, *options).exit_code == 0
    router = load_router(out)
    assert router.experts_ == ("large", "small")
    assert router.get_params() == {**router.get_params(), "C": 2.5, "seed": 7}
    assert run("train", "cluster", data_file, "--out", out, "--experts", "large").exit_code == 0
    assert load_router(out).experts_ == ("large",)


def test_wrong_input_to_train(data_file: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "router")
    assert "no router 'hybird'" in refused("train", "hybird", data_file, *out)
    assert "no parameter 'c'" in refused("train", "hybrid-trans", data_file, *out, "--param", "c=1")
    assert "key=value" in refused("train", "hybrid-trans", data_file, *out, "--param", "C")
    assert "no routing data at" in refused("train", "hybrid-trans", tmp_path / "none", *out)
    assert "no split 'dev'" in refused("train", "hybrid-trans", data_file, *out, "--train-split", "dev")
    assert "no expert 'huge'" in refused("train", "hybrid-trans", data_file, *out, "--experts", "huge")
    assert "not a saved router" in refused("train", "hybrid-trans", data_file, "--out", tmp_path)
    assert "confidence of 1.5" in refused("train", "hybrid-trans", data_file, *out, "--confidence", "1.5")
    assert not (tmp_path / "router").exists()


def test_going_on_from_a_trained_router(artifact: Path, data_file: Path, tmp_path: Path) -> None:
    shifted = RoutingData.read(data_file).frame
    small = shifted["expert"] == "small"
    shifted.loc[small, "quality"] = (shifted.loc[small, "prompt"].str.count(r"\+") <= 5).astype(float)
    RoutingData(shifted).write(tmp_path / "target.parquet")
    for name in ((), ("hybrid-trans",)):
        out = tmp_path / f"adapted{len(name)}"
        options = ("--adapt-from", artifact, "--max-drop", "0.1", "--out", out)
        assert run("train", *name, tmp_path / "target.parquet", *options).exit_code == 0
        router, before = load_router(out), load_router(artifact)
        assert router.get_params() == before.get_params()
        assert router.summary_["adapted"][0]["prompts"] == 100
        noted = router.summary_["calibration"]
        assert router.threshold_ == noted["threshold"]  # type: ignore[attr-defined]
        assert noted["cost_advantage"] > before.summary_["calibration"]["cost_advantage"]
        assert router.data_hash_ == before.data_hash_


def test_adding_an_expert_to_a_trained_router(data_file: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    start = ("cluster-score", data_file, "--param", "n_clusters=4", "--param", "alpha=1.0")
    assert run("train", *start, "--out", first, "--experts", "small").exit_code == 0
    options = ("--adapt-from", first, "--add-expert", "large", "--out", second)
    assert run("train", data_file, *options).exit_code == 0
    router = load_router(second)
    assert router.experts_ == ("small", "large")
    assert router.summary_["calibration"]["quality"] > load_router(first).summary_["calibration"]["quality"]
    assert "knows the expert 'small'" in refused(
        "train", data_file, "--adapt-from", first, "--add-expert", "small", "--out", tmp_path / "third"
    )


def test_wrong_ways_to_go_on(artifact: Path, data_file: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "router")
    start = ("--adapt-from", artifact)
    assert "holds a 'hybrid-trans', not a 'cluster'" in refused("train", "cluster", data_file, *start, *out)
    assert "cannot take in new experts" in refused("train", data_file, *start, "--add-expert", "large", *out)
    assert "--adapt-from" in refused("train", "cluster", data_file, "--add-expert", "large", *out)
    assert "parameters and experts stay" in refused("train", data_file, *start, "--param", "C=1", *out)
    assert "parameters and experts stay" in refused("train", data_file, *start, "--experts", "small,large", *out)
    assert "There is no router at" in refused("train", data_file, "--adapt-from", tmp_path / "none", *out)
    assert "Name the router" in refused("train", data_file, *out)
    assert "not 3 arguments" in refused("train", "a", "b", data_file, *out)
    assert not (tmp_path / "router").exists()


def test_parameters_may_be_objects_and_lists(data_file: Path, tmp_path: Path) -> None:
    frame = RoutingData.read(data_file).frame
    RoutingData(frame.assign(size=frame["prompt"].str.len())).write(tmp_path / "data.parquet")
    features = '{"kind": "tfidf-svd", "n_components": 8}'
    options = ("--param", f"features={features}", "--param", 'side=["size"]', "--out", tmp_path / "router")
    printed = run("train", "hybrid-prob", tmp_path / "data.parquet", *options, "--max-drop", "0.1", "--json")
    assert json.loads(printed.stdout)["calibration"]["cost_advantage"] > 0.3
    params = load_router(tmp_path / "router").get_params()
    assert params["features"] == json.loads(features)
    assert params["side"] == ["size"]
