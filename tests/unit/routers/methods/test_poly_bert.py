from pathlib import Path
from typing import Any

import numpy as np
import pytest

from routers import RoutingData, load_router, save_router
from routers.learning.soft_labels import soft_labels
from routers.methods.poly_bert import PolyBertRouter

FAST: dict[str, Any] = {"epochs": 8, "batch_size": 16, "learning_rate": 5e-3, "max_tokens": 64}
THREE = ["letters", "small", "sums"]


@pytest.fixture(scope="module")
def router(tiny_encoder_path: str, data: RoutingData) -> PolyBertRouter:
    return PolyBertRouter(encoder=tiny_encoder_path, **FAST).fit(data.select(THREE))


def test_it_learns_from_soft_labels_and_qualities(data: RoutingData) -> None:
    targets = PolyBertRouter(temperature=3.0)._targets(data)
    np.testing.assert_allclose(targets, np.column_stack([soft_labels(data.quality(), 3.0), data.quality()]))


def test_choice_quality_and_confidence_by_hand() -> None:
    router = PolyBertRouter()
    router.experts_ = ("a", "b")
    outputs = np.array([[0.9, 0.1, 0.2, 0.8], [0.5, 0.5, 0.3, 0.4], [0.0, 1.0, 0.1, 0.1]], dtype=np.float32)
    prediction = router._read_out(outputs)
    assert prediction.choice.tolist() == [0, 0, 1]
    np.testing.assert_array_equal(prediction.quality, outputs[:, 2:])
    entropy = -(0.9 * np.log(0.9) + 0.1 * np.log(0.1))
    np.testing.assert_allclose(prediction.confidence, [1 - entropy / np.log(2), 0, 1], atol=1e-5)


def test_one_expert_is_certain(tiny_encoder_path: str, data: RoutingData) -> None:
    router = PolyBertRouter(encoder=tiny_encoder_path, **{**FAST, "epochs": 1}).fit(data.select(["large"]))
    prediction = router.predict(["What is 1 + 2 ?"])
    assert (prediction.choice.tolist(), prediction.confidence.tolist()) == ([0], [1.0])


def test_each_domain_goes_to_its_expert(router: PolyBertRouter, held_out: RoutingData) -> None:
    prediction = router.predict(held_out.texts)
    quality = held_out.select(THREE).quality()
    reached = quality[np.arange(len(quality)), prediction.choice].mean()
    assert reached > quality.mean(axis=0).max() + 0.2
    assert np.abs(prediction.quality - quality).mean() < 0.2
    assert 0.2 < prediction.confidence.mean() <= 1


def test_saved_and_loaded(router: PolyBertRouter, held_out: RoutingData, tmp_path: Path) -> None:
    save_router(router, tmp_path / "router")
    before, after = router.predict(held_out.texts), load_router(tmp_path / "router").predict(held_out.texts)
    for field in ("quality", "choice", "confidence"):
        np.testing.assert_array_equal(getattr(after, field), getattr(before, field))


def test_noisy_prompts_are_learned_from(tiny_encoder_path: str, data: RoutingData, held_out: RoutingData) -> None:
    options = {**FAST, "epochs": 2}
    plain, noisy = (
        PolyBertRouter(encoder=tiny_encoder_path, augment=augment, **options).fit(data.select(THREE))
        for augment in (0.0, 3.0)
    )
    texts = held_out.texts[:20]
    assert not np.array_equal(plain.predict_quality(texts), noisy.predict_quality(texts))
