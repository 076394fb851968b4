import numpy as np
import pytest

from routers import ParameterError
from routers.neural.targets import outcome_labels, score_labels

NAN = np.nan


def test_outcomes_of_all_pairs() -> None:
    small = [[1.0, 0.0], [0.5, NAN], [1.0, 1.0]]
    large = [[1.0, 1.0], [0.2, 0.9], [0.0, 0.0]]
    # First prompt: 1-1, 1-1 tie, 0-1, 0-1 win. Second: 0.2 loses, 0.9 wins. Third: every pair loses.
    expected = [[0.5, 0.5, 0.0], [0.5, 0.0, 0.5], [0.0, 0.0, 1.0]]
    np.testing.assert_allclose(outcome_labels(small, large), expected, atol=1e-12)


def test_near_outcomes_can_count_as_ties() -> None:
    labels = outcome_labels([[0.5]] * 3, [[0.7], [0.6], [0.4]], tie=0.1)
    np.testing.assert_allclose(labels, [[1, 0, 0], [0, 1, 0], [0, 1, 0]], atol=1e-12)


@pytest.mark.parametrize(
    ("small", "large", "score"),
    [
        (0.9, 0.2, 5),
        (0.2, 0.2, 4),
        (0.5, 0.6, 3),
        (0.5, 0.5 + 1 / 3, 3),
        (0.3, 0.7, 2),
        (0.0, 2 / 3, 2),
        (0.0, 0.7, 1),
        (0.0, 1.0, 1),
    ],
)
def test_scores_follow_from_the_gap(small: float, large: float, score: int) -> None:
    [labels] = score_labels([[small]], [[large]])
    np.testing.assert_allclose(labels, np.eye(5)[score - 1], atol=1e-12)


def test_scores_of_all_pairs() -> None:
    [labels] = score_labels([[1.0, 0.5, NAN]], [[1.0, 0.0]])
    # Gaps 0, 1, -0.5, 0.5.
    np.testing.assert_allclose(labels, [0, 0.25, 0, 0.25, 0.5], atol=1e-12)


def test_a_tie_margin_moves_four() -> None:
    labels = score_labels([[0.5]] * 4, [[0.6], [0.65], [0.4], [0.3]], tie=0.1)
    np.testing.assert_array_equal(labels.argmax(axis=1) + 1, [4, 3, 4, 5])


def test_negative_margins_are_refused() -> None:
    for labels in (outcome_labels, score_labels):
        with pytest.raises(ParameterError, match="relaxation"):
            labels([[1.0]], [[1.0]], -0.1)
