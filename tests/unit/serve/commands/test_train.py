import json
from pathlib import Path

import pytest

from routers import load_router

from .conftest import refused, run


def test_training_saves_a_router_with_its_threshold_and_summary(artifact: Path) -> None:
    router = load_router(artifact)
    noted = router.summary_["calibration"]
    assert router.threshold_ == noted["threshold"]  # type: ignore[attr-defined]
    assert noted["quality_drop_bound"] <= 0.01
    assert 0.3 < noted["cost_advantage"] < 0.6
    assert noted["shares"]["small"] == pytest.approx(noted["cost_advantage"])


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
    assert not (tmp_path / "router").exists()
