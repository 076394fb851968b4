import json
import shutil
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from routers import PointsmanError, Policy, RoutingData, decide, load_router, make_router, save_router
from routers.promises import promises_of
from serve.commands.calibrate import calibrate


def run(*arguments: object) -> Result:
    app = typer.Typer()
    app.command()(calibrate)
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


def refused(*arguments: object) -> str:
    error = run(*arguments).exception
    assert isinstance(error, PointsmanError)
    return str(error)


@pytest.fixture
def saved(artifact: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(artifact, tmp_path / "router"))


def test_promises_are_stored_in_the_artifact(saved: Path, data_file: Path) -> None:
    shown = run(saved, data_file, "--max-drop", 0.15)
    assert shown.exit_code == 0, shown.output
    assert "without margin" in shown.stdout
    router = load_router(saved)
    promise = promises_of(router)[-1]
    assert (promise.limit, promise.n_prompts, promise.reference) == (0.15, 100, "large")
    assert router.threshold_ == promise.value  # type: ignore[attr-defined]
    assert decide(router, "What is 1 ?", Policy(max_quality_drop=0.15)).expert == "small"


def test_a_table_without_a_limit_leaves_the_threshold(saved: Path, data_file: Path, tmp_path: Path) -> None:
    before = (saved / "router.json").read_bytes()
    printed = run(saved, data_file, "--out", tmp_path / "new", "--json", "--confidence", 0.8)
    found = json.loads(printed.stdout)
    assert [promise["limit"] for promise in found["promises"]] == [0.05]
    assert [("promise 0.5" in line or "promised" in line) for line in found["refused"]] == [True] * 3
    assert (saved / "router.json").read_bytes() == before
    assert load_router(tmp_path / "new").threshold_ == load_router(saved).threshold_  # type: ignore[attr-defined]


def test_share_and_cost(saved: Path, data_file: Path) -> None:
    assert run(saved, data_file, "--max-large", 0.6, "--split", "all").exit_code == 0
    assert run(saved, data_file, "--max-cost", 700, "--split", "all").exit_code == 0
    assert [promise.kind for promise in promises_of(load_router(saved))] == ["max_drop", "max_large", "max_cost"]


def test_refusals_save_nothing(saved: Path, data_file: Path) -> None:
    before = (saved / "router.json").read_bytes()
    assert "cannot be promised" in refused(saved, data_file, "--max-drop", 0.2, "--max-drop", 0.001)
    assert "one thing at a time" in refused(saved, data_file, "--max-drop", 0.1, "--max-large", 0.1)
    assert "confidence" in refused(saved, data_file, "--max-drop", 0.1, "--confidence", 1.0)
    assert "no split 'dev'" in refused(saved, data_file, "--split", "dev")
    assert "saves nothing" in refused(saved, data_file, "--study", "--max-large", 0.1)
    assert (saved / "router.json").read_bytes() == before


def test_study_of_a_name_and_of_a_trained_router(data_file: Path, tmp_path: Path) -> None:
    save_router(make_router("random", seed=3).fit(RoutingData.read(data_file)), tmp_path / "random")
    for router in ("random", tmp_path / "random"):
        rows = json.loads(run(router, data_file, "--study", "--splits", 2, "--max-drop", 0.1, "--json").stdout)
        assert rows[0]["limit"] == 0.1
        assert rows[0]["n_calibration"] + rows[0]["n_unseen"] == 200
    assert "something off" in run("random", data_file, "--study", "--splits", 1).stdout
