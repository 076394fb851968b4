"""The search, on data small enough to try everything by hand."""

from itertools import permutations, product

import numpy as np
import pytest

from routers import ParameterError, RoutingData
from routers.answers.replay import Recorded, replay_cascade
from routers.answers.thresholds import CascadeSetting, affordable, search_settings

from .conftest import answer_frame


def recorded(expert: str, quality: list[float], cost: float) -> Recorded:
    """One answer to each prompt."""
    n = len(quality)
    places, costs = np.arange(n), np.full(n, cost)
    return Recorded(expert, places, np.zeros(n, np.int64), ["x"] * n, np.array(quality), costs, costs, n)


SMALL = recorded("small", [1.0, 1.0, 0.0, 0.0], 1.0)
LARGE = recorded("large", [1.0, 1.0, 1.0, 0.0], 10.0)
SCORES = {"small": np.array([0.9, 0.8, 0.3, 0.1], np.float32), "large": np.full(4, 0.5, np.float32)}


def test_the_front_of_two_experts() -> None:
    """Small alone 0.5 for 1; escalating the worst answer gains nothing; the two worst: 0.75 for 1 + 10 / 2."""
    found = search_settings([LARGE, SMALL], SCORES, n_quantiles=4)
    assert [(s.order, s.quality, s.cost) for s in found] == [
        (("small",), 0.5, 1.0),
        (("small", "large"), 0.75, 6.0),
    ]
    assert found[1].thresholds == (pytest.approx(0.8),)
    assert [score >= found[1].thresholds[0] for score in SCORES["small"].tolist()] == [True, True, False, False]


def test_a_dearer_expert_that_comes_first_never_pays() -> None:
    found = search_settings([LARGE, SMALL], SCORES)
    assert all(setting.order[0] == "small" for setting in found)


def test_the_budget_is_kept() -> None:
    found = search_settings([LARGE, SMALL], SCORES, n_quantiles=4)
    assert affordable(found, 1.0).order == ("small",)
    assert affordable(found, 5.99).quality == 0.5
    assert affordable(found, 6.0).quality == 0.75
    assert affordable(found, 100.0).quality == 0.75
    with pytest.raises(ParameterError, match=r"budget of 0\.5 .* 'small' alone with 1"):
        affordable(found, 0.5)


def test_three_experts_each_catch_what_they_can() -> None:
    """Each expert's scorer knows its right answers: all three in the order of their prices are best."""
    experts = [
        recorded("a", [1.0, 0.0, 0.0], 1.0),
        recorded("b", [0.0, 1.0, 0.0], 2.0),
        recorded("c", [0.0, 0.0, 1.0], 4.0),
    ]
    scores = {one.expert: one.quality.astype(np.float32) for one in experts}
    best = search_settings(experts, scores)[-1]
    assert (best.order, best.quality) == (("a", "b", "c"), 1.0)
    assert best.cost == pytest.approx(1 + 2 * 2 / 3 + 4 / 3)
    assert best.thresholds == (1.0, 1.0)
    shorter = search_settings(experts, scores, max_experts=2)
    assert max(len(setting.order) for setting in shorter) == 2
    assert shorter[-1].quality == pytest.approx(2 / 3)


def brute_force(experts: list[Recorded], scores: dict[str, np.ndarray], n_quantiles: int) -> list[CascadeSetting]:
    """Every order with every combination of thresholds, each replayed by itself."""
    found = []
    names = tuple(one.expert for one in experts)
    for length in (1, 2, 3):
        for order in permutations(experts, length):
            levels = np.linspace(0, 1, n_quantiles, endpoint=False)
            grids = [np.quantile(scores[one.expert], levels, method="higher").tolist() for one in order[:-1]]
            for thresholds in product(*grids):
                one = replay_cascade(names, order, thresholds, scores)
                ids = tuple(asked.expert for asked in order)
                found.append(CascadeSetting(ids, thresholds, float(one.quality.mean()), float(one.cost.mean())))
    return found


def test_it_finds_what_trying_everything_finds() -> None:
    data = RoutingData(answer_frame(30, n_samples=3))
    experts = [Recorded.of(data, expert) for expert in data.experts]
    rng = np.random.default_rng(0)
    scores = {e.expert: (e.quality * 0.5 + rng.random(len(e.quality))).astype(np.float32) for e in experts}
    everything = brute_force(experts, scores, 5)
    found = search_settings(experts, scores, n_quantiles=5)
    for budget in np.linspace(0.1, 2.0, 24):
        best = max(one.quality for one in everything if one.cost <= budget * (1 + 1e-9))
        chosen = affordable(found, float(budget))
        assert chosen.quality == pytest.approx(best, abs=1e-8)
        assert chosen.cost <= budget * (1 + 1e-9)
    assert [s.cost for s in found] == sorted(s.cost for s in found)
    assert [s.quality for s in found] == sorted(s.quality for s in found)
