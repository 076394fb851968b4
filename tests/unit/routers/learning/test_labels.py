import numpy as np
import pytest

from routers import DataError, ParameterError
from routers.learning.labels import deterministic_labels, find_relaxation, mean_gap, relaxed_labels

NAN = float("nan")


def test_deterministic_labels_compare_the_first_samples() -> None:
    small, large = [[0.5, 0.0], [0.4, 1.0], [NAN, 0.9]], [[0.5, 1.0], [0.5, 0.0], [0.8, 1.0]]
    assert deterministic_labels(small, large).tolist() == [1.0, 0.0, 1.0]


def test_probabilistic_labels_are_the_share_of_pairs_in_which_small_is_as_good() -> None:
    # Pairs of the first prompt: 1>=1, 1>=0, 0<1, 0>=0. The second: 0.2 against 0.1 and 0.3, 0.3 against both.
    small, large = [[1.0, 0.0], [0.2, 0.3]], [[1.0, 0.0], [0.1, 0.3]]
    assert relaxed_labels(small, large).tolist() == [0.75, 0.75]


def test_relaxation_lets_small_fall_behind_by_t() -> None:
    small, large = [[0.5, 0.2]], [[0.6, 0.4]]
    # Gaps: -0.1, 0.1, -0.4, -0.2.
    assert relaxed_labels(small, large, 0.0).tolist() == [0.25]
    assert relaxed_labels(small, large, 0.1).tolist() == [0.5]
    assert relaxed_labels(small, large, 0.2).tolist() == [0.75]
    assert relaxed_labels(small, large, 0.4).tolist() == [1.0]


def test_missing_samples_make_no_pairs() -> None:
    assert relaxed_labels([[1.0, NAN]], [[0.0, 1.0, NAN]]).tolist() == [1.0]
    assert relaxed_labels([[0.5, NAN, 0.0]], [[0.2, NAN, NAN]]).tolist() == [0.5]


def test_mean_gap_equals_the_double_sum() -> None:
    assert mean_gap([0.0, 1.0]) == 0.5
    assert mean_gap([0.0, 0.5, 1.0]) == pytest.approx(2 * (0.5 + 1.0 + 0.5) / 9)
    assert mean_gap([0.3]) == 0.0
    y = np.random.default_rng(0).random(50)
    assert mean_gap(y) == pytest.approx(np.abs(y[:, None] - y[None]).mean())


def test_search_finds_the_t_that_spreads_the_labels_most() -> None:
    # Small is behind by 0.2 on half of the prompts and by 0.6 on the others. With t from 0.2 to 0.59 the
    # labels are half ones, half zeros, and the mean gap is 2 * 2 * 2 / 16 = 0.5; elsewhere all are equal.
    small, large = [[0.7], [0.7], [0.3], [0.3]], [[0.9]] * 4
    t, objective = find_relaxation(small, large)
    assert t == pytest.approx(0.2)
    assert objective[20:60] == pytest.approx(0.5)
    assert objective[:20].max() == objective[60:].max() == 0.0


def test_search_takes_the_first_of_equals_and_the_grid_given() -> None:
    assert find_relaxation([[1.0], [0.0]], [[1.0], [1.0]])[0] == 0.0
    t, objective = find_relaxation([[0.7], [0.3]], [[0.9], [0.9]], grid=[0.1, 0.3, 0.5])
    assert (t, objective.tolist()) == (0.3, [0.0, 0.5, 0.5])


def test_labels_refuse_what_they_cannot_use() -> None:
    with pytest.raises(ParameterError, match=r"t is -0\.1"):
        relaxed_labels([[1.0]], [[1.0]], -0.1)
    with pytest.raises(ParameterError, match="grid"):
        find_relaxation([[1.0]], [[1.0]], [])
    with pytest.raises(DataError, match="Prompt number 1 has no answer of the large"):
        relaxed_labels([[1.0], [1.0]], [[1.0], [NAN]])
    with pytest.raises(DataError, match="same prompts"):
        deterministic_labels([[1.0]], [[1.0], [0.0]])
