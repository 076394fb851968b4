"""Trees as flat tensors: the leaves of scikit-learn, refreshed and saved."""

from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesRegressor

from routers import ArtifactError
from routers.learning.forest import Forest

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(200, 5)).astype(np.float32)
LABELS = np.column_stack([ROWS[:, 0] > 0, ROWS[:, 0] * ROWS[:, 1] > 0]).astype(np.float64)
SETTINGS: dict[str, Any] = {"n_trees": 12, "min_leaf": 5, "max_features": 0.5, "seed": 3}


def quiet(doing: str, share: float) -> None:
    """Tell nobody."""


@pytest.fixture
def forest() -> Forest:
    return Forest().fit(ROWS, LABELS, quiet, **SETTINGS)


def test_it_predicts_what_scikit_learn_does(forest: Forest) -> None:
    model = ExtraTreesRegressor(12, min_samples_leaf=5, max_features=0.5, random_state=3).fit(ROWS, LABELS)
    asked = RNG.normal(size=(600, 5)).astype(np.float32)
    np.testing.assert_allclose(forest.predict(asked), model.predict(asked), atol=1e-6)
    np.testing.assert_allclose(forest.predict(asked[:1]), forest.predict(asked)[:1], atol=1e-6)
    assert forest.predict(asked[:0]).shape == (0, 2)


def test_a_value_just_beyond_a_cut_goes_right(forest: Forest) -> None:
    model = ExtraTreesRegressor(12, min_samples_leaf=5, max_features=0.5, random_state=3).fit(ROWS, LABELS)
    tree = model.estimators_[0].tree_
    cut = np.float32(tree.threshold[0])
    for value in (np.nextafter(cut, np.float32(-9)), cut, np.nextafter(cut, np.float32(9))):
        row = np.zeros((1, 5), dtype=np.float32)
        row[0, tree.feature[0]] = value
        np.testing.assert_allclose(forest.predict(row), model.predict(row), atol=1e-6)


def test_one_leaf_is_the_mean_and_moves_by_weight() -> None:
    y = np.array([[0.0], [1.0], [1.0]])
    forest = Forest().fit(np.zeros((3, 1), np.float32), y, quiet, n_trees=2, min_leaf=5, max_features=1.0, seed=0)
    assert forest.depth == 0
    np.testing.assert_allclose(forest.predict(np.zeros((1, 1), np.float32)), [[2 / 3]], atol=1e-6)
    # Two ones of old and a zero; a new zero counts for two of them: 2 of 5.
    forest.adapt(np.zeros((1, 1), np.float32), np.array([[0.0]]), 2.0)
    np.testing.assert_allclose(forest.predict(np.zeros((1, 1), np.float32)), [[0.4]], atol=1e-6)
    # Two more zeros in one go, of weight one: 2 of 7.
    forest.adapt(np.zeros((2, 1), np.float32), np.zeros((2, 1)), 1.0)
    np.testing.assert_allclose(forest.predict(np.zeros((1, 1), np.float32)), [[2 / 7]], atol=1e-6)


def test_it_finds_what_two_features_say_together(forest: Forest) -> None:
    asked = RNG.normal(size=(500, 5)).astype(np.float32)
    together = (asked[:, 0] * asked[:, 1] > 0)[:, None]
    line = np.c_[ROWS, np.ones(200)] @ np.linalg.lstsq(np.c_[ROWS, np.ones(200)], LABELS[:, 1], rcond=None)[0]
    assert ((line > 0.5) == LABELS[:, 1]).mean() < 0.62
    assert ((forest.predict(asked)[:, [1]] > 0.5) == together).mean() > 0.62


def test_progress_never_falls() -> None:
    told: list[float] = []
    Forest().fit(ROWS, LABELS, lambda doing, share: told.append(share), **{**SETTINGS, "n_trees": 3})
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_restored_it_says_the_same(forest: Forest) -> None:
    again = Forest().restore(forest.tensors(), 5, 2)
    np.testing.assert_array_equal(again.predict(ROWS), forest.predict(ROWS))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("forest.children", 10**6, "do not fit together"),
        ("forest.children", -1, "do not fit together"),
        ("forest.feature", 5, "do not fit together"),
        ("forest.weight", 0, "do not fit together"),
        ("forest.depth", -1, "do not fit together"),
        ("forest.threshold", np.nan, "not finite"),
    ],
)
def test_damaged_trees(forest: Forest, name: str, value: float, message: str) -> None:
    tensors = {key: tensor.copy() for key, tensor in forest.tensors().items()}
    tensors[name].flat[0] = value
    with pytest.raises(ArtifactError, match=message):
        Forest().restore(tensors, 5, 2)
