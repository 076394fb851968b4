from typing import Any

import numpy as np
import pytest

from routers import ArtifactError, ParameterError, RoutingData, make_router
from routers.base import RouterState
from routers.learning.bilinear import BilinearSettings
from routers.methods.routellm_mf import MatrixFactorizationRouter

QUICK: dict[str, Any] = {"learning_rate": 5e-3, "max_epochs": 20, "dim": 32, "batch_size": 32, "folds": 2}
EASY = ["What is 3 + 4 ?", "Sort the letters QWE in order"]
HARD = ["What is 3 + 4 + 5 + 6 + 7 + 8 + 9 + 1 + 2 ?", "Sort the letters QWERTYUIO in order"]


@pytest.fixture(scope="module")
def router(data: RoutingData) -> MatrixFactorizationRouter:
    return MatrixFactorizationRouter(**QUICK).fit(data)


def test_defaults_are_the_papers() -> None:
    settings = MatrixFactorizationRouter()._settings()
    published = BilinearSettings(dim=128, noise=0.1, batch_size=64, learning_rate=3e-4, weight_decay=1e-5, epochs=300)
    assert settings == published


def test_the_score_is_the_sigmoid_of_the_difference_of_the_bilinear_scores(
    router: MatrixFactorizationRouter, held_out: RoutingData
) -> None:
    delta = router.model_.scores(np.asarray(router.features_.transform(held_out.texts)))
    expected = 1 / (1 + np.exp(delta[:, 0] - delta[:, 1]))
    np.testing.assert_allclose(router.predict_large_needed(held_out.texts), expected, atol=1e-5)


def test_hard_prompts_score_higher(router: MatrixFactorizationRouter) -> None:
    assert router.predict_large_needed(EASY).max() < router.threshold_ < router.predict_large_needed(HARD).min()


def test_scores_are_the_odds_of_winning(router: MatrixFactorizationRouter, held_out: RoutingData) -> None:
    small, large = held_out.samples("small"), held_out.samples("large")
    gap = large[:, :, None] - small[:, None, :]
    won = ((gap > 0) + 0.5 * (gap == 0)).mean(axis=(1, 2))
    score = router.predict_large_needed(held_out.texts)
    assert score.mean() == pytest.approx(won.mean(), abs=0.05)
    assert router.summary_["held_out_loss"] < -(
        won.mean() * np.log(won.mean()) + (1 - won.mean()) * np.log(1 - won.mean())
    )


def test_qualities_are_calibrated_on_prompts_it_has_not_seen(
    router: MatrixFactorizationRouter, held_out: RoutingData
) -> None:
    quality = held_out.select(router.experts_).quality()
    predicted = router.predict_quality(held_out.texts)
    for part in (predicted[:, 0] < 0.5, predicted[:, 0] >= 0.5):
        np.testing.assert_allclose(predicted[part].mean(axis=0), quality[part].mean(axis=0), atol=0.12)


def test_training_stops_when_the_held_out_loss_no_longer_falls(data: RoutingData) -> None:
    greedy = {**QUICK, "learning_rate": 0.1, "max_epochs": 200, "patience": 2}
    router = MatrixFactorizationRouter(**greedy).fit(data)
    assert 1 <= router.summary_["epochs"] < 30


@pytest.mark.parametrize("share", [0.2, 0.7])
def test_the_threshold_sends_the_share_of_new_prompts_to_the_large_one(
    share: float, data: RoutingData, held_out: RoutingData
) -> None:
    router = MatrixFactorizationRouter(**QUICK, large_share=share).fit(data)
    sent = (router.predict_large_needed(held_out.texts) >= router.threshold_).mean()
    assert sent == pytest.approx(share, abs=0.15)


def test_all_experts_fight_when_asked_to(data: RoutingData) -> None:
    every = MatrixFactorizationRouter(**{**QUICK, "max_epochs": 6}, battles="all").fit(data)
    assert every.contenders_ == ("small", "large", "letters", "sums")
    assert every.experts_ == ("small", "large")
    assert every.model_.experts.shape == (4, 32)
    assert every.predict_quality(["x"]).shape == (1, 2)
    delta = every.model_.scores(np.asarray(every.features_.transform(EASY)))
    assert delta[0, 3] > delta[0, 2]
    assert delta[1, 2] > delta[1, 3]


@pytest.mark.parametrize("battles", ["pair", "all"])
def test_adapting_goes_on_from_the_learned_weights(battles: str, data: RoutingData, held_out: RoutingData) -> None:
    frame = held_out.frame
    frame.loc[frame["expert"] == "small", "quality"] = 0.0
    router = MatrixFactorizationRouter(**{**QUICK, "max_epochs": 10}, battles=battles).fit(data)
    before, weights = router.predict(EASY), router.model_
    router.adapt(RoutingData(frame))
    after = router.predict(EASY)
    assert before.large_needed is not None
    assert after.large_needed is not None
    assert (after.large_needed > before.large_needed).all()
    assert (after.quality[:, 0] < before.quality[:, 0]).all()
    moved = np.abs(router.model_.project - weights.project).mean() / np.abs(weights.project).mean()
    assert 0 < moved < 0.5
    np.testing.assert_array_equal(router.model_.experts[2:], weights.experts[2:])


def test_few_prompts_are_all_learned_from(data: RoutingData) -> None:
    router = MatrixFactorizationRouter(**QUICK).fit(RoutingData(data.frame[:96]))
    assert router.summary_["epochs"] == QUICK["max_epochs"]
    assert router.summary_["held_out_loss"] is None


def test_wrong_parameters() -> None:
    for wrong in ({"dim": 0}, {"noise": -0.1}, {"folds": 1}, {"patience": 0}, {"battles": "some"}, {"adapt_rate": 0.0}):
        with pytest.raises(ParameterError, match=next(iter(wrong))):
            make_router("routellm-mf", **wrong)


def test_damaged_states_are_refused(router: MatrixFactorizationRouter) -> None:
    state = router.state()
    wrong = MatrixFactorizationRouter()
    wrong.experts_ = router.experts_
    for calibration, tensors, match in (
        ({}, state.tensors, "contenders"),
        (state.calibration, {**state.tensors, "lines": np.zeros((3, 2))}, "lines"),
        (state.calibration, {**state.tensors, "mf.out": np.zeros(5, dtype=np.float32)}, "mf.out"),
    ):
        with pytest.raises(ArtifactError, match=match):
            wrong.restore(RouterState(state.features, calibration, tensors))
