"""The demo's ranker: what it learns from, and that its command trains one."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from demo import ranker as module
from demo.__main__ import app
from routers import DataError, RoutingData, load_judge
from tests.unit.routers.checkpoints import tiny_encoder

DATA = Path(__file__).parents[3] / "demo" / "data" / "experts.parquet"


def test_the_command_trains_on_training_prompts_and_saves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = RoutingData.read(DATA).at(np.arange(60))
    few.write(tmp_path / "few.parquet")
    monkeypatch.setattr(module, "RANKER", {**module.RANKER, "encoder_epochs": 1, "most_pairs": 1})
    out = tmp_path / "ranker"
    done = CliRunner().invoke(
        app, ["ranker", tiny_encoder(), "--data", str(tmp_path / "few.parquet"), "--out", str(out)]
    )
    assert done.exit_code == 0, done.exception
    trained = load_judge(out)
    assert trained.data_hash_ == few.subset("train").content_hash()
    assert trained.rank(["calculate 4 plus 5"], [["9", "8", "tuesday"]])[0].shape == (3,)


def test_the_command_refuses_what_is_not_there(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["ranker", "nowhere", "--data", str(tmp_path / "x"), "--out", str(tmp_path / "y")])
    assert isinstance(done.exception, DataError)
