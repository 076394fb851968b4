"""The demo's ranker: what it learns from, how it reads, and that the committed one can tell."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from demo import ranker as module
from demo.__main__ import app
from demo.ranker import ranker_data, train_ranker
from routers import DataError, RoutingData, load_judge
from routers.answers import Pairs
from tests.unit.routers.checkpoints import tiny_encoder

DEMO = Path(__file__).parents[3] / "demo"
FILES = DEMO / "data" / "experts.parquet", DEMO / "data" / "small-large.parquet"


@pytest.fixture(scope="module")
def data() -> RoutingData:
    return ranker_data(*FILES)


def test_it_learns_from_training_prompts_only_and_from_none_twice(data: RoutingData) -> None:
    assert set(data.frame["split"]) == {"train"}
    asked = data.frame.groupby("prompt_id")["expert"].unique()
    five = asked.map(lambda experts: len(experts) == 5)
    assert (int(five.sum()), int((~five).sum())) == (1200, 1500)
    assert all(set(experts) == {"small", "large"} for experts in asked[~five])
    held_out = RoutingData.read(DEMO / "data" / "routes-expert.parquet")
    assert not set(held_out.texts) & set(data.texts)


def test_training_saves_a_ranker(data: RoutingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = data.at(np.arange(24))
    monkeypatch.setattr(module, "RANKER", {**module.RANKER, "encoder_epochs": 1, "most_pairs": 1})
    shares: list[float] = []
    trained = train_ranker(few, Path(tiny_encoder()), tmp_path / "ranker", lambda doing, share: shares.append(share))
    loaded = load_judge(tmp_path / "ranker")
    question, answers = ["calculate 4 plus 5"], [["9", "8", "tuesday"]]
    np.testing.assert_array_equal(loaded.rank(question, answers)[0], trained.rank(question, answers)[0])
    assert shares[-1] == 1.0


def test_the_command_refuses_what_is_not_there(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["ranker", "nowhere", "--data", str(tmp_path), "--out", str(tmp_path / "x")])
    assert isinstance(done.exception, DataError)


def test_the_committed_ranker_tells_right_answers_from_those_of_others() -> None:
    """On held-out questions, between the right answer, another question's and a nearly right one."""
    ranker = load_judge(DEMO / "plans" / "ranker")
    frame = pd.read_parquet(DEMO / "data" / "routes-expert.parquet")
    frame = frame[frame["prompt_id"].isin(frame["prompt_id"].unique()[:60]) & (frame["expert"] != "expert")]
    pairs = Pairs.of(RoutingData(frame))
    by_prompt = pd.DataFrame({"prompt": pairs.prompts, "answer": pairs.answers, "quality": pairs.quality})
    groups = [group for _, group in by_prompt.groupby("prompt", sort=False)]
    scores = ranker.rank([g["prompt"].iloc[0] for g in groups], [g["answer"].tolist() for g in groups])
    picked = [g["quality"].iloc[int(score.argmax())] for g, score in zip(groups, scores, strict=True)]
    assert np.mean(picked) > 0.9
