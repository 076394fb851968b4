"""The three routers of Hybrid LLM with a fine-tuned encoder, as the paper has them."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from routers import ArtifactError, Policy, RoutingData, TwoModelRouter, evaluate, load_router, make_router, save_router

NAMES = ["hybrid-det", "hybrid-prob", "hybrid-trans"]
FAST: dict[str, Any] = {
    "encoder_epochs": 5,
    "encoder_batch_size": 16,
    "encoder_learning_rate": 5e-3,
    "encoder_max_tokens": 64,
}
_trained: dict[str, TwoModelRouter] = {}


@pytest.fixture(params=NAMES)
def router(request: pytest.FixtureRequest, tiny_encoder_path: str, data: RoutingData) -> TwoModelRouter:
    if request.param not in _trained:
        _trained[request.param] = make_router(request.param, encoder=tiny_encoder_path, **FAST).fit(data)
    return _trained[request.param]


@pytest.mark.parametrize("name", NAMES)
def test_the_public_codes_settings_are_the_defaults(name: str) -> None:
    router = make_router(name)
    tuning = router._tuning()
    assert router.encoder is None
    assert router.encoder_max_tokens == 128
    assert (tuning.epochs, tuning.batch_size, tuning.learning_rate) == (5, 128, 1e-5)
    assert (tuning.weight_decay, tuning.warmup) == (0.1, 0.05)


def test_better_than_chance_on_new_prompts(router: TwoModelRouter, held_out: RoutingData) -> None:
    outcome = evaluate(router, held_out, Policy())
    quality = held_out.select(router.experts_).quality().mean(axis=0)
    assert outcome.quality > float(np.dot(list(outcome.shares.values()), quality)) + 0.1
    assert np.abs(router.predict_quality(held_out.texts) - held_out.select(router.experts_).quality()).mean() < 0.2


def test_it_is_slow_and_still_knows_what_is_new(router: TwoModelRouter, held_out: RoutingData) -> None:
    assert router.slow
    assert router.knows_novelty
    texts = held_out.texts[:5]
    here, there = router.predict(texts), asyncio.run(router.predict_async(texts))
    for field in ("quality", "large_needed", "novelty", "confidence"):
        np.testing.assert_array_equal(getattr(there, field), getattr(here, field))
    assert here.novelty.shape == (5,)


def test_saved_and_loaded_without_the_checkpoint(router: TwoModelRouter, held_out: RoutingData, tmp_path: Path) -> None:
    save_router(router, tmp_path / "router")
    before, after = router.predict(held_out.texts), load_router(tmp_path / "router").predict(held_out.texts)
    for field in ("quality", "large_needed", "novelty"):
        np.testing.assert_array_equal(getattr(after, field), getattr(before, field))


def test_a_state_without_the_encoder_is_refused(router: TwoModelRouter) -> None:
    state = router.state()
    del state.features["encoder"]
    other = make_router(router.name, encoder="x")
    other.experts_ = router.experts_
    with pytest.raises(ArtifactError, match="does not describe its encoder"):
        other.restore(state)


def test_adapting_and_noise_reach_the_encoder(tiny_encoder_path: str, data: RoutingData) -> None:
    options = {**FAST, "encoder_epochs": 4, "encoder_learning_rate": 1e-2}
    router = make_router("hybrid-prob", encoder=tiny_encoder_path, augment=1.0, **options).fit(data)
    frame = data.select(["small", "large"]).frame
    swapped = RoutingData(frame.assign(quality=np.where(frame["expert"] == "small", 1.0, 0.0)))
    before = router.predict_large_needed(data.texts).mean()
    assert router.adapt(swapped).predict_large_needed(data.texts).mean() < before / 2
