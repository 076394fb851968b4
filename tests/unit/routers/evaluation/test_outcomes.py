import numpy as np
import pandas as pd
import pytest

from routers import (
    DataError,
    ParameterError,
    Policy,
    RoutingData,
    evaluate,
    make_router,
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


def test_errors(router: TwoModelRouter, frame: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="no answer of expert 'large'"):
        evaluate(router, RoutingData(frame[(frame["expert"] != "large") | (frame["prompt_id"] != "p5")]))


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
