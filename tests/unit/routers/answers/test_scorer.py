import numpy as np
import pytest

from routers import DataError, RoutingData
from routers.answers import LearnedScorer
from routers.answers.pairs import Pairs, held_out_texts, text_codes

from .conftest import answer_frame


def test_pairs_count_each_different_answer_once() -> None:
    frame = answer_frame(2, n_samples=2)
    frame["prompt"] = "same ?"
    frame["response"] = ["a", "a", "b", "a", "c", "b"] * 2
    frame["quality"] = [1.0, 0.0, 0.5, 1.0, 0.0, 0.0] * 2
    pairs = Pairs.of(RoutingData(frame))
    assert (pairs.prompts, pairs.answers) == (["same ?"] * 3, ["a", "b", "c"])
    np.testing.assert_allclose(pairs.quality, [2 / 3, 0.25, 0.0])
    assert pairs.count.tolist() == [6, 4, 2]
    assert pairs.text.tolist() == [0, 0, 0]


def test_held_out_are_whole_questions() -> None:
    text = text_codes(["a", "b", "a", "c", "d", "b", "e"])
    assert text.tolist() == [0, 1, 0, 2, 3, 1, 4]
    for seed in range(8):
        held = held_out_texts(text, 0.4, seed)
        assert len(set(text[held])) == 2
        assert not set(text[held]) & set(text[~held])
    assert not held_out_texts(text, 0.0, 0).any()
    assert held_out_texts(text, 0.01, 0).any()
    assert not held_out_texts(text_codes(["a", "a"]), 0.5, 0).any()


def test_scores_are_calibrated_probabilities(answered: RoutingData) -> None:
    """Quality does not depend on the text here: the score is the share of good answers, as often as each was given."""
    frame = answer_frame(400, seed=5)
    rng = np.random.default_rng(0)
    frame["response"] = rng.choice(["this", "that"], len(frame))
    frame["quality"] = (rng.random(len(frame)) < 0.7).astype(float)
    later = answer_frame(200, seed=6)
    scorer = LearnedScorer().fit(RoutingData(frame))
    scores = scorer.score(later["prompt"].tolist(), ["this"] * len(later))
    assert scores.dtype == np.float32
    assert abs(float(scores.mean()) - 0.7) < 0.05


def test_score_needs_an_answer_for_each_prompt(answered: RoutingData) -> None:
    scorer = LearnedScorer().fit(answered)
    with pytest.raises(DataError, match="2 prompts came with 1 answers"):
        scorer.score(["a", "b"], ["x"])
    assert scorer.score([], []).shape == (0,)


def test_only_an_encoder_is_slow(answered: RoutingData, tiny_encoder_path: str) -> None:
    assert not LearnedScorer().fit(answered).slow
    assert LearnedScorer(encoder=tiny_encoder_path).slow
