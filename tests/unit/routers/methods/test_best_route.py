from pathlib import Path

import numpy as np
import pytest

from routers import ArtifactError, ParameterError, Policy, RoutingData, evaluate, load_router, make_router, save_router
from routers.methods.best_route import BestRouteRouter
from tests.unit.routers.conftest import make_frame
from tests.unit.routers.test_artifact import edit


@pytest.fixture(scope="module")
def router(data: RoutingData) -> BestRouteRouter:
    return BestRouteRouter(reference="large", max_drop=0.05, folds=2).fit(data)


class Says:
    """Stands where a trained head is, with outputs that are known."""

    def __init__(self, outputs: list[list[float]]) -> None:
        self.outputs = np.array(outputs, dtype=np.float32)

    def predict(self, rows: object) -> np.ndarray:
        return self.outputs


def test_the_cheapest_that_is_good_enough_by_hand(data: RoutingData, monkeypatch: pytest.MonkeyPatch) -> None:
    """Costs: large 1.0, letters 0.3, small 0.1, sums 0.3; columns of p, then of quality, in this order."""
    router = BestRouteRouter(reference="large", threshold=0.6, folds=2).fit(data)
    assert router.experts_ == ("large", "letters", "small", "sums")
    quality = [0.9, 0.5, 0.5, 0.5]
    p = [[1.0, 0.9, 0.6, 0.9], [1.0, 0.7, 0.59, 0.9], [1.0, 0.5, 0.5, 0.3]]
    monkeypatch.setattr(router, "head_", Says([row + quality for row in p]))
    prediction = router.predict(["a", "b", "c"])
    assert prediction.choice is not None
    assert [router.experts_[choice] for choice in prediction.choice] == ["small", "letters", "large"]
    np.testing.assert_allclose(prediction.confidence, [0.6, 0.7, 0.5], atol=1e-6)
    np.testing.assert_allclose(prediction.quality, [quality] * 3, atol=1e-6)


def test_labels_are_those_of_all_pairs_of_samples(router: BestRouteRouter, data: RoutingData) -> None:
    targets = router._targets(data)
    quality = data.quality()
    np.testing.assert_allclose(targets[:, 4:], quality)
    large = data.samples("large")
    for column, arm in enumerate(data.experts):
        samples = data.samples(arm)
        by_hand = [(s[:, None] >= b[None, :]).mean() for s, b in zip(samples, large, strict=True)]
        np.testing.assert_allclose(targets[:, column], by_hand)
    relaxed = BestRouteRouter(reference="large", t=1.0, folds=2).fit(data)._targets(data)
    assert (relaxed[:, :4] == 1).all()


def test_a_dearer_expert_is_never_its_choice(data: RoutingData) -> None:
    router = BestRouteRouter(reference="sums", threshold=0.0, folds=2).fit(data)
    chosen = router.predict(data.texts).choice
    assert chosen is not None
    assert set(chosen.tolist()) == {router.experts_.index("small")}
    assert evaluate(router, data, Policy(experts=("large", "sums"))).shares["sums"] < 1


def test_a_lower_drop_costs_more(data: RoutingData, held_out: RoutingData) -> None:
    outcomes = []
    for max_drop in (0.0, 0.05, 0.5):
        router = BestRouteRouter(reference="large", max_drop=max_drop, folds=2).fit(data)
        outcomes.append(evaluate(router, held_out, reference="large"))
    costs = [outcome.cost for outcome in outcomes]
    assert costs == sorted(costs, reverse=True)
    assert costs[2] < 0.5 * costs[0]
    assert outcomes[1].quality_drop < 0.08


def test_the_threshold_is_chosen_on_prompts_that_its_head_has_not_seen(
    data: RoutingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned: list[int] = []
    plain = BestRouteRouter._trained
    monkeypatch.setattr(
        BestRouteRouter,
        "_trained",
        lambda self, rows, y, progress: (learned.append(len(y)), plain(self, rows, y, progress))[1],
    )
    BestRouteRouter(held_out=0.25, folds=2).fit(data)
    assert learned == [180, 240]
    learned.clear()
    BestRouteRouter(threshold=0.5, folds=2).fit(data)
    assert learned == [240]
    learned.clear()
    assert BestRouteRouter(folds=2).fit(RoutingData(make_frame(16))).least_ == 0.5
    assert learned == [16]


def test_policies_work_as_for_all_others(router: BestRouteRouter, held_out: RoutingData) -> None:
    assert evaluate(router, held_out, Policy(budget=0.3)).shares["large"] == 0.0
    quality = evaluate(router, held_out, Policy(quality_cost=0.0)).quality
    assert quality > evaluate(router, held_out, Policy(quality_cost=2.0)).quality
    with pytest.raises(ParameterError, match="has no threshold"):
        evaluate(router, held_out, Policy(threshold=0.5))


def test_the_reference(data: RoutingData, router: BestRouteRouter) -> None:
    assert router.reference_ == "large"
    assert make_router("best-route", folds=2).fit(data).fallback_ == "large"
    with pytest.raises(ParameterError, match="reference='huge' is not an expert of the data"):
        make_router("best-route", reference="huge").fit(data)


def test_a_forged_threshold(router: BestRouteRouter, tmp_path: Path) -> None:
    save_router(router, tmp_path / "router")
    assert load_router(tmp_path / "router").least_ == router.least_
    edit(tmp_path / "router", lambda fields: fields["calibration"]["learned"].update(threshold=2.0))
    with pytest.raises(ArtifactError, match="threshold is not between 0 and 1"):
        load_router(tmp_path / "router")
