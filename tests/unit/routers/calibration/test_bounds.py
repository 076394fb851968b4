"""The evidence for a mean, against cases that are known exactly or by simulation."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from scipy.stats import beta

from routers import ParameterError
from routers.calibration.bounds import deviate, required_deviate, smallest

NORMAL = NormalDist()


def p_value(values: np.ndarray, worst: float) -> float:
    return 1 - NORMAL.cdf(deviate(values, worst))


@pytest.mark.parametrize(
    ("n", "losses", "limit"), [(300, 0, 0.01), (100, 0, 0.03), (500, 2, 0.02), (2000, 5, 0.005), (50, 10, 0.4)]
)
def test_two_valued_losses_give_the_test_of_clopper_and_pearson(n: int, losses: int, limit: float) -> None:
    values = np.full(n, limit)
    values[:losses] -= 1
    exact = beta.sf(limit, losses + 1, n - losses)
    assert p_value(values, limit - 1) == pytest.approx(exact, rel=0.02)
    assert p_value(values, limit - 1) >= exact


def test_rule_of_three() -> None:
    # Without a loss among n, 95 % confidence allows 1 - 0.05 ** (1 / n), about 3 / n.
    required = required_deviate(0.95, 299, horizon=10**12)
    bound = smallest(lambda limit: deviate(np.full(299, limit), limit - 1) >= required, 0.0, 1.0)
    assert bound == pytest.approx(1 - 0.05 ** (1 / 299), rel=0.01)
    assert bound == pytest.approx(0.01, rel=0.01)


def test_many_values_give_the_t_test() -> None:
    values = np.tile([-0.1, 0.2, 0.3, -0.2], 2500) - 0.047
    t = values.mean() / (values.std() / math.sqrt(len(values)))
    assert deviate(values, -1.0) == pytest.approx(t, abs=0.1)


def test_uneven_values_agree_with_drawn_weights() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([np.full(60, 0.05), rng.uniform(-0.4, 0.5, 40), [-0.9]])
    sums = rng.exponential(size=(40_000, len(values) + 1)) @ np.append(values, -1.0)
    assert p_value(values, -1.0) == pytest.approx((sums <= 0).mean(), rel=0.1)


def test_no_evidence_and_no_doubt() -> None:
    assert deviate(np.array([-0.1, 0.05]), -1.0) == -math.inf
    assert deviate(np.full(5, 0.1), -1.0) == -math.inf
    assert deviate(np.array([0.0, 0.3]), 0.0) == math.inf
    assert abs(deviate(np.array([1.0]), -1.0)) <= 1e-6 or deviate(np.array([1.0]), -1.0) == -math.inf


def test_more_prompts_are_more_evidence() -> None:
    values = np.array([0.02] * 99 + [-0.98])
    found = [deviate(np.tile(values, times), -0.98) for times in (3, 10, 30)]
    assert found == sorted(found)
    assert found[0] < 1.645 < found[-1]


def test_required_evidence() -> None:
    assert required_deviate(0.95, 100, horizon=10**9) == pytest.approx(1.645, abs=0.001)
    assert required_deviate(0.95, 100) == pytest.approx(2.326, abs=0.001)
    assert required_deviate(0.95, 100, horizon=25) == pytest.approx(1.645 * math.sqrt(5), abs=0.002)
    for confidence in (0.4, 1.0):
        with pytest.raises(ParameterError, match="confidence"):
            required_deviate(confidence, 10)
    with pytest.raises(ParameterError, match="horizon"):
        required_deviate(0.9, 10, 0)


def test_skewed_losses_are_covered() -> None:
    # 2 % of prompts lose everything: the drop is 2 %, and a bound below it may come up in 5 of 100 samples.
    rng = np.random.default_rng(1)
    n, truth = 150, 0.02
    wrong = 0
    for _ in range(400):
        losses = (rng.random(n) < truth).astype(float)
        wrong += deviate(truth - losses, truth - 1) >= required_deviate(0.95, n, 10**12)
    assert wrong / 400 <= 0.05
