from dataclasses import asdict

import numpy as np
import orjson
import pytest

from routers import RoutingData, make_router
from routers.evaluation import Exam, Judgement, Predictions, by_fold, judge, predict, predict_unseen
from routers.evaluation.paths import ranks_within

from .labels import labelled

TWO = {"small": [1.0, 0.0, 1.0, 0.0], "large": [1.0, 1.0, 0.0, 1.0]}
COSTS = {"small": 1.0, "large": 3.0}


def scored(score: list[float], threshold: float = 0.5) -> Predictions:
    values = np.array(score)
    quality = np.tile([0.5, 0.75], (len(values), 1))
    return Predictions(quality, (values >= threshold).astype(np.int64), np.array([1.0, 3.0]), score=values, pair=(0, 1))


def test_everything_of_one_small_case() -> None:
    exam = Exam.of(labelled(TWO, COSTS))
    found = judge(exam, {"bent": scored([0.1, 0.9, 0.8, 0.3])}, n_resamples=20)
    bent = found.routers["bent"]
    assert bent["apgr"] == pytest.approx(0.61)
    assert bent["apgr_exact"] == pytest.approx(0.625)
    assert [bent[name] for name in ("cpt50", "cpt80", "cpt95")] == pytest.approx([0.125, 0.2, 0.2375])
    assert bent["quality_drop"] == pytest.approx({"10": 0.0, "20": 0.0, "40": 0.2})
    # Hull (1, .5), (1.5, .75): half a unit of cost at a mean height of .625, the rest at .75.
    assert bent["aiq"] == pytest.approx((0.5 * 0.625 + 1.5 * 0.75) / 2)
    assert bent["cost_to_match_best"] == pytest.approx(0.5)
    own = {"quality": 0.5, "cost": 2.0, "quality_drop": 1 / 3, "cost_advantage": 0.5}
    assert bent["own_choice"] == pytest.approx(own)
    assert bent["ece_quality"] == pytest.approx(0.0)
    assert bent["curve"]["x"] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert found.baselines["expert:large"]["own_choice"]["quality"] == 0.75
    assert found.baselines["expert:large"]["apgr"] is None
    assert found.baselines["zero-router"]["apgr"] == pytest.approx(0.5)
    assert (found.small, found.large, found.best, found.axis) == ("small", "large", "large", "share")
    assert found.experts == {"small": {"quality": 0.5, "cost": 1.0}, "large": {"quality": 0.75, "cost": 3.0}}


def test_of_more_than_two_experts() -> None:
    quality = {"cheap": [0.0, 0.0, 1.0, 0.0], "middle": [1.0, 0.0, 0.0, 0.0], "large": [1.0, 1.0, 1.0, 0.0]}
    exam = Exam.of(labelled(quality, {"cheap": 1.0, "middle": 2.0, "large": 4.0}))
    said = np.array([[0.25, 0.75, 0.5], [0.25, 0.25, 1.0], [1.0, 0.0, 0.0], [0.5, 0.5, 0.5]])
    predicted = Predictions(said, np.array([1, 2, 0, 0]), np.array([1.0, 2.0, 4.0]))
    found = judge(exam, {"r": predicted}, n_resamples=20)
    router = found.routers["r"]
    assert router["cpt50"] == pytest.approx(1 / 12)
    assert router["cpt80"] == pytest.approx(1 / 12 + 0.25 * 0.6)
    assert router["cost_to_match_best"] == pytest.approx(0.5)
    assert router["aiq"] == pytest.approx((0.25 * 0.375 + 0.75 * 0.625 + 2 * 0.75) / 3)
    assert router["quality_drop"]["40"] == pytest.approx(0.0)
    assert router["own_choice"]["quality"] == 0.75
    assert router["own_choice"]["cost"] == 2.0
    assert (found.small, found.large, found.axis) == ("cheap", "large", "cost")
    assert found.baselines["zero-router"]["apgr"] == pytest.approx(0.5)


@pytest.mark.parametrize("large", [[0.5, 0.5, 1.0, 0.0], [0.0, 1.0, 0.0, 0.0]])
def test_equal_and_inverted_pairs_have_no_gap_but_a_drop(large: list[float]) -> None:
    exam = Exam.of(labelled({"small": [1.0, 0.0, 1.0, 0.0], "large": large}, COSTS))
    found = judge(exam, {"r": scored([0.1, 0.9, 0.8, 0.3])}, n_resamples=20)
    router = found.routers["r"]
    assert {router[name] for name in ("apgr", "apgr_exact", "cpt50", "cpt80", "cpt95")} == {None}
    assert router["ci95"]["apgr"] is None
    assert router["aiq"] is not None
    assert router["cost_to_match_best"] == pytest.approx(1 / 1)
    assert router["quality_drop"]["40"] <= 0
    assert {one.metric for one in found.paired} == {"aiq", "quality"}


def clear(n: int, seed: int = 0) -> tuple[Exam, np.ndarray]:
    """Prompts of which the large expert knows all but a tenth, the small one half."""
    rng = np.random.default_rng(seed)
    small, large = (rng.random(n) < 0.5).astype(float), (rng.random(n) < 0.9).astype(float)
    return Exam.of(labelled({"small": small.tolist(), "large": large.tolist()}, COSTS)), large - small


@pytest.fixture(scope="module")
def compared() -> Judgement:
    exam, gain = clear(600)
    rng = np.random.default_rng(1)
    noisy = 0.5 + 0.2 * gain + 0.2 * rng.standard_normal(600)
    coin = rng.random(600)
    routers = {"good": scored(noisy.clip(0, 1)), "same": scored(noisy.clip(0, 1)), "coin": scored(coin)}
    return judge(exam, routers, n_resamples=400, seed=2)


