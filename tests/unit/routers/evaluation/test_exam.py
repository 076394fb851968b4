import numpy as np
import pytest

from routers import DataError, ParameterError
from routers.evaluation import Exam, Predictions, two_experts
from routers.evaluation.exam import baselines, of_router
from routers.evaluation.metrics import apgr_exact

from .labels import labelled, once

TWO = {"small": [1.0, 0.0, 1.0, 0.0], "large": [1.0, 1.0, 0.0, 1.0]}
COSTS = {"small": 1.0, "large": 3.0}


def baseline(exam: Exam, name: str):
    return next(one for one in baselines(exam) if one.name == name)


def apgr(exam: Exam, name: str) -> float:
    return float(apgr_exact(baseline(exam, name).curves(once(len(exam.quality))))[0])


def test_small_is_the_cheapest_and_large_of_two_the_other() -> None:
    assert two_experts(labelled(TWO, COSTS)) == ("small", "large")
    assert two_experts(labelled(TWO, {"small": 3.0, "large": 1.0})) == ("large", "small")
    assert two_experts(labelled(TWO, {"small": 1.0, "large": 1.0})) == ("small", "large")


def test_large_of_more_is_the_best_single_expert() -> None:
    quality = {"a": [0.0, 0.0, 0.0], "b": [1.0, 1.0, 0.0], "c": [1.0, 0.0, 0.0], "d": [1.0, 1.0, 0.0]}
    data = labelled(quality, {"a": 1.0, "b": 4.0, "c": 9.0, "d": 2.0})
    assert two_experts(data) == ("a", "d")
    assert two_experts(data, large="c") == ("a", "c")
    assert two_experts(data, small="d") == ("d", "b")
    cheapest_is_best = labelled(quality, {"a": 2.0, "b": 1.0, "c": 9.0, "d": 3.0})
    assert two_experts(cheapest_is_best) == ("b", "d")


def test_what_no_exam_can_be_held_on() -> None:
    data = labelled(TWO, COSTS)
    with pytest.raises(ParameterError, match="large expert 'huge' is not in the data"):
        two_experts(data, large="huge")
    with pytest.raises(ParameterError, match="both 'small'"):
        two_experts(data, "small", "small")
    with pytest.raises(DataError, match="at least two"):
        two_experts(data.select(["small"]))
    frame = data.frame.iloc[:-1]
    with pytest.raises(DataError, match="no answer of expert"):
        Exam.of(type(data)(frame))


def test_baselines_of_two_experts() -> None:
    data = labelled(TWO, COSTS, texts=["a", "bbbb", "ccc", "dd"], domain=["x", "y", "x", "y"])
    exam = Exam.of(data)
    names = [one.name for one in baselines(exam)]
    assert names == [
        "expert:small", "expert:large", "random", "length", "zero-router", "domain-oracle", "prompt-oracle",
    ]  # fmt: skip
    assert apgr(exam, "random") == pytest.approx(0.5)
    assert apgr(exam, "zero-router") == pytest.approx(0.5)
    assert apgr(exam, "length") == pytest.approx(0.625)
    # Domain y, whose two prompts gain 1 each, goes first and together: PGR 0, 1, 2 / x loses 1: 2, 1.5, 1.
    assert apgr(exam, "domain-oracle") == pytest.approx((1.0 + 1.5) / 2)
    # The two that gain, then the one where nothing changes, then the one that loses.
    assert apgr(exam, "prompt-oracle") == pytest.approx((0.5 + 1.5 + 2 + 1.5) / 4)
    assert baseline(exam, "domain-oracle").choice.large.tolist() == [0, 1, 0, 1]
    assert baseline(exam, "prompt-oracle").choice.large.tolist() == [0, 1, 0, 1]


def test_no_domains_no_domain_oracle() -> None:
    for exam in (Exam.of(labelled(TWO, COSTS)), Exam.of(labelled(TWO, COSTS, domain=["x"] * 4))):
        assert "domain-oracle" not in [one.name for one in baselines(exam)]


def test_zero_router_of_an_inverted_pair_never_pays_for_less() -> None:
    exam = Exam.of(labelled({"small": [1.0, 1.0], "large": [1.0, 0.0]}, COSTS))
    curves = baseline(exam, "zero-router").curves(once(2))
    assert curves.quality.max() == curves.quality.min() == 1.0
    assert (exam.small, exam.large, exam.best) == (0, 1, 0)


