from pathlib import Path
from typing import Any

import numpy as np
import pytest

from routers import ArtifactError, ParameterError, Policy, RoutingData, evaluate, load_router, make_router, save_router
from routers.methods.routellm_bert import RouteLLMBertRouter
from routers.neural.targets import outcome_labels
from routers.prompt import Prompt

FAST: dict[str, Any] = {"epochs": 5, "batch_size": 16, "learning_rate": 5e-3, "max_tokens": 64, "max_steps": None}


@pytest.fixture(scope="module")
def router(tiny_encoder_path: str, data: RoutingData) -> RouteLLMBertRouter:
    return RouteLLMBertRouter(encoder=tiny_encoder_path, **FAST).fit(data)


def test_the_papers_settings_are_the_defaults() -> None:
    router = RouteLLMBertRouter()
    assert (router.learning_rate, router.batch_size, router.max_tokens, router.max_steps) == (1e-5, 16, 512, 2000)


def test_the_score_is_one_minus_tie_and_loss() -> None:
    outputs = np.array([[0.5, 0.3, 0.2, 0.6, 0.9], [0.0, 0.25, 0.75, 0.9, 0.4]], dtype=np.float32)
    prediction = RouteLLMBertRouter()._read_out(outputs)
    np.testing.assert_allclose(prediction.large_needed, [0.5, 0.0], atol=1e-6)
    np.testing.assert_array_equal(prediction.quality, outputs[:, 3:])


def test_it_learns_from_outcomes_and_qualities(data: RoutingData) -> None:
    router = RouteLLMBertRouter(tie=0.2)
    pair = data.select(["small", "large"])
    router.experts_ = pair.experts
    targets = router._targets(pair)
    outcomes = outcome_labels(pair.samples("small"), pair.samples("large"), 0.2)
    np.testing.assert_array_equal(targets, np.column_stack([outcomes, pair.quality()]))


def test_better_than_chance_on_new_prompts(router: RouteLLMBertRouter, held_out: RoutingData) -> None:
    outcome = evaluate(router, held_out, Policy())
    quality = held_out.select(router.experts_).quality().mean(axis=0)
    assert outcome.quality > float(np.dot(list(outcome.shares.values()), quality)) + 0.1
    needed = router.predict_large_needed(held_out.texts)
    outcomes = outcome_labels(held_out.samples("small"), held_out.samples("large"))
    assert np.corrcoef(needed, outcomes[:, 0])[0, 1] > 0.8
    assert np.abs(router.predict_quality(held_out.texts) - held_out.select(router.experts_).quality()).mean() < 0.2


def test_saved_and_loaded_without_the_checkpoint(
    router: RouteLLMBertRouter, held_out: RoutingData, tmp_path: Path
) -> None:
    router.set_params(encoder=str(tmp_path / "gone"))
    save_router(router, tmp_path / "router")
    loaded = load_router(tmp_path / "router")
    assert loaded.slow
    before, after = router.predict(held_out.texts), loaded.predict(held_out.texts)
    for field in ("quality", "large_needed", "confidence"):
        np.testing.assert_array_equal(getattr(after, field), getattr(before, field))


def test_damaged_state_is_refused(router: RouteLLMBertRouter) -> None:
    state = router.state()
    state.tensors["encoder.offset"] = np.zeros(3, np.float32)
    other = RouteLLMBertRouter()
    other.experts_ = router.experts_
    with pytest.raises(ArtifactError, match=r"encoder\.offset"):
        other.restore(state)


def test_adapting_moves_to_new_prompts(tiny_encoder_path: str, data: RoutingData) -> None:
    router = RouteLLMBertRouter(encoder=tiny_encoder_path, **{**FAST, "learning_rate": 1e-2}).fit(data)
    frame = data.select(["small", "large"]).frame
    swapped = RoutingData(frame.assign(quality=np.where(frame["expert"] == "small", 1.0, 0.0)))
    assert router.adapt(swapped).predict_large_needed(swapped.texts).max() < 0.3
    assert len(router.summary_["adapted"]) == 1


def test_side_information_is_read(tiny_encoder_path: str, data: RoutingData) -> None:
    frame = data.select(["small", "large"]).frame
    frame = frame.assign(prompt="same", domain=np.where(frame["prompt_id"].str.len() % 2, "x", "y"))
    frame["quality"] = np.where((frame["domain"] == "x") | (frame["expert"] == "large"), 1.0, 0.0)
    router = RouteLLMBertRouter(encoder=tiny_encoder_path, side=["domain"], **FAST).fit(RoutingData(frame))
    x, y = router.predict_large_needed([Prompt("same", {"domain": "x"}), Prompt("same", {"domain": "y"})])
    assert x < 0.3 < 0.7 < y


def test_wrong_parameters(data: RoutingData, tmp_path: Path) -> None:
    for wrong in (
        {"tie": 1.0},
        {"epochs": 0},
        {"learning_rate": 0.0},
        {"held_out": 0.9},
        {"encoder": ""},
        {"seed": -1},
    ):
        with pytest.raises(ParameterError, match=next(iter(wrong))):
            make_router("routellm-bert", **wrong)
    with pytest.raises(ParameterError, match="cannot be used"):
        RouteLLMBertRouter(encoder=str(tmp_path)).fit(data)
