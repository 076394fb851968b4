import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner, Result

from routers import PointsmanError, RoutingData, make_router, save_router
from serve.commands.evaluate import evaluate

METRICS = {
    "apgr", "apgr_exact", "cpt50", "cpt80", "cpt95", "aiq", "cost_to_match_best", "quality_drop", "own_choice",
    "ece_quality", "ece_score",
}  # fmt: skip


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sums and spellings, three experts, three domains of prompts, and a split."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(150):
        size, domain = int(rng.integers(1, 9)), ("sums", "words", "rest")[i % 3]
        words = "+".join(map(str, rng.integers(10, size=size))) if domain == "sums" else "abcdefgh"[:size]
        right = {"small": size <= 4, "sums": domain == "sums", "large": i % 10 != 0}
        for expert, cost in (("small", 0.1), ("sums", 0.3), ("large", 1.0)):
            quality, split = float(right[expert]), ("train", "train", "test")[(i // 3) % 3]
            rows.append((f"p{i}", f"{domain} {i} {words}", expert, 0, quality, 1, 1, cost, 0.0, domain, split))
    names = ["prompt_id", "prompt", "expert", "sample", "quality", "input_tokens", "output_tokens", "cost"]
    path = tmp_path_factory.mktemp("three") / "three.parquet"
    RoutingData(pd.DataFrame(rows, columns=[*names, "latency_s", "domain", "split"])).write(path)
    return path


def run(*arguments: object) -> Result:
    app = typer.Typer()
    app.command()(evaluate)
    return CliRunner().invoke(app, [*map(str, arguments), "--resamples", "50"])


def report(out: Path, *arguments: object) -> dict:
    done = run(*arguments, "--json", out)
    assert done.exit_code == 0, done.exception
    return json.loads(out.read_text())


def refused(*arguments: object) -> str:
    error = run(*arguments).exception
    assert isinstance(error, PointsmanError)
    return str(error)


def test_json_has_routers_and_baselines_in_one_form(data_file: Path, tmp_path: Path) -> None:
    found = report(tmp_path / "deep" / "out.json", "length", "poly-knn:k=5", data_file, "--folds", "3")
    assert list(found["routers"]) == ["length", "poly-knn:k=5"]
    singles = ["expert:large", "expert:small"]
    assert list(found["baselines"]) == [*singles, "random", "length", "zero-router", "prompt-oracle"]
    for of in (*found["routers"].values(), *found["baselines"].values()):
        assert set(of) == METRICS | {"decisions_per_s", "train_s", "ci95", "curve"}
        assert set(of["ci95"]) == METRICS
        assert set(of["quality_drop"]) == set(of["ci95"]["quality_drop"]) == {"10", "20", "40"}
    low, high = found["routers"]["length"]["ci95"]["apgr"]
    assert 0.5 < low < found["routers"]["length"]["apgr"] < high
    assert found["routers"]["poly-knn:k=5"]["decisions_per_s"] > 1
    assert (found["small"], found["large"], found["axis"]) == ("small", "large", "share")
    assert (found["n_prompts"], found["resamples"], found["protocol"]) == (200, 50, "3 folds")
    assert {"first", "second", "metric", "difference", "ci95", "p"} == set(found["paired"][0])


def test_tables_fit_120_columns_and_name_everyone(three: Path) -> None:
    shown = run("cluster:n_clusters=3", "length", three).stdout
    assert max(map(len, shown.splitlines())) <= 120
    for text in ("cluster:n_clusters=3", "expert:sums", "zero-router", "domain-oracle", "APGR", "CPT 50", "AIQ", "ECE"):
        assert text in shown
    assert "With more than two experts" in shown
    assert "150 prompts, 5 folds; small: small, large: large, best single: large" in shown


def test_more_than_two_experts_and_a_part_of_them(three: Path, tmp_path: Path) -> None:
    found = report(tmp_path / "a.json", "cluster:n_clusters=3", "random", three)
    assert found["axis"] == "cost"
    assert set(found["experts"]) == {"small", "sums", "large"}
    assert found["routers"]["cluster:n_clusters=3"]["apgr"] is not None
    pair = report(tmp_path / "b.json", "cluster:n_clusters=3", three, "--experts", "small, large")
    assert (pair["axis"], set(pair["experts"])) == ("share", {"small", "large"})
    named = report(tmp_path / "c.json", "length", three, "--small", "sums", "--large", "large")
    assert (named["small"], named["large"]) == ("sums", "large")


def test_splits_and_domains(three: Path, tmp_path: Path) -> None:
    split = report(tmp_path / "a.json", "length", three, "--test-split", "test")
    assert (split["n_prompts"], split["protocol"]) == (48, "judged on the split 'test'")
    turned = report(tmp_path / "b.json", "length", three, "--train-split", "test", "--test-split", "train")
    assert turned["n_prompts"] == 102
    every = report(tmp_path / "c.json", "length", three, "--hold-out-domain")
    assert (every["n_prompts"], every["protocol"]) == (150, "3 domains held out, each in turn")
    one = report(tmp_path / "d.json", "length", three, "--hold-out-domain", "--domain", "sums")
    assert (one["n_prompts"], one["protocol"]) == (50, "held out: sums")


def test_trained_router(three: Path, tmp_path: Path) -> None:
    data = RoutingData.read(three)
    for name, part in (("clean", data.subset("train")), ("whole", data)):
        save_router(make_router("cluster", n_clusters=3).fit(part), tmp_path / name)
    found = report(tmp_path / "a.json", tmp_path / "clean", "length", three, "--test-split", "test")
    assert list(found["routers"]) == [str(tmp_path / "clean"), "length"]
    assert found["notes"] == [note for note in found["notes"] if "learned from" not in note]
    assert "has learned from the split 'train'" in refused(tmp_path / "clean", three)
    assert "has learned from this very data" in refused(tmp_path / "whole", three, "--test-split", "test")


def test_trained_router_of_unknown_data_is_judged_with_a_warning(artifact: Path, three: Path, tmp_path: Path) -> None:
    found = report(tmp_path / "a.json", artifact, three, "--experts", "small,large")
    assert any("no part of this data" in note for note in found["notes"])


def test_experts_without_a_gap_are_said_to_have_none(data_file: Path, tmp_path: Path) -> None:
    found = report(tmp_path / "a.json", "length", data_file, "--small", "large", "--large", "small")
    assert found["routers"]["length"]["apgr"] is None
    assert any("no gap to recover" in note for note in found["notes"])


def test_seed_repeats_the_figures(data_file: Path, tmp_path: Path) -> None:
    first, again, other = (
        report(tmp_path / f"{i}.json", "random", data_file, "--seed", seed)["routers"]["random"]
        for i, seed in enumerate((1, 1, 2))
    )
    assert first["apgr"] == again["apgr"] != other["apgr"]
    assert first["ci95"] == again["ci95"]


def test_parameters_may_hold_lists_and_objects(data_file: Path, tmp_path: Path) -> None:
    text = 'ensemble:method=mean,members=[{"name":"random"},{"name":"length"}]'
    found = report(tmp_path / "a.json", text, data_file, "--folds", "2")
    assert list(found["routers"]) == [text]


def test_wrong_input_to_evaluate(data_file: Path, three: Path, tmp_path: Path) -> None:
    assert "at least one router" in refused(data_file)
    assert "neither the name of a router or plan nor a directory" in refused("hybird", data_file)
    assert "named twice" in refused("length", "length", data_file)
    assert "key=value" in refused("random:large_share", data_file)
    assert "no parameter 'lenght'" in refused("random:lenght=1", data_file)
    assert "no routing data at" in refused("length", tmp_path / "none")
    assert "Choose one of" in refused("length", three, "--folds", "2", "--hold-out-domain")
    assert "--domain says" in refused("length", three, "--domain", "sums")
    assert "also name what to judge on" in refused("length", three, "--train-split", "train")
    assert "no expert 'huge'" in refused("length", data_file, "--experts", "small,huge")
    assert "large expert 'huge'" in refused("length", data_file, "--large", "huge")
    assert "no column 'domain'" in refused("length", data_file, "--hold-out-domain")
    assert "cannot be written" in refused("length", data_file, "--json", tmp_path)
    assert run("length", data_file, "--folds", "1").exit_code == 2