def predictions(quality: list[list[float]], **more) -> Predictions:
    matrix = np.array(quality)
    return Predictions(matrix, matrix.argmax(axis=1), np.array(more.pop("cost", [1.0, 3.0])), **more)


def test_two_models_are_swept_by_the_score_and_others_by_the_difference_of_qualities() -> None:
    exam = Exam.of(labelled(TWO, COSTS))
    flat = [[0.5, 0.5]] * 4
    scored = predictions(flat, score=np.array([0.1, 0.9, 0.8, 0.3]), pair=(0, 1))
    turned = predictions(flat, score=np.array([0.9, 0.1, 0.2, 0.7]), pair=(1, 0))
    by_quality = predictions([[0.9, 0.0], [0.0, 0.9], [0.1, 0.9], [0.5, 0.8]])
    for predicted in (scored, turned, by_quality):
        curves = of_router("r", exam, predicted).curves(once(4))
        assert curves.x == pytest.approx(np.array([[0, 0.25, 0.5, 0.75, 1.0]]))
        assert curves.quality == pytest.approx(np.array([[0.5, 0.75, 0.5, 0.75, 0.75]]))
        assert curves.cost == pytest.approx(1 + 2 * curves.x)


def test_the_score_is_calibrated_where_it_is_the_share_that_needs_the_large_expert() -> None:
    exam = Exam.of(labelled(TWO, COSTS))
    half = predictions([[0.5, 0.75]] * 4, score=np.full(4, 0.5), pair=(0, 1))
    entrant = of_router("r", exam, half)
    assert entrant.errors["ece_score"](once(4)) == pytest.approx([0.0])
    assert entrant.errors["ece_quality"](once(4)) == pytest.approx([0.0])
    sure = predictions([[0.5, 0.75]] * 4, score=np.ones(4), pair=(0, 1))
    assert of_router("r", exam, sure).errors["ece_score"](once(4)) == pytest.approx([0.5])


THREE = {"cheap": [0.0, 0.0, 1.0, 0.0], "middle": [1.0, 0.0, 0.0, 0.0], "large": [1.0, 1.0, 1.0, 0.0]}
THREE_COSTS = {"cheap": 1.0, "middle": 2.0, "large": 4.0}


def test_more_experts_are_measured_over_cost() -> None:
    exam = Exam.of(labelled(THREE, THREE_COSTS))
    quality = [[0.25, 0.75, 0.5], [0.25, 0.25, 1.0], [1.0, 0.0, 0.0], [0.5, 0.5, 0.5]]
    curves = of_router("r", exam, predictions(quality, cost=[1.0, 2.0, 4.0])).curves(once(4))
    assert curves.cost == pytest.approx(np.array([[1.0, 1.0, 1.25, 2.0]]))
    assert curves.quality == pytest.approx(np.array([[0.25, 0.25, 0.5, 0.75]]))
    assert curves.x == pytest.approx((curves.cost - 1) / 3)
    assert apgr_exact(curves) == pytest.approx([0.25 / 12 + 0.75 / 4 + 2 / 3])


def test_a_pair_among_more_experts_begins_with_the_cheapest() -> None:
    exam = Exam.of(labelled(THREE, THREE_COSTS))
    pair = predictions(
        [[np.nan, 0.5, 0.5]] * 4, cost=[np.nan, 2.0, 4.0], score=np.array([0.1, 0.9, 0.5, 0.2]), pair=(1, 2)
    )
    entrant = of_router("r", exam, pair)
    curves = entrant.curves(once(4))
    assert curves.cost == pytest.approx(np.array([[1.0, 2.0, 2.5, 3.0, 3.5, 4.0]]))
    assert curves.quality == pytest.approx(np.array([[0.25, 0.25, 0.5, 0.75, 0.75, 0.75]]))


def test_equal_costs_give_no_scale() -> None:
    exam = Exam.of(labelled(THREE, dict.fromkeys(THREE, 1.0)))
    curves = baseline(exam, "prompt-oracle").curves(once(4))
    assert np.isnan(apgr_exact(curves)).all()
    assert curves.quality[0, -1] == 0.75
