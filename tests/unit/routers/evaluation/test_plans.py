"""Plans on an exam of four prompts, computed by hand."""

import numpy as np
import pandas as pd
import pytest

from routers import ParameterError, RoutingData, make_judge
from routers.answers import Replay
from routers.evaluation import Exam, Fold, PlanRun, judge, replay_trained, replay_unseen
from routers.evaluation.exam import of_plan

from .labels import labelled, once

TWO = {"small": [1.0, 0.0, 1.0, 0.0], "large": [1.0, 1.0, 0.0, 1.0]}
COSTS = {"small": 1.0, "large": 3.0}


def cascade(passed: list[float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Quality, cost and share of large of one that passes so much of each prompt on to the large expert."""
    large = np.array(passed)
    return large * TWO["large"] + (1 - large) * TWO["small"], 1 + 3 * large, large


def run(own: list[float], *sweep: list[float]) -> PlanRun:
    quality, cost, large = cascade(own)
    replay = Replay(("small", "large"), quality, cost, cost, np.column_stack([1 - large, large]), 1 + large)
    swept = [cascade(passed)[:2] for passed in sweep]
    both = (np.stack([q for q, _ in swept]), np.stack([c for _, c in swept])) if swept else None
    return PlanRun(replay, both)


def test_a_plan_has_spent_what_all_attempts_cost() -> None:
    """It passes the second prompt on and half of the fourth: quality (1 + 1 + 1 + 0.5) / 4, cost 1 + 1.5 * 3 / 4."""
    exam = Exam.of(labelled(TWO, COSTS))
    found = judge(exam, {}, {"plan": run([0.0, 1.0, 0.0, 0.5])}, n_resamples=20).routers["plan"]
    assert found["own_choice"]["quality"] == pytest.approx(0.875)
    assert found["own_choice"]["cost"] == pytest.approx(2.125)
    assert found["own_choice"]["cost_advantage"] == pytest.approx(0.625)
    assert found["own_choice"]["quality_drop"] == pytest.approx(-0.125 / 0.75)
    assert (found["curve"], found["apgr"]) == (None, None)


def test_the_curve_of_a_plan_lies_over_cost() -> None:
    """Passing two of four on costs 1 + 2 * 3 / 4: 0.75 of the span from 1 to 3, though half of the calls are large."""
    exam = Exam.of(labelled(TWO, COSTS))
    entrant = of_plan("plan", exam, run([0, 1, 0, 1], [0, 0, 0, 0], [0, 1, 0, 0], [0, 1, 0, 1], [1, 1, 1, 1]))
    curves = entrant.curves(once(4))
    np.testing.assert_allclose(curves.x[0], [0.0, 0.0, 0.375, 0.75, 1.5])
    np.testing.assert_allclose(curves.quality[0], [0.5, 0.5, 0.75, 1.0, 0.75])
    np.testing.assert_allclose(curves.cost[0], [1.0, 1.0, 1.75, 2.5, 4.0])


def answered(n: int = 60) -> RoutingData:
    rows = []
    for i in range(n):
        for expert, cost, right in (("small", 1.0, i % 3 > 0), ("large", 3.0, True)):
            text = "surely" if right else "perhaps"
            rows.append((f"p{i}", f"prompt {i}", expert, 0, float(right), 1, 1, cost, 0.0, text))
    names = ["prompt_id", "prompt", "expert", "sample", "quality", "input_tokens", "output_tokens", "cost"]
    return RoutingData(pd.DataFrame(rows, columns=[*names, "latency_s", "response"])).select(["small", "large"])


def test_plans_are_trained_without_what_they_are_judged_on() -> None:
    data, places = answered(), np.arange(60)
    folds = [Fold(str(k), places[places % 2 != k], places[places % 2 == k]) for k in (1, 0)]
    shares: list[float] = []
    found = replay_unseen(
        lambda: make_judge("frugal", budget=2.5, features={"kind": "tfidf", "min_documents": 1}),
        data,
        folds,
        lambda doing, share: shares.append(share),
    )
    assert shares == sorted(shares)
    assert found.own.experts == ("small", "large")
    np.testing.assert_allclose(found.own.quality, 1.0)
    np.testing.assert_allclose(found.own.share[:, 1], places % 3 == 0)
    np.testing.assert_allclose(found.own.cost, 1 + 3.0 * (places % 3 == 0))
    assert found.sweep is not None
    assert found.sweep[0].shape == found.sweep[1].shape == (41, 60)
    np.testing.assert_allclose(found.sweep[1][0], 1.0)
    assert found.train_s > 0


def test_a_judge_is_no_plan() -> None:
    data = answered(20)
    scorer = make_judge("answer-scorer").fit(data)
    with pytest.raises(ParameterError, match="'answer-scorer' judges answers but asks no expert"):
        replay_trained(scorer, data)
