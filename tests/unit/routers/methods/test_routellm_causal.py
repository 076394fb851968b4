from pathlib import Path
from typing import Any

import numpy as np
import pytest

from routers import ArtifactError, Policy, RoutingData, evaluate, load_router, save_router
from routers.methods.routellm_causal import RouteLLMCausalRouter, _means_by_score
from routers.neural.targets import score_labels

FAST: dict[str, Any] = {"epochs": 4, "batch_size": 16, "learning_rate": 5e-3, "max_tokens": 160}


@pytest.fixture(scope="module")
def router(tiny_causal_path: str, data: RoutingData) -> RouteLLMCausalRouter:
    return RouteLLMCausalRouter(model=tiny_causal_path, **FAST).fit(data)


def test_the_papers_settings_are_the_defaults() -> None:
    router = RouteLLMCausalRouter()
    assert (router.learning_rate, router.batch_size, router.max_tokens) == (1e-6, 8, 2048)


def test_from_four_on_the_small_model_will_do() -> None:
    router = RouteLLMCausalRouter()
    router.quality_ = np.array([[0, 1], [0.2, 0.8], [0.4, 0.7], [0.6, 0.6], [1, 0.5]], dtype=np.float32)
    prediction = router._read_out(np.array([[0.1, 0.2, 0.3, 0.25, 0.15]], dtype=np.float32))
    np.testing.assert_allclose(prediction.large_needed, [0.6], atol=1e-6)
    # 0.2 * 0.2 + 0.3 * 0.4 + 0.25 * 0.6 + 0.15, and 0.1 + 0.2 * 0.8 + 0.3 * 0.7 + 0.25 * 0.6 + 0.15 * 0.5
    np.testing.assert_allclose(prediction.quality, [[0.46, 0.695]], atol=1e-6)


def test_qualities_at_each_score_by_hand() -> None:
    labels = np.array([[1, 0, 0, 0, 0], [0.5, 0, 0, 0.5, 0]])
    quality = np.array([[0.2, 1.0], [0.8, 0.4]])
    means = _means_by_score(labels, quality, np.array([0.5, 0.6]))
    # Score 1: (0.2 + 0.5 * 0.8 + 0.5) / 2.5; score 4: (0.5 * 0.8 + 0.5) / 1.5; the others: what was before.
    np.testing.assert_allclose(means[[0, 1, 3], 0], [1.1 / 2.5, 0.5, 0.9 / 1.5], atol=1e-6)
    np.testing.assert_allclose(means[[0, 1, 3], 1], [1.8 / 2.5, 0.6, 0.8 / 1.5], atol=1e-6)


def test_better_than_chance_on_new_prompts(router: RouteLLMCausalRouter, held_out: RoutingData) -> None:
    outcome = evaluate(router, held_out, Policy())
    quality = held_out.select(router.experts_).quality().mean(axis=0)
    assert outcome.quality > float(np.dot(list(outcome.shares.values()), quality)) + 0.1
    fine = score_labels(held_out.samples("small"), held_out.samples("large"))[:, 3:].sum(axis=1)
    assert np.corrcoef(router.predict_large_needed(held_out.texts), 1 - fine)[0, 1] > 0.8


def test_saved_and_loaded(router: RouteLLMCausalRouter, held_out: RoutingData, tmp_path: Path) -> None:
    save_router(router, tmp_path / "router")
    texts = held_out.texts[:40]
    before, after = router.predict(texts), load_router(tmp_path / "router").predict(texts)
    for field in ("quality", "large_needed", "confidence"):
        np.testing.assert_array_equal(getattr(after, field), getattr(before, field))


def test_impossible_qualities_are_refused(router: RouteLLMCausalRouter) -> None:
    state = router.state()
    state.tensors["quality"] = state.tensors["quality"] + 2
    other = RouteLLMCausalRouter()
    other.experts_ = router.experts_
    with pytest.raises(ArtifactError, match="within 0 and 1"):
        other.restore(state)


def test_adapting_learns_new_qualities(tiny_causal_path: str, data: RoutingData) -> None:
    router = RouteLLMCausalRouter(model=tiny_causal_path, **{**FAST, "epochs": 2}).fit(data)
    frame = data.select(["small", "large"]).frame.query("sample == 0").assign(quality=1.0)
    router.adapt(RoutingData(frame))
    assert router.predict_quality(data.texts[:20]).min() > 0.9
