from pathlib import Path

import numpy as np
import pytest

from routers import ArtifactError, ParameterError, RoutingData, evaluate, load_router, save_router
from routers.base import RouterState
from routers.methods.poly_knn import PolyKnnRouter

POOL = ["letters", "small", "sums"]
SUM, LETTERS = "What is 1 + 2 ?", "Sort the letters ABC in order"


def by_hand(**parameters: float) -> PolyKnnRouter:
    """Three neighbours of (1, 0), at cosine distances 0, 0.4 and 1, of two experts."""
    router = PolyKnnRouter(**parameters)  # type: ignore[arg-type]
    router.experts_ = ("a", "b")
    router.cost_ = np.array([1.0, 2.0])
    router.k_ = 3
    router.rows_ = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], dtype=np.float32)
    router.quality_ = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]], dtype=np.float32)
    router.spent_ = np.array([[1.0, 3.0], [1.0, 1.0], [1.0, 1.0]], dtype=np.float32)
    router.weight_ = np.ones(3, dtype=np.float32)
    return router


@pytest.fixture(scope="module")
def router(data: RoutingData) -> PolyKnnRouter:
    return PolyKnnRouter(k=20).fit(data.select(POOL))


def test_inverse_distance_weights_by_hand() -> None:
    prediction = by_hand()._predict_rows(np.array([[2.0, 0.0]], dtype=np.float32))
    weight = np.array([1 / 0.01, 1 / 0.4, 1 / 1.0])
    weight /= weight.sum()
    np.testing.assert_allclose(prediction.quality[0], [weight[1] + weight[2], weight[0]], atol=1e-5)
    assert prediction.choice is not None
    assert prediction.choice.tolist() == [1]


def test_confidence_by_hand() -> None:
    from scipy.stats import norm

    prediction = by_hand()._predict_rows(np.array([[0.0, 1.0]], dtype=np.float32))
    weight = np.array([1 / 1.0, 1 / 0.2, 1 / 0.01])
    weight /= weight.sum()
    ahead = weight @ np.array([-1.0, 1.0, 1.0])
    variance = ((1 - ahead**2) + weight @ weight) * (weight @ weight)
    assert prediction.confidence is not None
    assert prediction.confidence[0] == pytest.approx(2 * norm.cdf(ahead / variance**0.5) - 1, abs=1e-5)


def test_cost_is_weighed_against_quality() -> None:
    # The nearest prompt has the dearer expert right, at three times the price.
    asked = np.array([[1.0, 0.0]], dtype=np.float32)
    for cost_weight, expected in ((0.0, 1), (0.5, 1), (2.0, 0)):
        choice = by_hand(cost_weight=cost_weight)._predict_rows(asked).choice
        assert choice is not None
        assert choice.tolist() == [expected]


def test_a_prompt_without_a_known_word_gets_the_mean_of_all() -> None:
    quality = by_hand()._predict_rows(np.zeros((1, 2), dtype=np.float32)).quality
    np.testing.assert_allclose(quality[0], [2 / 3, 1 / 3], atol=1e-6)


def test_prediction_is_that_of_an_exhaustive_search(router: PolyKnnRouter, held_out: RoutingData) -> None:
    rows = router.features_.transform(held_out.texts).astype(np.float64)
    quality = router.predict_quality(held_out.texts)
    for row, predicted in zip(rows[:30], quality, strict=False):
        similarity = router.rows_.astype(np.float64) @ row
        around = similarity >= np.sort(similarity)[-20] - 1e-6
        weight = 1 / np.maximum(1 - similarity[around], 0.01)
        expected = weight @ router.quality_[around] / weight.sum()
        np.testing.assert_allclose(predicted, expected, atol=1e-4)


def test_better_than_the_best_single_expert(router: PolyKnnRouter, held_out: RoutingData) -> None:
    best = held_out.select(POOL).quality().mean(axis=0).max()
    assert evaluate(router, held_out).quality > best + 0.15


def test_cost_is_predicted_from_neighbours(router: PolyKnnRouter) -> None:
    np.testing.assert_allclose(router.predict_cost([SUM, LETTERS]), [[0.3, 0.1, 0.3]] * 2, atol=1e-6)


def test_k_has_the_least_error_on_left_out_prompts(data: RoutingData) -> None:
    found = PolyKnnRouter(k=None).fit(data.select(POOL))
    similarity = (found.rows_ @ found.rows_.T).astype(np.float64)
    np.fill_diagonal(similarity, -np.inf)
    errors = {}
    for k in (5, 10, 20, 40, 70, 100, 150, 200):
        around = np.argsort(-similarity, axis=1)[:, :k]
        weight = 1 / np.maximum(1 - np.take_along_axis(similarity, around, axis=1), 0.01)
        predicted = np.einsum("nk,nkm->nm", weight / weight.sum(axis=1, keepdims=True), found.quality_[around])
        errors[k] = ((predicted - found.quality_) ** 2).mean()
    assert errors[found.k_] <= 1.05 * min(errors.values())
    assert errors[found.k_] < 0.9 * errors[200]
    assert found.summary_["k"] == found.k_


@pytest.mark.parametrize("adapt_weight", [1.0, 50.0])
def test_adapting_adds_weighted_neighbours(adapt_weight: float, data: RoutingData, tmp_path: Path) -> None:
    router = PolyKnnRouter(k=20, adapt_weight=adapt_weight).fit(data.select(POOL))
    save_router(router, tmp_path / "router")
    loaded = load_router(tmp_path / "router")
    frame = data.select(POOL).frame
    few = frame[frame["prompt_id"].isin([f"p{i}" for i in range(10)])].assign(quality=0.0)
    assert isinstance(loaded, PolyKnnRouter)
    before = loaded.predict_quality([few["prompt"].iloc[0]])
    after = loaded.adapt(RoutingData(few)).predict_quality([few["prompt"].iloc[0]])
    assert len(loaded.rows_) == len(router.rows_) + 10
    assert loaded.weight_[-10:].tolist() == [adapt_weight] * 10
    # A weight of 50 leaves next to nothing of the old neighbours.
    assert after.max() < (before.max() if adapt_weight == 1.0 else 0.15)


def test_damaged_neighbours_are_refused(router: PolyKnnRouter) -> None:
    state = router.state()
    for name, tensor in (("weight", -router.weight_), ("rows", router.rows_[:-1])):
        damaged = RouterState(state.features, state.calibration, {**state.tensors, name: tensor})
        fresh = PolyKnnRouter()
        fresh.experts_ = router.experts_
        with pytest.raises(ArtifactError):
            fresh.restore(damaged)


def test_sparse_features_are_refused(data: RoutingData) -> None:
    with pytest.raises(ParameterError, match="measures distances"):
        PolyKnnRouter(features="tfidf").fit(data)
