from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from routers import ArtifactError, DataError, NotFittedError, ParameterError, RoutingData, load_judge, save_judge
from routers.answers import FrugalCascade, Pairs, ReplayablePlan

from .conftest import PRICES, answer_frame
from .test_judge_artifact import edit


@pytest.fixture(scope="module")
def cascade(answered: RoutingData) -> FrugalCascade:
    return FrugalCascade(budget_share=0.6).fit(answered)


def test_it_keeps_quality_for_less(cascade: FrugalCascade, answered_later: RoutingData) -> None:
    found = cascade.replay(answered_later)
    quality = dict(zip(answered_later.experts, answered_later.quality().mean(axis=0), strict=True))
    coin = quality["small"] + (quality["large"] - quality["small"]) * 0.5
    assert found.cost.mean() < 0.75
    assert found.quality.mean() > coin + 0.05
    assert isinstance(cascade, ReplayablePlan)


def test_it_says_whom_to_ask_and_when_to_stop(cascade: FrugalCascade) -> None:
    assert 2 <= len(cascade.experts_) <= 3
    assert len(cascade.thresholds_) == len(cascade.experts_) - 1
    np.testing.assert_allclose(cascade.cost_, [PRICES[expert] for expert in cascade.experts_])
    assert cascade.accepts(0, cascade.thresholds_[0])
    assert not cascade.accepts(0, cascade.thresholds_[0] - 1e-6)
    assert cascade.accepts(len(cascade.experts_) - 1, 0.0)


def test_step_by_step_is_what_replay_expects(cascade: FrugalCascade) -> None:
    """Serving it: ask, score, accept or go on, with one sample of each expert."""
    data = RoutingData(answer_frame(30, n_samples=1, seed=3))
    found = cascade.replay(data)
    frame = data.frame.set_index(["prompt", "expert"])
    for place, prompt in enumerate(data.texts):
        spent = 0.0
        for step, expert in enumerate(cascade.experts_):
            answer = frame.loc[(prompt, expert)]
            spent += answer["cost"]
            if cascade.accepts(step, float(cascade.score([prompt], [answer["response"]])[0])):
                break
        assert (found.attempts[place], found.quality[place]) == (step + 1, answer["quality"])
        assert found.cost[place] == pytest.approx(spent)
        assert found.share[place, data.experts.index(expert)] == 1


def test_the_scorer_has_not_seen_the_prompts_of_the_search(answered: RoutingData, monkeypatch: Any) -> None:
    learned: set[str] = set()
    scored: set[str] = set()
    of, score = Pairs.of, FrugalCascade._score

    def noted(data: RoutingData) -> Pairs:
        learned.update(data.texts)
        return of(data)

    def watched(self: FrugalCascade, prompts: list[str], answers: list[str]) -> Any:
        scored.update(prompts)
        return score(self, prompts, answers)

    monkeypatch.setattr(Pairs, "of", noted)
    monkeypatch.setattr(FrugalCascade, "_score", watched)
    FrugalCascade(search_share=0.4).fit(answered)
    assert scored
    assert not learned & scored
    assert learned | scored == set(answered.texts)


def test_budgets(cascade: FrugalCascade, answered: RoutingData) -> None:
    cheap, dear = cascade.at_budget(0.15), cascade.at_budget(5.0)
    assert cheap.cost <= 0.15
    assert cheap.quality < dear.quality
    assert cascade.budget_ == pytest.approx(0.6)
    assert cascade.summary_["search"]["cost"] <= cascade.budget_
    with pytest.raises(ParameterError, match=r"budget of 0\.01 an answer"):
        cascade.at_budget(0.01)
    with pytest.raises(ParameterError, match=r"budget of 0\.05 an answer"):
        FrugalCascade(budget=0.05).fit(answered)
    fixed = FrugalCascade(budget=0.3, budget_share=9.0).fit(answered)
    assert fixed.summary_["search"]["cost"] <= 0.3


def test_a_replay_can_take_another_setting(cascade: FrugalCascade, answered_later: RoutingData) -> None:
    costs = [one.cost.mean() for one in cascade.replay_all(answered_later, cascade.settings_)]
    assert len(costs) == len(cascade.settings_)
    assert costs[0] == pytest.approx(PRICES["small"])
    cheapest = cascade.replay(answered_later, cascade.at_budget(0.1))
    np.testing.assert_allclose(cheapest.attempts, 1.0)


def test_one_expert_needs_no_threshold(answered: RoutingData) -> None:
    alone = FrugalCascade().set_params(budget=2.0).fit(answered.select(["large"]))
    assert (alone.experts_, alone.thresholds_) == (("large",), ())
    assert alone.accepts(0, 0.0)


def test_what_it_cannot_learn_from(answered: RoutingData) -> None:
    frame = answer_frame(6)
    with pytest.raises(DataError, match="two different prompts"):
        FrugalCascade().fit(RoutingData(answer_frame(1)))
    gap = (frame["prompt_id"] == "p3") & (frame["expert"] == "large")
    with pytest.raises(DataError, match="'p3' has no answer of expert 'large'"):
        FrugalCascade().fit(RoutingData(frame[~gap]))


def test_what_it_cannot_replay(cascade: FrugalCascade, answered: RoutingData) -> None:
    with pytest.raises(DataError, match="asks the expert 'small', but the data only has large"):
        cascade.replay(answered.select(["large"]))
    with pytest.raises(NotFittedError, match="not trained"):
        FrugalCascade().replay(answered)


def test_saved_and_loaded_it_does_the_same(cascade: FrugalCascade, answered_later: RoutingData, tmp_path: Path) -> None:
    save_judge(cascade, tmp_path / "plan")
    loaded = load_judge(tmp_path / "plan")
    assert isinstance(loaded, FrugalCascade)
    assert (loaded.thresholds_, loaded.settings_) == (cascade.thresholds_, cascade.settings_)
    assert loaded.budget_ == cascade.budget_
    np.testing.assert_array_equal(loaded.cost_, cascade.cost_)
    np.testing.assert_array_equal(loaded.replay(answered_later).quality, cascade.replay(answered_later).quality)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f["calibration"]["learned"].update(thresholds=[0.123]), "do not fit together"),
        (lambda f: f["calibration"]["learned"].update(settings=[{"order": 3}]), "settings cannot be read"),
        (lambda f: f["calibration"]["learned"].update(cost=[1.0]), "costs do not fit"),
        (lambda f: f["calibration"]["learned"].pop("budget"), "lacks the number"),
        (lambda f: f["calibration"]["learned"].update(scorer=None), "lacks the number"),
        (lambda f: f.update(experts=["small"]), "do not fit together"),
    ],
)
def test_forged_plans(
    cascade: FrugalCascade, tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    save_judge(cascade, tmp_path / "plan")
    edit(tmp_path / "plan", change)
    with pytest.raises(ArtifactError, match=message):
        load_judge(tmp_path / "plan")
    assert orjson.loads((tmp_path / "plan" / "judge.json").read_bytes())["name"] == "frugal"
