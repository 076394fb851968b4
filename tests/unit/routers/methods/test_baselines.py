from pathlib import Path

import numpy as np
import pytest

from routers import (
    ArtifactError,
    ParameterError,
    Policy,
    RoutingData,
    decide,
    evaluate,
    load_router,
    save_router,
)
from routers.base import RouterState
from routers.calibration import calibrate
from routers.methods.baselines import ConstantRouter, LengthRouter, RandomRouter

MANY = [f"prompt number {i}" for i in range(4000)]


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_random_sends_the_share_to_the_large_one(share: float, data: RoutingData) -> None:
    router = RandomRouter(large_share=share).fit(data)
    score = router.predict_large_needed(MANY)
    assert (score >= router.threshold_).mean() == pytest.approx(share, abs=0.025)
    assert (decide(router, "x").expert == "large") == (score_of(router, "x") >= router.threshold_)


def score_of(router: RandomRouter | LengthRouter, text: str) -> float:
    return float(router.predict_large_needed([text])[0])


def test_random_scores_are_uniform_whatever_the_prompt(data: RoutingData) -> None:
    score = RandomRouter().fit(data).predict_large_needed(MANY)
    counts = np.histogram(score, bins=10, range=(0, 1))[0]
    # Ten cells of 400 each: chi-squared with 9 degrees of freedom is below 27.9 in 999 of 1,000 cases.
    assert (((counts - 400) ** 2) / 400).sum() < 27.9
    assert score.max() < 1.0
    assert abs(np.corrcoef(score, np.arange(len(MANY)))[0, 1]) < 0.05


def test_random_depends_on_text_and_seed_alone(data: RoutingData) -> None:
    first, again, other = (RandomRouter(seed=seed).fit(data) for seed in (1, 1, 2))
    assert score_of(first, "What is 1 + 2 ?") == score_of(again, "What is 1 + 2 ?")
    assert score_of(first, "What is 1 + 2 ?") != score_of(other, "What is 1 + 2 ?")
    assert score_of(first, "What is 1 + 2 ?") != score_of(first, "What is 1 + 3 ?")
    few = RandomRouter(seed=1).fit(RoutingData(data.frame[:64]))
    assert score_of(few, "What is 1 + 2 ?") == score_of(first, "What is 1 + 2 ?")


def test_a_sweep_over_random_scores_is_the_line_between_the_single_models(data: RoutingData) -> None:
    router = RandomRouter().fit(data)
    quality = data.select(router.experts_).quality().mean(axis=0)
    for threshold in np.linspace(0, 1, 21):
        point = evaluate(router, data, Policy(threshold=float(threshold)))
        line = point.cost_advantage * quality[0] + (1 - point.cost_advantage) * quality[1]
        assert point.quality == pytest.approx(line, abs=0.08)
        assert point.cost_advantage == pytest.approx(threshold, abs=0.1)


def test_random_and_constant_predict_each_experts_mean(data: RoutingData) -> None:
    for router in (RandomRouter().fit(data), ConstantRouter().fit(data)):
        means = data.select(router.experts_).quality().mean(axis=0)
        np.testing.assert_allclose(router.predict_quality(["x", ""]), [means, means], rtol=1e-6)
        assert router.summary_["mean_quality"] == pytest.approx(dict(zip(router.experts_, means, strict=True)))
        assert "means" in router.summary_["chooses"]
    confidence = RandomRouter().fit(data).predict(["x"]).confidence
    assert confidence is not None
    assert confidence[0] == 0.0


def test_constant_is_the_best_on_average_or_the_one_named(data: RoutingData) -> None:
    assert evaluate(ConstantRouter().fit(data), data).shares["large"] == 1.0
    named = ConstantRouter(expert="sums").fit(data)
    assert evaluate(named, data).shares["sums"] == 1.0
    assert named.fallback_ == "sums"
    equal = RoutingData(data.frame.assign(quality=0.5))
    assert ConstantRouter().fit(equal).fallback_ == "small"
    with pytest.raises(ParameterError, match="expert='huge' is not an expert of the data"):
        ConstantRouter(expert="huge").fit(data)


def test_constant_trades_mean_quality_for_cost_when_asked_to(data: RoutingData) -> None:
    router = ConstantRouter().fit(data)
    assert decide(router, "x", Policy(quality_cost=0.0)).expert == "large"
    assert decide(router, "x", Policy(quality_cost=1.0)).expert == "small"


