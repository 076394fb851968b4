import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from routers.learning.heads import ProbabilityHead
from routers.learning.stacking import equal_weights, stacked

ONE_OUTPUT = np.ones((2, 1), dtype=bool)


def made(n: int, weights: tuple[float, float], seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Logits of two members, and labels drawn from their weighted sum."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, 2)).astype(np.float32)
    chance = 1 / (1 + np.exp(-(logits @ np.array(weights) + 0.3)))
    return logits, (rng.random(n) < chance).astype(np.float64)[:, None]


def test_equal_weights_are_the_mean_of_what_an_output_reads() -> None:
    weights, bias = equal_weights(np.array([[True, False], [True, False], [False, True]]))[0]
    assert weights.tolist() == [[0.5, 0.0], [0.5, 0.0], [0.0, 1.0]]
    assert bias.tolist() == [0.0, 0.0]


def test_with_many_rows_it_is_logistic_regression() -> None:
    logits, y = made(4000, (1.5, 0.4))
    weights, bias = stacked(logits, y, equal_weights(ONE_OUTPUT), C=1e6).layers[0]
    plain = LogisticRegression(C=1e6).fit(logits, y[:, 0])
    np.testing.assert_allclose(weights[:, 0], plain.coef_[0], atol=2e-3)
    assert bias[0] == pytest.approx(plain.intercept_[0], abs=2e-3)


def test_no_weight_is_negative() -> None:
    logits, y = made(2000, (1.0, -1.0))
    weights, _ = stacked(logits, y, equal_weights(ONE_OUTPUT), C=1e6).layers[0]
    assert weights[1, 0] == 0.0
    assert weights[0, 0] > 0.5


def test_with_few_rows_it_stays_near_the_mean() -> None:
    logits, y = made(10, (3.0, 0.0))
    few = stacked(logits, y, equal_weights(ONE_OUTPUT), C=0.01).layers[0][0]
    np.testing.assert_allclose(few[:, 0], 0.5, atol=0.05)
    many = stacked(*made(5000, (3.0, 0.0)), equal_weights(ONE_OUTPUT), C=0.01).layers[0][0]
    assert many[0, 0] > 4 * many[1, 0]


def test_an_output_reads_its_own_inputs_alone() -> None:
    logits, y = made(2000, (1.0, 1.0))
    head = stacked(logits, np.column_stack([y, 1 - y]), equal_weights(np.eye(2, dtype=bool)), C=1.0)
    weights = head.layers[0][0]
    assert weights[0, 1] == weights[1, 0] == 0.0
    assert weights[0, 0] > 0.3
    assert weights[1, 1] == 0.0
    restored = ProbabilityHead().restore(head.tensors(), 2, 2)
    np.testing.assert_array_equal(restored.predict(logits), head.predict(logits))


def test_going_on_starts_from_the_weights_that_there_are() -> None:
    start = [(np.array([[0.9], [0.0]], dtype=np.float32), np.array([0.1], dtype=np.float32))]
    weights, _ = stacked(*made(30, (0.0, 5.0)), start, C=1e-4).layers[0]
    np.testing.assert_allclose(weights[:, 0], [0.9, 0.0], atol=0.02)
