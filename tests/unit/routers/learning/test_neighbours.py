import numpy as np
import pytest

from routers.learning.neighbours import nearest, similarities


@pytest.mark.parametrize("k", [1, 7, 100, 999, 1000, 5000])
def test_nearest_are_the_highest(k: int) -> None:
    similarity = np.random.default_rng(k).normal(size=1000).astype(np.float32)
    expected = set(np.argsort(-similarity)[:k].tolist())
    assert set(nearest(similarity, k).tolist()) == expected


def test_a_misleading_sample_does_not_lose_neighbours() -> None:
    similarity = np.linspace(0.0, 0.5, 4000, dtype=np.float32)
    similarity[::8] = np.linspace(0.9, 1.0, 500)
    assert set(nearest(similarity, 600).tolist()) == set(np.argsort(-similarity)[:600].tolist())


def test_all_that_equal_the_last_count() -> None:
    similarity = np.array([0.9, 0.5, 0.5, 0.1, 0.5 + 1e-7], dtype=np.float32)
    assert nearest(similarity, 2).tolist() == [0, 1, 2, 4]


def test_blocks_join_to_the_whole_matrix() -> None:
    rng = np.random.default_rng(0)
    rows, stored = rng.normal(size=(130, 5)).astype(np.float32), rng.normal(size=(40, 5)).astype(np.float32)
    blocks = list(similarities(rows, stored))
    assert [len(block) for block in blocks] == [64, 64, 2]
    np.testing.assert_allclose(np.concatenate(blocks), rows @ stored.T, atol=1e-5)
