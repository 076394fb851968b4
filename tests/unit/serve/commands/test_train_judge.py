"""Plans and judges of answers, trained and held against routers as a user would."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from routers import AnswerScorer, load_judge
from serve.commands.evaluate import evaluate

from .conftest import refused, run


@pytest.fixture(scope="module")
def frugal(answered_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("plans") / "frugal"
    done = run("train", "frugal", answered_file, "--param", "budget_share=0.7", "--out", out)
    assert done.exit_code == 0, done.exception
    assert "asks" in done.stdout
    assert "small (from" in done.stdout
    return out


def judged(out: Path, *arguments: object) -> dict:
    app = typer.Typer()
    app.command()(evaluate)
    done = CliRunner().invoke(app, [*map(str, arguments), "--resamples", "50", "--json", str(out)])
    assert done.exit_code == 0, done.exception
    return {**json.loads(out.read_text()), "shown": done.stdout}


def test_a_trained_plan_says_how_it_does(frugal: Path) -> None:
    plan = load_judge(frugal)
    noted = plan.summary_["calibration"]
    assert noted["reference"] == "large"
    assert noted["quality_drop"] < 0.02
    assert noted["cost"] < 0.75
    assert noted["attempts"] == pytest.approx(1 + noted["shares"]["large"])


def test_a_scorer_is_trained_by_the_same_command(answered_file: Path, tmp_path: Path) -> None:
    done = run("train", "answer-scorer", answered_file, "--seed", "3", "--out", tmp_path / "scorer", "--json")
    said = json.loads(done.stdout)
    assert (said["judge"], said["path"]) == ("answer-scorer", str(tmp_path / "scorer"))
    assert said["calibration"]["auc"] > 0.95
    assert said["calibration"]["picked"] > said["calibration"]["picked_blindly"]
    assert isinstance(load_judge(tmp_path / "scorer"), AnswerScorer)


def test_a_plan_is_judged_beside_routers_by_all_it_spends(frugal: Path, answered_file: Path, tmp_path: Path) -> None:
    report = tmp_path / "report"
    arguments = (frugal, "hybrid-prob", answered_file, "--test-split", "test", "--report", report)
    found = judged(tmp_path / "out.json", *arguments)
    assert list(found["routers"]) == ["hybrid-prob", str(frugal)]
    own = found["routers"][str(frugal)]["own_choice"]
    assert own["quality"] > 0.97
    assert own["cost"] == pytest.approx(0.1 + (1 - own["cost_advantage"]) * 1.0)
    curve = found["routers"][str(frugal)]["curve"]
    assert curve["cost"][0] == pytest.approx(0.1)
    assert curve["quality"][-1] > curve["quality"][0]
    assert "cost of every attempt counts" in "".join(found["notes"])
    assert (report / "report.html").exists() or list(report.glob("*.html"))


def test_a_plan_is_trained_for_each_fold(answered_file: Path, tmp_path: Path) -> None:
    name = "frugal:budget_share=0.7,n_quantiles=10"
    found = judged(tmp_path / "out.json", name, answered_file, "--folds", "3")
    own = found["routers"][name]["own_choice"]
    assert found["n_prompts"] == 240
    assert own["quality"] > 0.9
    assert own["cost"] < 0.8
    assert found["routers"][name]["train_s"] > 0


def test_what_is_refused(frugal: Path, answered_file: Path, data_file: Path, tmp_path: Path) -> None:
    assert "'response'" in refused("train", "frugal", data_file, "--out", tmp_path / "x")
    assert "not a saved judge" in refused("train", "frugal", answered_file, "--out", tmp_path)
    assert "'budget_share'" in refused("train", "frugal", answered_file, "--param", "budget_share=-1", "--out", "x")
    assert "trained anew" in refused("train", "frugal", answered_file, "--adapt-from", frugal, "--out", tmp_path / "x")
    app = typer.Typer()
    app.command()(evaluate)
    done = CliRunner().invoke(app, [str(frugal), str(answered_file)])
    assert "has learned from the split 'train'" in str(done.exception)


def test_a_judge_is_no_plan(answered_file: Path, tmp_path: Path) -> None:
    run("train", "answer-scorer", answered_file, "--out", tmp_path / "scorer")
    app = typer.Typer()
    app.command()(evaluate)
    done = CliRunner().invoke(app, [str(tmp_path / "scorer"), str(answered_file), "--test-split", "test"])
    assert "judges answers but asks no expert" in str(done.exception)
