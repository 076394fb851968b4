import numpy as np
import pytest

from routers import ParameterError
from routers.evaluation.resampling import draws, interval, p_value


def drawn(texts: list[str], n: int, seed: int = 0) -> np.ndarray:
    return np.concatenate(list(draws(texts, n, seed)))


def test_every_resample_has_as_many_texts() -> None:
    weights = drawn([f"t{i}" for i in range(50)], 300)
    assert weights.shape == (300, 50)
    assert (weights.sum(axis=1) == 50).all()
    # With replacement: a text is left out of about 1 / e of the resamples.
    assert (weights == 0).mean() == pytest.approx(np.exp(-1), abs=0.02)


def test_prompts_of_one_text_are_drawn_together() -> None:
    weights = drawn(["a", "b", "a", "c"], 50)
    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, [0, 1, 3]].sum(axis=1) == 3).all()


def test_seed_and_batches_decide_nothing_but_the_draw() -> None:
    texts = [f"t{i}" for i in range(3000)]
    batches = list(draws(texts, 1000, 1))
    assert len(batches) > 1
    assert (np.concatenate(batches) == drawn(texts, 1000, 1)).all()
    assert (drawn(texts, 3, 1) != drawn(texts, 3, 2)).any()


def test_one_resample_is_none() -> None:
    with pytest.raises(ParameterError, match="resamples"):
        drawn(["a"], 1)


def test_interval_leaves_a_fortieth_on_each_side() -> None:
    assert interval(np.arange(1001.0)) == (25.0, 975.0)
    assert interval(np.array([1.0] * 99 + [np.nan])) == (1.0, 1.0)
    assert interval(np.array([1.0] * 90 + [np.nan] * 10)) is None


def test_p_value_is_twice_the_rarer_side() -> None:
    assert p_value(np.array([1.0, 1.0, 1.0, -1.0])) == pytest.approx(2 * 2 / 5)
    assert p_value(np.ones(999)) == pytest.approx(2 / 1000)
    assert p_value(np.zeros(10)) == 1.0
    assert p_value(np.array([1.0, np.nan])) is None
