"""How strong a penalty is chosen on held-out rows."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from routers.learning.linear import best_penalty, logistic


def rows_of(n: int, n_noise: int, flipped: float) -> tuple[np.ndarray, np.ndarray]:
    """Labels that follow the first column but where they are flipped, and columns that say nothing."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 1 + n_noise)).astype(np.float32)
    y = (x[:, 0] > 0) ^ (rng.random(n) < flipped)
    return x, y[:, None].astype(np.float64)


def test_noise_asks_for_a_strong_penalty_and_clean_labels_for_a_weak_one() -> None:
    noisy, clean = rows_of(200, 300, 0.4), rows_of(200, 2, 0.0)
    assert best_penalty(*noisy, 0) == 0.03
    assert best_penalty(*clean, 0) >= 3.0


def test_sparse_rows_and_labels_of_several_experts_count_together() -> None:
    x, y = rows_of(120, 100, 0.3)
    both = np.column_stack([y[:, 0], 1 - y[:, 0]])
    # The second output is the first one mirrored, so it wants the same penalty.
    assert best_penalty(csr_array(x), both, 0) == best_penalty(x, y, 0)


def test_what_is_chosen_does_best_on_held_out_rows() -> None:
    x, y = rows_of(300, 100, 0.2)
    chosen = best_penalty(x, y, 0)
    asked, truth = rows_of(1300, 100, 0.2)
    asked, truth = asked[300:], truth[300:, 0]

    def loss(C: float) -> float:
        weights, bias = logistic(x, y[:, 0], C)
        z = asked @ weights + bias
        return float((np.logaddexp(0, z) - truth * z).mean())

    assert loss(chosen) < loss(30.0)
    assert loss(chosen) < 1.1 * min(loss(C) for C in (0.03, 0.1, 0.3, 1.0))


@pytest.mark.parametrize("n", [1, 19])
def test_few_rows_hold_nothing_out(n: int) -> None:
    assert best_penalty(*rows_of(n, 2, 0.0), 0) == 1.0
