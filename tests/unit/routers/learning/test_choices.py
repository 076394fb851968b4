import numpy as np
import pytest

from routers.learning.choices import best_two, certainty


def test_best_and_runner_up_by_hand() -> None:
    value = np.array([[0.2, 0.9, 0.5], [0.7, 0.1, 0.6]])
    first, second = best_two(value, np.array([1.0, 2.0, 3.0]))
    assert first.tolist() == [1, 0]
    assert second.tolist() == [2, 2]


def test_of_equals_the_cheaper_comes_first() -> None:
    first, second = best_two(np.array([[0.5, 0.5, 0.5]]), np.array([3.0, 1.0, 2.0]))
    assert (first[0], second[0]) == (1, 2)


def test_one_expert_is_its_own_runner_up() -> None:
    first, second = best_two(np.array([[0.5], [0.1]]), np.array([1.0]))
    assert first.tolist() == second.tolist() == [0, 0]


def test_certainty_is_that_of_a_normal_estimate() -> None:
    lead, error = np.array([1.959964, 1.0, 0.0, -1.0, 0.1]), np.array([1.0, 1.0, 1.0, 1.0, 0.0])
    sure = certainty(lead, error**2)
    assert sure.tolist() == pytest.approx([0.95, 0.682689, 0.0, 0.0, 1.0], abs=1e-5)
    assert sure.dtype == np.float32
