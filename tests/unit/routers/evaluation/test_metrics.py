"""Each metric on curves small enough for paper and pencil."""

import numpy as np
import pytest

from routers.evaluation.metrics import (
    Curves,
    apgr_exact,
    apgr_steps,
    average_quality,
    calibration_error,
    call_share_for,
    cost_to_match,
    quality_drop_at,
    upper_hull,
)


def curve(
    quality: list[float], x: list[float] | None = None, small: float | None = None, large: float | None = None
) -> Curves:
    """One curve; the small expert costs 1, the large one 3."""
    at = np.linspace(0, 1, len(quality)) if x is None else np.array(x)
    ends = (quality[0] if small is None else small, quality[-1] if large is None else large)
    return Curves(at[None], np.array([quality]), (1 + 2 * at)[None], *(np.array([end]) for end in ends))


# Four prompts: small right on the first and third, large on all but the third, and the third sent second.
BENT = curve([0.5, 0.75, 0.5, 0.75, 0.75])


def test_apgr_of_a_straight_line_is_a_half() -> None:
    line = curve([0.5, 0.75])
    assert apgr_exact(line) == pytest.approx([0.5])
    assert apgr_steps(line) == pytest.approx([0.5])


def test_apgr_of_a_curve_that_falls_again() -> None:
    # PGR is 0, 1, 0, 1, 1 at quarters; at tenths 0 .4 .8 .8 .4 0 .4 .8 1 1 1.
    assert apgr_exact(BENT) == pytest.approx([(0.5 + 0.5 + 0.5 + 1) / 4])
    assert apgr_steps(BENT) == pytest.approx([(6.6 - 0.5) / 10])


def test_apgr_beyond_both_experts() -> None:
    above = curve([0.5, 1.0, 0.75])
    assert apgr_exact(above) == pytest.approx([(1.0 + 1.5) / 2])
    below = curve([0.5, 0.25, 0.75])
    assert apgr_exact(below) == pytest.approx([(-0.5 + 0.0) / 2])


def test_curves_that_end_early_late_or_begin_late() -> None:
    early = curve([0.5, 1.0], x=[0.0, 0.5], large=1.0)
    assert apgr_exact(early) == pytest.approx([0.25 + 0.5])
    assert apgr_steps(early) == pytest.approx([0.75])
    late = curve([0.5, 1.5], x=[0.0, 2.0], large=1.0)
    assert apgr_exact(late) == pytest.approx([0.5])
    begins = curve([0.5, 1.0], x=[0.5, 1.0], small=0.0, large=1.0)
    assert apgr_exact(begins) == pytest.approx([0.25 + 0.375])


def test_call_share_is_where_the_target_is_reached_first() -> None:
    assert call_share_for(BENT, 0.5) == pytest.approx([0.125])
    assert call_share_for(BENT, 0.8) == pytest.approx([0.2])
    assert call_share_for(BENT, 0.95) == pytest.approx([0.2375])
    assert call_share_for(curve([0.5, 0.75]), 0.8) == pytest.approx([0.8])


def test_call_share_of_a_target_that_is_never_reached() -> None:
    flat = curve([0.5, 0.7], x=[0.0, 0.5], large=1.0)
    assert np.isnan(call_share_for(flat, 0.5)).all()
    assert call_share_for(flat, 0.4) == pytest.approx([0.5])


@pytest.mark.parametrize(("small", "large"), [(0.6, 0.6), (0.8, 0.6)])
def test_without_a_gap_there_is_nothing_to_recover(small: float, large: float) -> None:
    none = curve([small, 0.9, large])
    for value in (apgr_exact(none), apgr_steps(none), call_share_for(none, 0.5)):
        assert np.isnan(value).all()


def test_quality_drop() -> None:
    assert quality_drop_at(BENT, 0.1) == pytest.approx([0.0])
    assert quality_drop_at(BENT, 0.4) == pytest.approx([(0.75 - 0.6) / 0.75])
    assert quality_drop_at(curve([0.5, 1.0]), 0.2) == pytest.approx([0.1])


