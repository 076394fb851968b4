import numpy as np
import pandas as pd
import pytest

from routers import (
    DataError,
    ParameterError,
    Policy,
    RoutingData,
    ThresholdPoint,
    choose_threshold,
    evaluate,
    make_router,
    sweep_thresholds,
)
from routers.base import TwoModelRouter
from tests.unit.routers.conftest import make_frame


@pytest.fixture(scope="module")
def router(data: RoutingData) -> TwoModelRouter:
    made = make_router("hybrid-trans").fit(data)
    assert isinstance(made, TwoModelRouter)
    return made


def test_extremes_are_the_single_models(router: TwoModelRouter, held_out: RoutingData) -> None:
    quality = held_out.select(["small", "large"]).quality().mean(axis=0)
    all_large = evaluate(router, held_out, Policy(threshold=0.0))
    assert (all_large.quality, all_large.quality_drop) == (pytest.approx(quality[1]), 0.0)
    assert (all_large.cost, all_large.cost_advantage) == (pytest.approx(1.0), 0.0)
    all_small = evaluate(router, held_out, Policy(experts=("small",)))
    assert all_small.quality == pytest.approx(quality[0])
    assert all_small.quality_drop == pytest.approx(1 - quality[0] / quality[1])
    assert all_small.shares == {"small": 1.0, "large": 0.0}


def test_outcome_is_the_mean_over_the_chosen(router: TwoModelRouter, held_out: RoutingData) -> None:
    to_large = router.predict_large_needed(held_out.texts) >= 0.5
    quality = held_out.select(["small", "large"]).quality()
    outcome = evaluate(router, held_out)
    assert outcome.quality == pytest.approx(np.where(to_large, quality[:, 1], quality[:, 0]).mean())
    assert outcome.cost == pytest.approx(np.where(to_large, 1.0, 0.1).mean())
    assert outcome.cost_advantage == pytest.approx(1 - to_large.mean())
    assert (outcome.n_prompts, outcome.reference) == (200, "large")


def test_reference_of_many_is_the_dearest_or_named(data: RoutingData, held_out: RoutingData) -> None:
    router = make_router("cluster", fallback="large").fit(data)
    assert evaluate(router, held_out).reference == "large"
    assert evaluate(router, held_out, reference="sums").quality_drop < 0
    with pytest.raises(ParameterError, match="'huge' is unknown"):
        evaluate(router, held_out, reference="huge")


def test_sweep_agrees_with_evaluate(router: TwoModelRouter, held_out: RoutingData) -> None:
    points = sweep_thresholds(router, held_out, n_resamples=200)
    assert [p.threshold for p in points] == sorted({p.threshold for p in points})
    assert (points[0].threshold, points[0].cost_advantage, points[0].quality_drop_bound) == (0.0, 0.0, 0.0)
    assert points[-1].cost_advantage == 1.0
    middle = points[len(points) // 2]
    outcome = evaluate(router, held_out, Policy(threshold=middle.threshold))
    assert middle.quality == pytest.approx(outcome.quality)
    assert middle.cost == pytest.approx(outcome.cost)
    assert middle.quality_drop == pytest.approx(outcome.quality_drop)
    assert middle.cost_advantage == pytest.approx(outcome.cost_advantage)


def test_bound_is_above_the_drop_and_grows_with_the_confidence(router: TwoModelRouter, held_out: RoutingData) -> None:
    low, high = (sweep_thresholds(router, held_out, confidence=c, n_resamples=300) for c in (0.6, 0.99))
    for a, b in zip(low[1:], high[1:], strict=True):
        assert b.quality_drop_bound >= a.quality_drop_bound
        assert b.quality_drop_bound >= b.quality_drop


def test_bound_of_independent_prompts_is_the_normal_one(data: RoutingData) -> None:
    # All to small, right on half of the prompts where large always is: the drop's error is 0.5 / sqrt(n).
    rows = data.frame.query("sample == 0 and expert in ['small', 'large']")
    order = rows["prompt_id"].str[1:].astype(int)
    quality = np.where(rows["expert"] == "large", 1.0, (order < order.median()).astype(float))
    half = RoutingData(rows.assign(quality=quality))
    router = make_router("hybrid-trans").fit(half)
    assert isinstance(router, TwoModelRouter)
    last = sweep_thresholds(router, half, n_resamples=2000)[-1]
    assert last.quality_drop_bound == pytest.approx(0.5 + 1.645 * 0.5 / np.sqrt(240), abs=0.01)


def point(threshold: float, bound: float, advantage: float) -> ThresholdPoint:
    return ThresholdPoint(threshold, 0.9, 1.0, bound / 2, bound, advantage)


def test_choice_is_the_largest_advantage_within_the_bound() -> None:
    points = [point(0.0, 0.0, 0.0), point(0.3, 0.009, 0.4), point(0.4, 0.01, 0.4), point(0.5, 0.011, 0.6)]
    assert choose_threshold(points).threshold == 0.3
    assert choose_threshold(points, 0.02).threshold == 0.5
    assert choose_threshold(points, 0.0).threshold == 0.0
    with pytest.raises(ParameterError, match="No threshold"):
        choose_threshold(points[1:], 0.001)


def test_chosen_threshold_keeps_its_promise_on_new_prompts(
    router: TwoModelRouter, held_out: RoutingData, data: RoutingData
) -> None:
    chosen = choose_threshold(sweep_thresholds(router, held_out), max_drop=0.05)
    assert chosen.cost_advantage > 0.2
    assert evaluate(router, data, Policy(threshold=chosen.threshold)).quality_drop <= 0.05


def test_errors(router: TwoModelRouter, frame: pd.DataFrame, held_out: RoutingData) -> None:
    with pytest.raises(DataError, match="no answer of expert 'large'"):
        evaluate(router, RoutingData(frame[(frame["expert"] != "large") | (frame["prompt_id"] != "p5")]))
    with pytest.raises(ParameterError, match="confidence"):
        sweep_thresholds(router, held_out, confidence=1.0)


def test_routers_with_side_information_get_it() -> None:
    frame = make_frame(80, n_samples=2)
    hard = frame["prompt_id"].str.len() > 2
    frame = frame.assign(prompt="the same", hard=hard)
    frame["quality"] = ((frame["expert"] == "large") | ~hard).astype(float)
    data = RoutingData(frame).select(["small", "large"])
    router = make_router("hybrid-prob", side=["hard"]).fit(data)
    assert isinstance(router, TwoModelRouter)
    outcome = evaluate(router, data)
    assert outcome.quality == 1.0
    assert outcome.shares["small"] == pytest.approx(10 / 80)
    assert choose_threshold(sweep_thresholds(router, data)).cost_advantage == pytest.approx(10 / 80)
