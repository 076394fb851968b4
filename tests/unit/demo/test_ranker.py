"""The demo's ranker: that its command trains one, and what the committed one is worth."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from demo import ranker as module
from demo.__main__ import app
from routers import DataError, RoutingData, load_judge
from routers.answers import replay_arm

DEMO = Path(__file__).parents[3] / "demo"
DATA, HELD_OUT = (DEMO / "data" / f"{name}.parquet" for name in ("experts", "routes-expert"))


def test_the_command_trains_and_saves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = RoutingData.read(DATA).at(np.arange(60))
    few.write(tmp_path / "few.parquet")
    monkeypatch.setattr(module, "RANKER", {**module.RANKER, "max_epochs": 2, "most_pairs": 1, "hidden": 8})
    out = tmp_path / "ranker"
    done = CliRunner().invoke(app, ["ranker", "--data", str(tmp_path / "few.parquet"), "--out", str(out)])
    assert done.exit_code == 0, done.exception
    trained = load_judge(out)
    assert trained.data_hash_ == few.content_hash()
    assert trained.rank(["calculate 4 plus 5"], [["9", "8", "tuesday"]])[0].shape == (3,)


def test_the_command_refuses_what_is_not_there(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["ranker", "--data", str(tmp_path / "x"), "--out", str(tmp_path / "y")])
    assert isinstance(done.exception, DataError)


def test_the_committed_ranker_is_what_the_command_makes_and_has_not_seen_the_held_out_exam() -> None:
    ranker, learned = load_judge(DEMO / "plans" / "ranker"), RoutingData.read(DATA)
    assert ranker.data_hash_ == learned.content_hash()
    assert {name: ranker.get_params()[name] for name in module.RANKER} == module.RANKER
    assert not set(learned.texts) & set(RoutingData.read(HELD_OUT).texts)


def test_a_blend_of_the_cluster_experts_answers_held_out_questions_of_every_kind() -> None:
    frame = RoutingData.read(HELD_OUT).at(np.arange(120)).frame
    members = dict.fromkeys(("letters", "arithmetic", "calendar", "conversion"), 1)
    data = RoutingData(frame[frame["expert"].isin(members)])
    blend = replay_arm(data, "blend", members, load_judge(DEMO / "plans" / "ranker"), draws=3)
    assert blend.quality.mean() > 0.9
    assert data.quality().mean(axis=0).max() < 0.5
