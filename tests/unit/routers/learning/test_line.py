import numpy as np
import pytest

from routers.learning.line import LogisticLine, fit_line


def test_a_line_is_a_logistic_function() -> None:
    line = LogisticLine(2.0, -1.0)
    np.testing.assert_allclose(line([0.5, 1.0]), [0.5, 1 / (1 + np.exp(-1))], rtol=1e-6)
    assert line([0.0]).dtype == np.float32


def test_two_places_are_met_exactly() -> None:
    # Mean labels 1/4 at 0 and 3/4 at 1: offset = log(1/3), slope = 2 log 3.
    x, y = np.repeat([0.0, 1.0], 400), np.repeat([0.25, 0.75], 400)
    line = fit_line(x, y)
    assert (line.slope, line.offset) == pytest.approx((2 * np.log(3), -np.log(3)), abs=1e-3)


def test_bounds_hold_and_the_offset_makes_up_for_them() -> None:
    x, y = np.repeat([-1.0, 1.0], 400), np.repeat([0.9, 0.1], 400)
    line = fit_line(x, y, bounds=(0.1, 3.0))
    assert line.slope == pytest.approx(0.1)
    assert line(x).mean() == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_one_label_stays_finite(label: float) -> None:
    line = fit_line(np.linspace(-1, 1, 30), np.full(30, label))
    assert np.isfinite([line.slope, line.offset]).all()
    assert np.abs(line([-1.0, 1.0]) - label).max() < 0.02


def test_a_strong_prior_is_kept_and_a_weak_one_left() -> None:
    prior = LogisticLine(1.0, 0.5)
    x, y = np.linspace(-1, 1, 50), np.full(50, 0.2)
    kept, left = (fit_line(x, y, prior=prior, strength=strength) for strength in (1e6, 1e-3))
    assert (kept.slope, kept.offset) == pytest.approx((1.0, 0.5), abs=1e-3)
    assert (left.slope, left.offset) == pytest.approx((0.0, np.log(0.25)), abs=1e-2)