def test_adapted_means_are_over_old_and_new_prompts(data: RoutingData, held_out: RoutingData) -> None:
    old, new = data.quality(), held_out.quality()
    router = ConstantRouter().fit(data).adapt(held_out)
    np.testing.assert_allclose(router.quality_, np.concatenate([old, new]).mean(axis=0), rtol=1e-5)
    assert router.count_ == len(old) + len(new)
    worse = held_out.frame
    worse["quality"] = (worse["expert"] == "sums").astype(float)
    assert ConstantRouter().fit(RoutingData(data.frame[:80])).adapt(RoutingData(worse)).fallback_ == "sums"


def test_longer_goes_to_the_large_one(data: RoutingData) -> None:
    router = LengthRouter().fit(data)
    near = router.predict_large_needed(["x" * n for n in range(15, 91)])
    assert (np.diff(near) > 0).all()
    every = router.predict_large_needed(["x" * n for n in (0, 1, 2, 5, *range(10, 3000), 20_000, 300_000)])
    assert (np.diff(every) >= 0).all()
    assert score_of(router, "abc de") == score_of(router, "数学 🎲x!")


def test_a_sweep_over_length_is_the_rule_itself(data: RoutingData) -> None:
    router = LengthRouter().fit(data)
    chosen = data.select(router.experts_)
    quality, lengths = chosen.quality(), np.array([len(text) for text in chosen.texts])
    rule = {
        round(float((lengths < cut).mean()), 9): float(np.where(lengths >= cut, quality[:, 1], quality[:, 0]).mean())
        for cut in range(lengths.min(), lengths.max() + 2)
    }
    score = router.predict_large_needed(data.texts)
    points = [evaluate(router, data, Policy(threshold=float(t))) for t in [0.0, *np.unique(score), 1.0]]
    assert {round(point.cost_advantage, 9): pytest.approx(point.quality) for point in points} == rule


def test_the_length_score_says_how_likely_the_large_one_is_needed(data: RoutingData, held_out: RoutingData) -> None:
    router = LengthRouter().fit(data)
    needed = 1 - (held_out.samples("small") >= held_out.samples("large")).mean(axis=1)
    score = router.predict_large_needed(held_out.texts)
    assert score.mean() == pytest.approx(needed.mean(), abs=0.05)
    for part in (score < 0.5, score >= 0.5):
        assert score[part].mean() == pytest.approx(needed[part].mean(), abs=0.15)
    assert calibrate(router, held_out, "max_drop", 0.1).cost_advantage > 0.3


def test_longer_goes_to_the_large_one_also_where_that_is_wrong(data: RoutingData) -> None:
    frame = data.frame
    longest = frame["prompt"].str.len() > frame["prompt"].str.len().median()
    frame["quality"] = np.where((frame["expert"] == "small") & ~longest, 0.0, 1.0)
    router = LengthRouter().fit(RoutingData(frame))
    assert router.summary_["best_slope"] < 0 < router.summary_["slope"] == pytest.approx(0.1)
    assert score_of(router, "x" * 100) > score_of(router, "x" * 10)
    quality = router.predict_quality(["x" * 10, "x" * 100])
    assert quality[0, 0] < 0.5 < quality[1, 0]


def test_length_adapts_to_a_small_target_set(data: RoutingData) -> None:
    frame = data.frame
    frame.loc[frame["expert"] == "small", "quality"] = 0.0
    router = LengthRouter().fit(data)
    before = router.predict(["x" * 20])
    after = router.adapt(RoutingData(frame)).predict(["x" * 20])
    assert before.large_needed is not None
    assert after.large_needed is not None
    assert before.large_needed[0] < 0.5 < after.large_needed[0]
    assert after.quality[0, 0] < before.quality[0, 0]


def test_damaged_artifacts_are_refused(data: RoutingData, tmp_path: Path) -> None:
    router = LengthRouter().fit(data)
    save_router(router, tmp_path / "router")
    assert score_of(load_router(tmp_path / "router"), "abc") == score_of(router, "abc")
    tensors = router.state().tensors
    falling = {**tensors, "lines": -tensors["lines"]}
    with pytest.raises(ArtifactError, match="no positive scale"):
        LengthRouter().restore(RouterState({}, {}, falling))
    constant = ConstantRouter().fit(data)
    beyond = {"quality": constant.quality_ + 1}
    with pytest.raises(ArtifactError, match="out of range"):
        constant.restore(RouterState({}, {"count": 3}, beyond))
