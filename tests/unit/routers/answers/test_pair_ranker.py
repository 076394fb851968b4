from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from routers import ArtifactError, DataError, RoutingData, load_judge, save_judge
from routers.answers import PairRanker

from .conftest import answer_frame
from .test_judge_artifact import edit, forge


@pytest.fixture(scope="module")
def ranker(answered: RoutingData) -> PairRanker:
    return PairRanker(max_epochs=10).fit(answered)


class Reads:
    """Stands where a trained ranker reads, with leads that are known, and counts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, ranker: PairRanker) -> None:
        self.games: list[tuple[str, str, str]] = []
        strength = {"a": 3.0, "b": 1.0, "c": 2.0}

        def predict(rows: Sequence[tuple[str, str, str]]) -> np.ndarray:
            self.games += rows
            # Reading first is worth 0.5.
            leads = np.array([[strength[one] - strength[two] + 0.5] for _, one, two in rows])
            return (1 / (1 + np.exp(-leads))).astype(np.float32)

        monkeypatch.setattr(ranker, "_rows", lambda games: games)
        monkeypatch.setattr(ranker.head_, "predict", predict)


def test_full_reads_every_pair_in_both_orders_once(ranker: PairRanker, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = Reads(monkeypatch, ranker)
    one, other = ranker.rank(["q ?", "q ?"], [["a", "b", "a", "c"], ["c", "a"]])
    # a leads b by 2 and c by 1, c leads b by 1: mean over the two others.
    np.testing.assert_allclose(one, [1.5, -1.5, 1.5, 0.0], atol=1e-5)
    np.testing.assert_allclose(other, [-1.0, 1.0], atol=1e-5)
    assert sorted(reads.games) == [("q ?", *two) for two in ("ab", "ac", "ba", "bc", "ca", "cb")]


def test_bubble_reads_two_for_each_next_answer(ranker: PairRanker, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = Reads(monkeypatch, ranker)
    monkeypatch.setattr(ranker, "inference", "bubble")
    (scores,) = ranker.rank(["q ?"], [["b", "c", "a", "b"]])
    np.testing.assert_allclose(scores, [-2.0, -1.0, 0.0, -2.0], atol=1e-5)
    assert sorted(reads.games) == [("q ?", *two) for two in ("ac", "bc", "ca", "cb")]


def test_wins_are_shares(ranker: PairRanker, monkeypatch: pytest.MonkeyPatch) -> None:
    Reads(monkeypatch, ranker)
    monkeypatch.setattr(ranker, "aggregation", "max-wins")
    (scores,) = ranker.rank(["q ?"], [["b", "c", "a"]])
    assert scores.tolist() == [0.0, 0.5, 1.0]


@pytest.mark.parametrize("aggregation", ["max-logits", "max-wins"])
def test_the_order_of_answers_does_not_matter(
    ranker: PairRanker, monkeypatch: pytest.MonkeyPatch, aggregation: str
) -> None:
    monkeypatch.setattr(ranker, "aggregation", aggregation)
    answers = ["surely 1", "perhaps 2", "surely 13", "", "perhaps 2"]
    (scores,) = ranker.rank(["What is 1 + 2 ?"], [answers])
    (turned,) = ranker.rank(["What is 1 + 2 ?"], [answers[::-1]])
    np.testing.assert_allclose(turned[::-1], scores, atol=1e-6)


def test_inference_can_be_changed_on_a_loaded_ranker(
    ranker: PairRanker, answered_later: RoutingData, tmp_path: Path
) -> None:
    save_judge(ranker, tmp_path / "ranker")
    loaded = load_judge(tmp_path / "ranker").set_params(inference="bubble")
    answers = ["surely 1", "perhaps 2", "maybe"]
    for text in answered_later.texts[:20]:
        (full,), (bubble,) = ranker.rank([text], [answers]), loaded.rank([text], [answers])
        assert bubble.max() == 0.0
        assert full.argmax() == bubble.argmax()


def test_it_says_how_many_held_out_comparisons_it_decides_rightly(ranker: PairRanker) -> None:
    assert 0.8 < ranker.summary_["held_out_accuracy"] <= 1.0
    assert ranker.summary_["questions"] <= 160


def test_whether_a_difference_is_for_the_better_depends_on_the_question() -> None:
    """On questions about letters the letter is right, on others the number: no word is good by itself."""
    frame = answer_frame(120, n_samples=1)
    asks = frame["prompt_id"].str[1:].astype(int) % 2 == 0
    frame["prompt"] = frame["prompt"].where(asks, "Which letter comes next " + frame["prompt_id"])
    letter = frame["expert"] == "small"
    frame["response"] = np.where(letter, "letter X", "number 7")
    frame["quality"] = (letter != asks).astype(float)
    ranker = PairRanker().fit(RoutingData(frame))
    scores = ranker.rank(["What is 4 + 4 + 9 ?", "Which letter comes next p500"], [["letter X", "number 7"]] * 2)
    assert [int(score.argmax()) for score in scores] == [1, 0]


def test_nothing_to_compare() -> None:
    frame = answer_frame(10)
    frame["response"] = "the same"
    with pytest.raises(DataError, match="nothing to compare"):
        PairRanker().fit(RoutingData(frame))


def test_forged_files(ranker: PairRanker, tmp_path: Path) -> None:
    place = tmp_path / "ranker"
    save_judge(ranker, place)
    good = load_file(place / "judge.safetensors")
    for name, tensor in good.items():
        for forged in ({key: value for key, value in good.items() if key != name}, {**good, name: tensor[:-1]}):
            forge(place, forged)
            with pytest.raises(ArtifactError):
                load_judge(place)
    forge(place, good)
    for key, value in (("inference", "guess"), ("aggregation", 1), ("ties", -1.0), ("encoder", "elsewhere")):
        edit(place, lambda fields, key=key, value=value: fields["parameters"].update({key: value}))
        with pytest.raises(ArtifactError):
            load_judge(place)
        edit(place, lambda fields, key=key: fields["parameters"].update({key: getattr(ranker, key)}))
    assert load_judge(place).rank(["q ?"], [["surely 1", "perhaps 2"]])[0].argmax() == 0
