"""The published sets: what is known of them must come out of the evaluation."""

import os
from pathlib import Path

import pytest

from routers.evaluation import Exam, Judgement, judge
from serve.importing import Choice, import_data

ROOT = Path(__file__).resolve().parents[4]
SMALL, LARGE = "Mixtral-8x7B-Instruct-v0.1", "gpt-4-1106-preview"


def judged(source: str, *drop: str) -> Judgement:
    folder = Path(os.environ.get("POINTSMAN_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "routellm").is_dir():
        pytest.skip(f"{folder} does not hold the published sets: name their folder in POINTSMAN_DATA")
    return judge(Exam.of(import_data(source, folder, Choice(drop=drop)).data), {}, n_resamples=40)


def accuracy(found: Judgement, name: str) -> float:
    """Quality of what a baseline chooses, in percent to one digit."""
    return round(100 * found.baselines[name]["own_choice"]["quality"], 1)


@pytest.mark.parametrize(
    ("source", "n_prompts", "small", "large", "oracle"),
    [("routellm-mmlu", 14_042, 68.1, 80.6, 85.9), ("routellm-gsm8k", 1_319, 63.8, 85.7, 92.9)],
)
def test_accuracies(source: str, n_prompts: int, small: float, large: float, oracle: float) -> None:
    found = judged(source)
    assert (found.n_prompts, found.small, found.large, found.best) == (n_prompts, SMALL, LARGE, LARGE)
    measured = [accuracy(found, name) for name in (f"expert:{SMALL}", f"expert:{LARGE}", "prompt-oracle")]
    assert measured == [small, large, oracle]


@pytest.mark.parametrize(("source", "length"), [("routellm-mmlu", 0.586), ("routellm-gsm8k", 0.598)])
def test_length_beats_the_coin(source: str, length: float) -> None:
    found = judged(source, "contaminated")
    baseline = found.baselines["length"]
    assert round(baseline["apgr_exact"], 3) == length
    assert baseline["apgr"] == pytest.approx(length, abs=0.004)
    assert baseline["ci95"]["apgr_exact"][0] > 0.5
    assert found.baselines["random"]["apgr"] == pytest.approx(0.5)
    assert [found.baselines["random"][f"cpt{share}"] for share in (50, 80, 95)] == pytest.approx([0.5, 0.8, 0.95])


def test_oracle_of_subjects() -> None:
    found = judged("routellm-mmlu", "contaminated")
    assert round(found.baselines["domain-oracle"]["apgr_exact"], 3) == 0.708
