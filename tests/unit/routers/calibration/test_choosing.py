"""Which setting is chosen, and that what it promises is kept where the truth is known."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from routers import (
    DataError,
    ParameterError,
    Policy,
    Router,
    RoutingData,
    decide,
    evaluate,
    load_router,
    make_router,
    save_router,
)
from routers.calibration import calibrate, study
from routers.calibration.bounds import required_deviate
from routers.calibration.choosing import certified, labels_of, least_drop, measure, pick
from routers.calibration.claims import Claim, Labels
from routers.calibration.settings import Scored
from routers.calibration.study import study_splits
from routers.policy import choose
from routers.promises import add_promise


def scored(score: np.ndarray) -> Scored:
    n = len(score)
    return Scored("threshold", score, np.zeros((n, 2)), np.array([0.1, 1.0]), 1, np.zeros(n, dtype=bool))


def labels(small: np.ndarray, large: np.ndarray, text: np.ndarray | None = None) -> Labels:
    n = len(small)
    cost = np.tile([0.1, 1.0], (n, 1))
    return Labels(np.column_stack([small, large]), cost, np.arange(n) if text is None else text, 1, 1)


def draw(n: int, seed: int) -> tuple[Scored, Labels]:
    """Scores that are right about how likely the small expert fails; the large one always succeeds."""
    rng = np.random.default_rng(seed)
    score = rng.random(n) ** 2 * 0.4
    return scored(score), labels((rng.random(n) >= score).astype(float), np.ones(n))


def chosen_for(limit: float, known: tuple[Scored, Labels], horizon: int | None = None) -> float:
    required = required_deviate(0.95, len(known[1].quality), horizon)
    return pick("max_drop", "threshold", certified(measure("max_drop", *known), limit, required)).value


def true_drop(threshold: float) -> float:
    """Of `draw`: the mean of score where it is below the threshold; with score = 0.4 u^2."""
    u = min(1.0, (threshold / 0.4) ** 0.5)
    return 0.4 * u**3 / 3


@pytest.mark.parametrize("limit", [0.01, 0.05])
def test_promises_are_kept_in_the_long_run_where_the_truth_is_known(limit: float) -> None:
    thresholds = [chosen_for(limit, draw(400, seed), horizon=10**9) for seed in range(100)]
    kept = np.mean([true_drop(threshold) <= limit for threshold in thresholds])
    assert kept >= 0.95
    point = [within(draw(400, seed), limit) for seed in range(30)]
    assert np.mean([true_drop(threshold) <= limit for threshold in point]) < 0.8


def within(known: tuple[Scored, Labels], limit: float) -> float:
    points = [p for p in measure("max_drop", *known) if p.claim.measured <= limit]
    return pick("max_drop", "threshold", points).value


def test_promises_are_kept_on_as_many_new_prompts() -> None:
    # Of other data each time: the halves of one data set are kept or not kept together.
    rows = [study_splits(*draw(800, 1000 + seed), [0.05], n_splits=1)[0] for seed in range(60)]
    assert (rows[0].n_calibration, rows[0].n_unseen) == (400, 400)
    assert np.mean([row.kept for row in rows]) >= 0.95 > np.mean([row.kept_without for row in rows])
    kept_off, without = np.mean([(row.cost_advantage, row.cost_advantage_without) for row in rows], axis=0)
    assert 0.3 < kept_off < without


def test_stricter_promises_keep_less_off() -> None:
    known = draw(2000, 0)
    assert chosen_for(0.01, known) < chosen_for(0.02, known) < chosen_for(0.05, known)
    assert chosen_for(0.02, known, horizon=100) < chosen_for(0.02, known) < chosen_for(0.02, known, horizon=10**6)
    small = [chosen_for(0.05, draw(n, 0)) for n in (150, 20_000)]
    assert small[0] < small[1]


def test_testing_stops_at_the_first_setting_without_evidence() -> None:
    # Small fails on the safest-looking prompts only: what lies behind would do, but cannot be reached.
    score = np.linspace(0, 1, 1000)
    known = scored(score), labels((score > 0.2).astype(float), np.ones(1000))
    assert certified(measure("max_drop", *known), 0.05, 1.645)[-1].cost_advantage < 0.06


def test_a_better_small_expert_takes_everything() -> None:
    score = np.random.default_rng(0).random(500)
    known = scored(score), labels(np.ones(500), np.r_[np.zeros(100), np.ones(400)])
    points = certified(measure("max_drop", *known), 0.03, 2.3)
    assert points[-1].claim.measured == pytest.approx(-0.25)
    assert points[-1].cost_advantage == pytest.approx(1.0)


def test_tied_scores_move_together() -> None:
    score = np.repeat([0.2, 0.6], 300)
    known = scored(score), labels((score < 0.5).astype(float), np.ones(600))
    assert {p.cost_advantage for p in measure("max_drop", *known)} == {0.0, 0.5, 1.0}
    kept = certified(measure("max_drop", *known), 0.02, 1.645)
    assert pick("max_drop", "threshold", kept).cost_advantage == 0.5


def test_equal_texts_are_one_piece_of_evidence() -> None:
    loss = np.zeros(600)
    alone = Claim(loss, np.ones(600), 1.0, np.arange(600))
    twice = Claim(loss, np.ones(600), 1.0, np.arange(600) // 2)
    half = Claim(loss[:300], np.ones(300), 1.0, np.arange(300))
    assert twice.evidence(0.02) == pytest.approx(half.evidence(0.02))
    assert twice.evidence(0.02) < alone.evidence(0.02)


def test_share_and_cost_by_hand() -> None:
    known = labels(np.zeros(4), np.ones(4))
    share = Claim.of("max_large", known, np.array([0, 0, 0, 1]))
    assert share.measured == 0.25
    cost = Claim.of("max_cost", known, np.array([0, 0, 0, 1]))
    assert (cost.measured, cost.most) == (pytest.approx(325), 1000)
    drop = Claim.of("max_drop", known, np.array([0, 1, 1, 1]))
    assert drop.measured == 0.25
    assert drop.bound(1.645) > 0.25


def test_least_drop_is_the_rule_of_three() -> None:
    known = labels(np.ones(299), np.ones(299))
    assert least_drop(known, 1.6449) == pytest.approx(0.01, rel=0.02)


@pytest.fixture(scope="module")
def router(data: RoutingData) -> Router:
    return make_router("hybrid-prob").fit(data)


@pytest.fixture(scope="module")
def many(data: RoutingData) -> Router:
    return make_router("poly-knn", k=20).fit(data)


def test_choices_are_those_of_the_policy(
    router: Router, many: Router, data: RoutingData, held_out: RoutingData
) -> None:
    cluster = make_router("cluster", fallback="large", n_clusters=2, quantile=0.8).fit(data)
    for trained in (router, many, cluster):
        prediction = trained.predict(held_out.texts)
        known = Scored.by(trained, prediction)
        for value in known.grid()[::20].tolist():
            policy = Policy.parse({known.name: value})
            expected = [choose(trained, prediction, row, policy).expert for row in range(len(held_out.texts))]
            assert [trained.experts_[i] for i in known.choices(value)] == expected


def test_promise_agrees_with_evaluate(router: Router, held_out: RoutingData) -> None:
    promise = calibrate(router, held_out, "max_drop", 0.05)
    outcome = evaluate(router, held_out, Policy(threshold=promise.value))
    assert promise.measured == pytest.approx(outcome.quality_drop)
    assert promise.cost_advantage == pytest.approx(outcome.cost_advantage) != 0
    assert promise.measured < promise.bound <= 0.05 + 1e-9
    assert promise.without_margin >= promise.cost_advantage
    assert (promise.n_prompts, promise.horizon, promise.reference) == (200, 200, "large")


def test_many_experts_get_a_trade_off(many: Router, held_out: RoutingData) -> None:
    promise = calibrate(many, held_out, "max_drop", 0.2)
    assert promise.setting == "quality_cost"
    best = evaluate(many, held_out, reference=promise.reference)
    traded = evaluate(many, held_out, Policy(quality_cost=promise.value), reference=promise.reference)
    assert traded.cost < best.cost
    assert traded.quality_drop == pytest.approx(promise.measured)
    dear = calibrate(many, held_out, "max_large", 0.3)
    assert dear.measured < dear.bound <= 0.3 + 1e-9


def test_share_and_cost_promises(router: Router, held_out: RoutingData) -> None:
    share = calibrate(router, held_out, "max_large", 0.4)
    assert 0.2 < share.measured < share.bound <= 0.4 + 1e-9
    cost = calibrate(router, held_out, "max_cost", 500)
    assert 300 < cost.measured < cost.bound <= 500 + 1e-6
    assert cost.measured == pytest.approx(1000 * cost.cost)


def test_what_cannot_be_promised_is_refused(router: Router, held_out: RoutingData) -> None:
    with pytest.raises(ParameterError, match=r"200 prompts, which promise .* at best: calibrate on more \(about"):
        calibrate(router, held_out, "max_drop", 0.001)
    with pytest.raises(ParameterError, match="no number of prompts"):
        calibrate(router, held_out, "max_drop", 0.0)
    assert calibrate(router, held_out, "max_drop", 0.001, even_if_useless=True).cost_advantage == 0
    with pytest.raises(ParameterError, match="even the most sparing"):
        calibrate(router, held_out, "max_cost", 50)
    for limit in (-0.1, 1.5):
        with pytest.raises(ParameterError, match="from 0"):
            calibrate(router, held_out, "max_large", limit)


def test_a_router_that_knows_nothing_is_refused(data: RoutingData) -> None:
    frame = data.frame.query("expert in ['small', 'large']")
    frame["quality"] = (frame["expert"] == "large").astype(float)
    useless = RoutingData(
        pd.concat([frame.assign(prompt_id=frame["prompt_id"] + x, prompt=frame["prompt"] + x) for x in "abcd"])
    )
    router = make_router("random").fit(useless)
    with pytest.raises(ParameterError, match="nothing can be kept off 'large'"):
        calibrate(router, useless, "max_drop", 0.01)


def test_missing_answers(router: Router, held_out: RoutingData) -> None:
    frame = held_out.frame
    gap = RoutingData(frame[(frame["expert"] != "large") | (frame["prompt_id"] != "p5")])
    with pytest.raises(DataError, match="no answer of expert 'large'"):
        calibrate(router, gap, "max_drop", 0.05)
    assert labels_of(router, held_out).quality.shape == (200, 2)


def test_promised_drop_is_a_policy_of_the_saved_router(
    router: Router, many: Router, held_out: RoutingData, tmp_path: Path
) -> None:
    for number, (trained, limit) in enumerate(((router, 0.05), (many, 0.2))):
        promise = calibrate(trained, held_out, "max_drop", limit)
        add_promise(trained, promise)
        save_router(trained, tmp_path / str(number))
        loaded = load_router(tmp_path / str(number))
        for text in held_out.texts[:40]:
            kept = decide(loaded, text, Policy(max_quality_drop=limit))
            assert kept.expert == decide(trained, text, Policy.parse({promise.setting: promise.value})).expert


def test_study_trains_and_splits(data: RoutingData) -> None:
    told: list[str] = []
    pair = data.select(["small", "large"])
    options = {"n_folds": 2, "n_splits": 3}
    rows = study(
        lambda: make_router("hybrid-prob", folds=2),
        pair,
        [0.05, 0.3],
        **options,  # type: ignore[arg-type]
        progress=lambda doing, share: told.append(doing),
    )
    assert [row.limit for row in rows] == [0.05, 0.3]
    assert told[-1] == "splits"
    more = study(lambda: make_router("cluster", n_clusters=2), data, [0.3], **options)  # type: ignore[arg-type]
    assert 0 <= more[0].kept <= 1
    with pytest.raises(ParameterError, match="1 split or more"):
        study_splits(*draw(20, 0), [0.1], n_splits=0)
    with pytest.raises(DataError, match="two different texts"):
        study_splits(scored(np.zeros(4)), labels(np.ones(4), np.ones(4), np.zeros(4, dtype=int)), [0.1])
