"""What every judge of answers must do, whatever its method."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.metrics import roc_auc_score

from routers import (
    AnswerJudge,
    AnswerScorer,
    DataError,
    NotFittedError,
    ParameterError,
    RoutingData,
    list_judges,
    load_judge,
    make_judge,
    save_judge,
)
from routers.answers.pairs import Pairs
from tests.unit.routers.checkpoints import tiny_causal, tiny_encoder

from .conftest import answer_frame

ENCODER: dict[str, Any] = {
    "encoder": tiny_encoder(),
    "encoder_epochs": 4,
    "encoder_batch_size": 16,
    "encoder_learning_rate": 5e-3,
    "encoder_max_tokens": 64,
}
LANGUAGE_MODEL: dict[str, Any] = {"language_model": tiny_causal(), "language_model_max_tokens": 64}
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "frugal": [{}, {"budget": 0.6, "max_experts": 2, **ENCODER}, {"budget": 0.6, **LANGUAGE_MODEL}],
    "answer-scorer": [{}, {"head": "mlp", "max_epochs": 15, "features": "tfidf-svd:32"}, ENCODER],
    "likelihood": [LANGUAGE_MODEL, {"features": None, "head": "mlp", "max_epochs": 15, **LANGUAGE_MODEL}],
    "pair-ranker": [
        {"max_epochs": 10},
        {"inference": "bubble", "head": "linear"},
        {"aggregation": "max-wins", "features": "tfidf-svd:32"},
        ENCODER,
    ],
}
CASES = [
    pytest.param(info.name, parameters, id=f"{info.name}-{number}")
    for info in list_judges()
    for number, parameters in enumerate(VARIANTS.get(info.name, [{}]))
]
TEXTS = ["", " \n", "x" * 300_000, "sum " * 50_000, "数学 🎲 \x00 \ud800", "What is 1 + 2 ?"]

pytestmark = pytest.mark.parametrize(("name", "parameters"), CASES)

_trained: dict[str, AnswerJudge] = {}


@pytest.fixture
def trained(name: str, parameters: dict[str, Any], answered: RoutingData) -> AnswerJudge:
    key = f"{name}{parameters}"
    if key not in _trained:
        _trained[key] = make_judge(name, **parameters).fit(answered)
    return _trained[key]


def ranked(judge: AnswerJudge, data: RoutingData) -> np.ndarray:
    """Scores of all different answers of the data, one prompt after the other."""
    prompts, candidates = by_prompt(data)
    return np.concatenate(judge.rank(prompts, candidates))


def by_prompt(data: RoutingData) -> tuple[list[str], list[list[str]]]:
    pairs, candidates = Pairs.of(data), {}
    for prompt, answer in zip(pairs.prompts, pairs.answers, strict=True):
        candidates.setdefault(prompt, []).append(answer)
    return list(candidates), list(candidates.values())


def test_constructor_only_stores(name: str, parameters: dict[str, Any]) -> None:
    judge = make_judge(name, **parameters)
    assert set(vars(judge)) == set(judge.parameter_names())
    assert judge.get_params() == {**make_judge(name).get_params(), **parameters}
    assert clone(judge).get_params() == judge.get_params()


def test_fit_leaves_data_and_parameters_reports_progress_and_is_repeatable(
    name: str, parameters: dict[str, Any], answered_later: RoutingData
) -> None:
    frame = answer_frame(40)
    before = frame.copy()
    data = RoutingData(frame)
    judge = make_judge(name, **parameters)
    shares: list[float] = []
    assert judge.fit(data, lambda doing, share: shares.append(share)) is judge
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    pd.testing.assert_frame_equal(frame, before)
    assert judge.get_params() == make_judge(name, **parameters).get_params()
    assert judge.data_hash_ == data.select(judge.experts_).content_hash()
    assert judge.summary_["training"]["prompts"] == 40
    again = make_judge(name, **parameters).fit(RoutingData(frame))
    np.testing.assert_array_equal(ranked(again, answered_later), ranked(judge, answered_later))


def test_learned_names_end_in_an_underscore(trained: AnswerJudge) -> None:
    assert all(name.endswith("_") for name in set(vars(trained)) - set(trained.parameter_names()))


def test_any_number_of_candidates(trained: AnswerJudge) -> None:
    scores = trained.rank(["a ?", "b ?", "c ?"], [["x"], ["surely 1", "perhaps 2", ""], ["y"] * 9])
    assert [len(one) for one in scores] == [1, 3, 9]
    assert all(one.dtype == np.float32 and np.isfinite(one).all() for one in scores)
    assert len(set(scores[2].tolist())) == 1
    assert trained.rank([], []) == []


def test_empty_huge_and_strange_texts(trained: AnswerJudge) -> None:
    for scores in trained.rank(TEXTS, [TEXTS] * len(TEXTS)):
        assert scores.shape == (len(TEXTS),)
        assert np.isfinite(scores).all()


def test_what_cannot_be_ranked(trained: AnswerJudge) -> None:
    with pytest.raises(DataError, match="2 prompts came with 1 lists"):
        trained.rank(["a", "b"], [["x"]])
    with pytest.raises(DataError, match="without any answer"):
        trained.rank(["a", "b"], [["x"], []])


def test_alone_equals_in_a_batch(trained: AnswerJudge, answered_later: RoutingData) -> None:
    prompts, candidates = (side[:8] for side in by_prompt(answered_later))
    together = trained.rank(prompts, candidates)
    for prompt, answers, scores in zip(prompts, candidates, together, strict=True):
        np.testing.assert_allclose(trained.rank([prompt], [answers])[0], scores, atol=1e-5)


def test_saved_and_loaded_it_ranks_the_same(trained: AnswerJudge, answered_later: RoutingData, tmp_path: Path) -> None:
    save_judge(trained, tmp_path / "judge")
    loaded = load_judge(tmp_path / "judge")
    assert type(loaded) is type(trained)
    assert (loaded.get_params(), loaded.experts_) == (trained.get_params(), trained.experts_)
    assert (loaded.summary_, loaded.slow) == (trained.summary_, trained.slow)
    np.testing.assert_array_equal(ranked(loaded, answered_later), ranked(trained, answered_later))
    save_judge(loaded, tmp_path / "again")
    for file in ("judge.json", "judge.safetensors"):
        assert (tmp_path / "judge" / file).read_bytes() == (tmp_path / "again" / file).read_bytes()


def test_better_than_chance_on_questions_it_has_not_seen(trained: AnswerJudge, answered_later: RoutingData) -> None:
    """The answers that it would give are better than answers taken blindly."""
    groups = [group for _, group in _different(answered_later)]
    scores = trained.rank([g["prompt"].iloc[0] for g in groups], [g["response"].tolist() for g in groups])
    picked = [group["quality"].iloc[int(score.argmax())] for group, score in zip(groups, scores, strict=True)]
    blind = np.mean([group["quality"].mean() for group in groups])
    most = np.mean([group["quality"].max() for group in groups])
    assert np.mean(picked) - blind > 0.6 * (most - blind)
    if isinstance(trained, AnswerScorer):
        good = np.concatenate([group["quality"] for group in groups])
        assert roc_auc_score(good > 0.5, np.concatenate(scores)) > 0.8


def _different(data: RoutingData) -> Any:
    found = data.frame.groupby(["prompt", "response"], sort=False)["quality"].mean().reset_index()
    return found.groupby("prompt", sort=False)


@pytest.mark.parametrize("quality", [0.0, 0.5, 1.0])
def test_constant_labels(name: str, parameters: dict[str, Any], quality: float) -> None:
    judge = make_judge(name, **parameters).fit(RoutingData(answer_frame(24, constant=quality)))
    assert all(np.isfinite(scores).all() for scores in judge.rank(TEXTS, [TEXTS] * len(TEXTS)))
    if isinstance(judge, AnswerScorer):
        assert abs(float(judge.score(["What is 1 + 2 ?"], ["surely 3"])[0]) - quality) < 0.15


def test_few_prompts(name: str, parameters: dict[str, Any]) -> None:
    for n_prompts in (1, 2, 3) if make_judge(name).kind == "judge" else (2, 3):
        judge = make_judge(name, **parameters).fit(RoutingData(answer_frame(n_prompts)))
        assert np.isfinite(judge.rank(["What ?"], [["surely 3", ""]])[0]).all()


def test_missing_responses(name: str, parameters: dict[str, Any]) -> None:
    frame = answer_frame(6)
    with pytest.raises(DataError, match="no column 'response'"):
        make_judge(name, **parameters).fit(RoutingData(frame.drop(columns="response")))
    frame.loc[4, "response"] = None
    with pytest.raises(DataError, match=r"Row 4 has no 'response' \(1 such rows\)"):
        make_judge(name, **parameters).fit(RoutingData(frame))


def test_untrained(name: str, parameters: dict[str, Any], tmp_path: Path) -> None:
    judge = make_judge(name, **parameters)
    for use in (lambda: judge.rank(["x"], [["y"]]), lambda: save_judge(judge, tmp_path / "judge")):
        with pytest.raises(NotFittedError, match="not trained"):
            use()


def test_parameters_are_checked_before_anything_is_learned(
    name: str, parameters: dict[str, Any], answered: RoutingData
) -> None:
    judge = make_judge(name, **parameters).set_params(seed=-1)
    with pytest.raises(ParameterError, match="'seed'"):
        judge.fit(answered)
