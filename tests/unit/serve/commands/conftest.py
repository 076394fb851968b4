"""A little routing data, and the commands as a user would run them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner, Result

from routers import PointsmanError, RoutingData
from serve.commands.route import route
from serve.commands.routers import routers
from serve.commands.train import train


@pytest.fixture(scope="session")
def data_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sums of 1 to 8 numbers: small knows those of up to 4."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(200):
        size = int(rng.integers(1, 9))
        prompt = "What is " + " + ".join(map(str, rng.integers(10, size=size))) + " ?"
        for expert, cost, quality in (("small", 0.1, float(size <= 4)), ("large", 1.0, 1.0)):
            rows.append((f"p{i}", prompt, expert, 0, quality, 5, 2, cost, 0.1, "train" if i % 2 else "calibration"))
    names = [
        "prompt_id",
        "prompt",
        "expert",
        "sample",
        "quality",
        "input_tokens",
        "output_tokens",
        "cost",
        "latency_s",
        "split",
    ]
    path = tmp_path_factory.mktemp("data") / "data.parquet"
    RoutingData(pd.DataFrame(rows, columns=names)).write(path)
    return path


@pytest.fixture(scope="session")
def artifact(data_file: Path) -> Path:
    out = data_file.parent / "hybrid"
    # 100 prompts to calibrate on are too few to promise 1 %.
    assert run("train", "hybrid-trans", data_file, "--out", out, "--max-drop", "0.1").exit_code == 0
    return out


def run(*arguments: object) -> Result:
    app = typer.Typer()
    for command in (train, route, routers):
        app.command()(command)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refused(*arguments: object) -> str:
    """The message of the error that the arguments end in."""
    error = run(*arguments).exception
    assert isinstance(error, PointsmanError)
    return str(error)


@pytest.fixture(scope="session")
def answered_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same sums with the answers' texts: a wrong one says that it guesses."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(240):
        size = int(rng.integers(1, 9))
        prompt = f"Question {i}: what is {' + '.join(map(str, rng.integers(10, size=size)))} ?"
        split = ("train", "train", "calibration", "test")[i % 4]
        for expert, cost, right in (("small", 0.1, size <= 4), ("large", 1.0, True)):
            for sample in range(2):
                text = f"{'surely' if right else 'perhaps'} {rng.integers(30)}"
                rows.append((f"p{i}", prompt, expert, sample, float(right), 5, 2, cost, 0.1, text, split))
    names = ["prompt_id", "prompt", "expert", "sample", "quality", "input_tokens", "output_tokens", "cost"]
    path = tmp_path_factory.mktemp("answered") / "answered.parquet"
    RoutingData(pd.DataFrame(rows, columns=[*names, "latency_s", "response", "split"])).write(path)
    return path