def test_quality_drop_is_a_gain_where_the_small_expert_is_better() -> None:
    assert quality_drop_at(curve([1.0, 0.5]), 0.4) == pytest.approx([-0.4])


def test_quality_drop_of_a_large_expert_that_is_never_right() -> None:
    assert np.isnan(quality_drop_at(curve([0.5, 0.0]), 0.1)).all()


def test_cost_to_match() -> None:
    best, cost = np.array([0.75]), np.array([3.0])
    assert cost_to_match(BENT, best, cost) == pytest.approx([1.5 / 3])
    assert cost_to_match(curve([0.5, 0.75]), best, cost) == pytest.approx([1.0])
    assert np.isnan(cost_to_match(curve([0.5, 0.7], large=0.75), best, cost)).all()
    inverted = curve([0.75, 0.5])
    assert cost_to_match(inverted, best, np.array([1.0])) == pytest.approx([1.0])
    assert np.isnan(cost_to_match(BENT, best, np.array([0.0]))).all()


def test_hull_drops_what_costs_more_for_less() -> None:
    cost, quality = np.array([2.0, 1.0, 3.0, 2.0, 4.0]), np.array([0.4, 0.5, 0.6, 0.7, 0.8])
    xs, ys = upper_hull(cost, quality)
    assert (xs.tolist(), ys.tolist()) == ([1.0, 2.0, 4.0], [0.5, 0.7, 0.8])
    xs, ys = upper_hull(np.array([1.0, 2.0]), np.array([0.8, 0.5]))
    assert (xs.tolist(), ys.tolist()) == ([1.0], [0.8])
    xs, ys = upper_hull(np.array([0.0, 1.0, 2.0]), np.array([0.0, 0.5, 1.0]))
    assert (xs.tolist(), ys.tolist()) == ([0.0, 2.0], [0.0, 1.0])


def test_average_quality_is_the_mean_height_of_the_hull() -> None:
    at, quality = np.array([[0.0, 0.5, 0.5, 1.0, 1.5]]), np.array([[0.5, 0.4, 0.7, 0.6, 0.8]])
    curves = Curves(at, quality, 1 + 2 * at, np.array([0.5]), np.array([0.8]))
    assert average_quality(curves, np.array([1.0]), np.array([4.0])) == pytest.approx([(0.6 + 2 * 0.75) / 3])
    # Nobody has to spend more than the last point does.
    assert average_quality(curves, np.array([1.0]), np.array([7.0])) == pytest.approx([(2.1 + 3 * 0.8) / 6])
    falling = curve([0.8, 0.5])
    assert average_quality(falling, np.array([1.0]), np.array([3.0])) == pytest.approx([0.8])
    assert average_quality(falling, np.array([1.0]), np.array([1.0])) == pytest.approx([0.8])


def test_calibration_error_is_the_mean_distance_of_the_bins() -> None:
    predicted, happened = np.array([[0.1], [0.1], [0.9], [0.9]]), np.array([[0.0], [1.0], [1.0], [1.0]])
    weights = np.array([[1.0, 1.0, 1.0, 1.0], [2.0, 0.0, 1.0, 1.0]])
    assert calibration_error(predicted, happened, weights) == pytest.approx([0.25, 0.1])


def test_calibration_error_takes_several_outcomes_and_certainty() -> None:
    predicted = np.array([[1.0, 0.0], [1.0, 0.0]])
    assert calibration_error(predicted, predicted, np.ones((1, 2))) == pytest.approx([0.0])
    assert calibration_error(predicted, 1 - predicted, np.ones((1, 2))) == pytest.approx([1.0])


def test_rows_are_measured_each_by_itself() -> None:
    two = Curves(
        np.tile(BENT.x, (2, 1)),
        np.vstack([BENT.quality, np.linspace(0.5, 0.75, 5)]),
        np.tile(BENT.cost, (2, 1)),
        np.array([0.5, 0.5]),
        np.array([0.75, 0.75]),
    )
    assert apgr_exact(two) == pytest.approx([0.625, 0.5])
    assert call_share_for(two, 0.5) == pytest.approx([0.125, 0.5])
