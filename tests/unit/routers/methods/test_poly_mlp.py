from pathlib import Path

import numpy as np
import pytest
import torch

from routers import RoutingData, evaluate, load_router, save_router
from routers.learning.soft_labels import soft_labels
from routers.methods.poly_mlp import PolyMlpRouter

POOL = ["letters", "small", "sums"]
SUM, LETTERS = "What is 1 + 2 + 3 + 4 + 5 + 6 + 7 ?", "Sort the letters ABCDEFGH in order"


@pytest.fixture(scope="module")
def router(data: RoutingData) -> PolyMlpRouter:
    torch.set_num_threads(1)
    return PolyMlpRouter(hidden=16, max_epochs=20).fit(data.select(POOL))


def test_choice_is_the_likeliest_class(router: PolyMlpRouter) -> None:
    prediction = router.predict([SUM, LETTERS])
    assert prediction.choice is not None
    assert [router.experts_[i] for i in prediction.choice] == ["sums", "letters"]


def test_confidence_is_what_the_entropy_leaves(router: PolyMlpRouter) -> None:
    shares, _ = router.mlp_.predict(router.features_.transform([SUM, LETTERS]))
    expected = 1 + (shares * np.log(shares)).sum(axis=1) / np.log(3)
    confidence = router.predict([SUM, LETTERS]).confidence
    assert confidence is not None
    np.testing.assert_allclose(confidence, expected, atol=1e-5)


def test_better_than_the_best_single_expert(router: PolyMlpRouter, held_out: RoutingData) -> None:
    best = held_out.select(POOL).quality().mean(axis=0).max()
    assert evaluate(router, held_out).quality > best + 0.15


def test_predicted_quality_is_honest(router: PolyMlpRouter, held_out: RoutingData) -> None:
    pool = held_out.select(POOL)
    gap = router.predict_quality(pool.texts).mean(axis=0) - pool.quality().mean(axis=0)
    assert np.abs(gap).max() < 0.1
    error = ((router.predict_quality(pool.texts) - pool.quality()) ** 2).mean()
    assert error < 0.5 * pool.quality().var(axis=0).mean()


def test_labels_have_the_temperature_of_the_router(data: RoutingData) -> None:
    pool = data.select(POOL)
    router = PolyMlpRouter(temperature=2.0, max_epochs=1, hidden=4).fit(pool)
    expected = soft_labels(pool.quality(), 2.0).mean(axis=0)
    np.testing.assert_allclose(router.summary_["mean_label"], expected, atol=1e-6)


def test_a_loaded_router_adapts(router: PolyMlpRouter, data: RoutingData, tmp_path: Path) -> None:
    save_router(router, tmp_path / "router")
    loaded = load_router(tmp_path / "router")
    frame = data.select(POOL).frame
    swapped = frame.assign(expert=frame["expert"].replace({"sums": "letters", "letters": "sums"}))
    before = loaded.predict_quality([SUM])[0, 2]
    loaded.adapt(RoutingData(swapped))
    assert loaded.predict_quality([SUM])[0, 2] < before - 0.1
    assert loaded.summary_["adapted"][0]["prompts"] == 240