def test_intervals_surround_the_figures(compared: Judgement) -> None:
    for of in (*compared.routers.values(), *compared.baselines.values()):
        for name in ("apgr", "aiq", "cpt50"):
            if of[name] is not None:
                low, high = of["ci95"][name]
                assert low - 1e-9 <= of[name] <= high + 1e-9
    low, high = compared.routers["coin"]["ci95"]["apgr"]
    assert low < 0.5 < high
    assert compared.baselines["random"]["ci95"]["apgr"] == pytest.approx([0.5, 0.5])


def test_interval_of_a_mean_is_the_normal_one(compared: Judgement) -> None:
    of = compared.baselines["expert:small"]
    quality, (low, high) = of["own_choice"]["quality"], of["ci95"]["own_choice"]["quality"]
    spread = 1.96 * np.sqrt(quality * (1 - quality) / 600)
    assert (low, high) == (pytest.approx(quality - spread, abs=0.01), pytest.approx(quality + spread, abs=0.01))


def test_differences_are_paired(compared: Judgement) -> None:
    found = {(one.first, one.second, one.metric): one for one in compared.paired}
    same = found["good", "same", "apgr"]
    assert (same.difference, same.ci95, same.p) == (0.0, (0.0, 0.0), 1.0)
    better = found["good", "coin", "apgr"]
    assert better.difference == pytest.approx(compared.routers["good"]["apgr"] - compared.routers["coin"]["apgr"])
    assert better.p == pytest.approx(2 / 401)
    assert better.ci95 is not None
    assert better.ci95[0] > 0
    chance = found["coin", "random", "apgr"]
    assert chance.p is not None
    assert chance.p > 0.05
    assert found["coin", "expert:large", "quality"].difference < 0


def test_a_chance_difference_is_seldom_significant() -> None:
    rejected = 0
    for seed in range(20):
        exam, _ = clear(150, seed)
        coin = np.random.default_rng(1000 + seed).random(150)
        found = judge(exam, {"coin": scored(coin)}, n_resamples=100, seed=seed)
        p = next(one.p for one in found.paired if (one.second, one.metric) == ("random", "apgr"))
        assert p is not None
        rejected += p < 0.05
    assert rejected <= 4


def test_a_router_named_like_a_baseline_stays_apart() -> None:
    exam = Exam.of(labelled(TWO, COSTS))
    found = judge(exam, {"random": scored([0.1, 0.9, 0.8, 0.3])}, n_resamples=20)
    assert found.routers["random"]["apgr"] == pytest.approx(0.61)
    assert found.baselines["random"]["apgr"] == pytest.approx(0.5)
    assert "random" not in {one.second for one in found.paired}


def test_seed_repeats_everything_and_progress_rises() -> None:
    exam, gain = clear(100)
    said: list[float] = []
    first, second = (
        judge(exam, {"r": scored(gain)}, n_resamples=50, seed=3, progress=lambda doing, share: said.append(share))
        for _ in range(2)
    )
    assert asdict(first) == asdict(second)
    half = said[: len(said) // 2]
    assert half == sorted(half)
    assert half[-1] == pytest.approx(1.0)
    assert orjson.loads(orjson.dumps(asdict(first)))["n_prompts"] == 100


def test_scales_of_folds_do_not_matter() -> None:
    exam, gain = clear(400)
    part = np.arange(400) % 4
    rng = np.random.default_rng(0)
    score = (gain + 2 + 0.3 * rng.standard_normal(400)) / 20
    shifted = Predictions(
        **{**asdict_shallow(scored(score)), "score": score * (1 + part / 4) + 0.2 * part, "part": part.astype(np.int64)}
    )
    pooled = Predictions(**{**asdict_shallow(shifted), "part": None})
    found = judge(exam, {"one": scored(score), "parts": shifted, "pooled": pooled}, n_resamples=2)
    assert found.routers["parts"]["apgr"] == pytest.approx(found.routers["one"]["apgr"], abs=0.02)
    assert found.routers["pooled"]["apgr"] < found.routers["one"]["apgr"] - 0.1


def asdict_shallow(predicted: Predictions) -> dict[str, object]:
    return {name: getattr(predicted, name) for name in predicted.__dataclass_fields__}


def test_ranks_are_shares_of_the_part() -> None:
    score, part = np.array([5.0, 1.0, 5.0, 0.2, 0.1]), np.array([0, 0, 0, 1, 1])
    assert ranks_within(score, part) == pytest.approx([4 / 6, 1 / 6, 4 / 6, 0.75, 0.25])


@pytest.mark.parametrize("name", ["poly-knn", "cluster"])
def test_a_router_that_learns_beats_the_coin_on_prompts_it_has_not_seen(name: str, data: RoutingData) -> None:
    pool = data.select(["small", "large"]) if name == "poly-knn" else data
    predicted = predict_unseen(lambda: make_router(name), pool, by_fold(pool, 3))
    found = judge(Exam.of(pool), {name: predicted}, n_resamples=100)
    better = {(one.second, one.metric): one for one in found.paired}["random", "apgr"]
    assert better.p is not None
    assert better.p < 0.05
    assert better.difference > 0.1


def test_a_trained_router(data: RoutingData, held_out: RoutingData) -> None:
    router = make_router("cluster", fallback="large").fit(data)
    found = judge(Exam.of(held_out), {"cluster": predict(router, held_out)}, n_resamples=50)
    own = found.routers["cluster"]["own_choice"]
    quality, chosen = held_out.quality(), router.predict(held_out.texts).choice
    assert chosen is not None
    columns = [held_out.experts.index(router.experts_[place]) for place in chosen]
    assert own["quality"] == pytest.approx(quality[np.arange(len(columns)), columns].mean(), abs=0.02)
    assert found.routers["cluster"]["train_s"] is None
