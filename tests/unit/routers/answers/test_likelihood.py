from pathlib import Path

import numpy as np
import pytest

from routers import ArtifactError, ParameterError, RoutingData, load_judge, save_judge
from routers.answers import FrugalCascade, LikelihoodScorer
from tests.unit.routers.checkpoints import tiny_causal, tiny_encoder

from .conftest import answer_frame
from .test_judge_artifact import edit

TINY = tiny_causal()


def test_log_odds_of_sum_mean_and_least(answered: RoutingData, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = LikelihoodScorer(language_model=TINY).fit(answered)
    read = [np.log(np.array([0.9, 0.5], dtype=np.float32)), np.zeros(2, dtype=np.float32), np.zeros(0)]
    monkeypatch.setattr(scorer.model_, "token_likelihoods", lambda prompts, answers: read)
    found = scorer._log_odds(["a"] * 3, ["b"] * 3)
    likelihoods = np.array([0.45, 0.45**0.5, 0.5])
    np.testing.assert_allclose(found[0], np.log(likelihoods / (1 - likelihoods)), atol=1e-5)
    np.testing.assert_allclose(found[1:], 15, atol=1e-3)


def test_likelier_answers_score_higher_where_likely_ones_were_good() -> None:
    """The wording says nothing, and quality follows the likelihood alone."""
    frame = answer_frame(200)
    rng = np.random.default_rng(0)
    frame["response"] = ["".join(rng.choice(list("abcdefgh"), 3)) for _ in range(len(frame))]
    scorer = LikelihoodScorer(language_model=TINY, features=None)
    probe = LikelihoodScorer(language_model=TINY, features=None).fit(RoutingData(frame))
    likelihood = probe._log_odds(frame["prompt"].tolist(), frame["response"].tolist())[:, 0]
    frame["quality"] = (likelihood > np.median(likelihood)).astype(float)
    scorer.fit(RoutingData(frame))
    scores = scorer.score(frame["prompt"].tolist(), frame["response"].tolist())
    assert ((scores > 0.5) == (frame["quality"] == 1)).mean() > 0.95


def test_it_is_slow_and_needs_a_language_model(answered: RoutingData) -> None:
    assert LikelihoodScorer().slow
    with pytest.raises(ParameterError, match="needs a language model"):
        LikelihoodScorer().fit(answered)


def test_a_forged_template_is_refused(answered: RoutingData, tmp_path: Path) -> None:
    save_judge(LikelihoodScorer(language_model=TINY).fit(answered), tmp_path / "judge")
    edit(tmp_path / "judge", lambda fields: fields["features"].pop("template"))
    with pytest.raises(ArtifactError, match="does not describe its chat template"):
        load_judge(tmp_path / "judge")


def test_a_cascade_judges_by_likelihood(answered: RoutingData, answered_later: RoutingData, tmp_path: Path) -> None:
    plan = FrugalCascade(budget_share=0.6, language_model=TINY, language_model_max_tokens=64, features="tfidf-svd:8")
    plan.fit(answered)
    assert isinstance(plan.scorer_, LikelihoodScorer)
    assert (plan.scorer_.language_model_max_tokens, plan.scorer_.features, plan.slow) == (64, "tfidf-svd:8", True)
    save_judge(plan, tmp_path / "plan")
    loaded = load_judge(tmp_path / "plan")
    assert isinstance(loaded, FrugalCascade)
    assert isinstance(loaded.scorer_, LikelihoodScorer)
    np.testing.assert_array_equal(loaded.replay(answered_later).quality, plan.replay(answered_later).quality)


def test_a_cascade_has_one_scorer(answered: RoutingData) -> None:
    with pytest.raises(ParameterError, match="not both"):
        FrugalCascade(encoder=tiny_encoder(), language_model=TINY).fit(answered)
