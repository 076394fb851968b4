"""Best of n and blends on the command line: learned, evaluated, refused."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from routers import ParameterError, load_judge, load_router
from serve.commands.evaluate import evaluate

from .conftest import refused, run

ARM = ("--arm", "small-x2=small:2")


@pytest.fixture(scope="module")
def ranker(answered_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("arms") / "ranker"
    params = ("--param", "head=linear", "--param", "folds=2")
    done = run("train", "pair-ranker", answered_file, *params, "--out", out)
    assert done.exit_code == 0, done.exception
    assert load_judge(out).summary_["calibration"]["picked"] > 0.95
    return out


@pytest.fixture(scope="module")
def router(answered_file: Path, ranker: Path) -> Path:
    out = ranker.parent / "best-route"
    done = run("train", "best-route", answered_file, *ARM, "--ranker", ranker, "--out", out)
    assert done.exit_code == 0, done.exception
    assert "to small-x2" in done.stdout
    return out


def judged(*arguments: object) -> Result:
    app = typer.Typer()
    app.command()(evaluate)
    return CliRunner().invoke(app, [*map(str, arguments), "--resamples", "50"])


def test_a_router_learns_the_arm_as_an_expert(router: Path) -> None:
    trained = load_router(router)
    assert trained.experts_ == ("large", "small", "small-x2")
    # The tokens of this data do not tell prices apart, so two answers cost twice as much as one.
    assert trained.cost_ == pytest.approx([1.0, 0.1, 0.2])
    assert trained.summary_["calibration"]["quality_drop"] < 0.03


def test_it_is_judged_with_the_same_arms_and_beside_blends(
    router: Path, ranker: Path, answered_file: Path, tmp_path: Path
) -> None:
    options = (*ARM, "--blend", "both=small,large", "--ranker", ranker, "--large", "large")
    out = tmp_path / "out.json"
    done = judged(router, answered_file, "--test-split", "test", *options, "--json", out)
    assert done.exit_code == 0, done.exception
    found = json.loads(out.read_text())
    assert list(found["routers"]) == [str(router), "both"]
    assert "expert:small-x2" in found["baselines"]
    both = found["routers"]["both"]["own_choice"]
    assert both["quality"] > 0.95
    assert both["cost"] == pytest.approx(1.1)
    assert any((d["first"], d["second"]) == ("both", "expert:large") for d in found["paired"])
    assert found["routers"][str(router)]["own_choice"]["cost"] < 0.8
    assert not any("nobody checked" in note for note in found["notes"])


def test_a_blend_alone(ranker: Path, answered_file: Path) -> None:
    done = judged(answered_file, "--test-split", "test", "--blend", "both=small,large", "--ranker", ranker)
    assert done.exit_code == 0, done.exception
    assert "both" in done.stdout


def test_what_is_refused(ranker: Path, answered_file: Path, data_file: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "x")
    assert "name it with --ranker" in refused("train", "best-route", answered_file, *ARM, *out)
    assert "--ranker picks among" in refused("train", "best-route", answered_file, "--ranker", ranker, *out)
    asked = ("--arm", "small-x3=small:3", "--ranker", ranker)
    assert "asks for 3: label it with" in refused("train", "best-route", answered_file, *asked, *out)
    assert "no column 'response'" in refused("train", "best-route", data_file, *ARM, "--ranker", ranker, *out)
    done = judged(answered_file, "--blend", "small", "--ranker", ranker, "--test-split", "test")
    assert isinstance(done.exception, ParameterError)
    assert "not of the form" in str(done.exception)
