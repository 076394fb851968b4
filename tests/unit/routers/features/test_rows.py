import numpy as np
import pytest

from routers.features.rows import SparseRows, as_matrix, beside, minus, side_by_side, stacked

DENSE = np.array([[1, 0, 2, 0], [0, 0, 0, 0], [0, 3, 0, 4]], dtype=np.float32)


def sparse(dense: np.ndarray) -> SparseRows:
    return SparseRows.of([(np.flatnonzero(row), row[row != 0]) for row in dense], dense.shape[1])


def test_rows_are_what_they_are_made_of() -> None:
    rows = sparse(DENSE)
    assert (len(rows), rows.shape) == (3, (3, 4))
    np.testing.assert_array_equal(as_matrix(rows).toarray(), DENSE)
    np.testing.assert_array_equal(rows[[2, 0]].matrix().toarray(), DENSE[[2, 0]])
    np.testing.assert_array_equal(rows.squared_lengths(), [5, 0, 25])
    assert sparse(DENSE[:0]).shape == (0, 4)


def test_products_are_those_of_the_dense_rows() -> None:
    weights = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    for dense in (DENSE, DENSE[:1], DENSE[:0]):
        np.testing.assert_allclose(sparse(dense) @ weights, dense @ weights, atol=1e-6)


def test_dense_columns_to_the_right() -> None:
    more = np.array([[7, 0], [8, 9], [0, 5]], dtype=np.float32)
    for n in (3, 1, 0):
        both = side_by_side(sparse(DENSE[:n]), more[:n])
        np.testing.assert_array_equal(both.matrix().toarray(), np.hstack([DENSE, more])[:n])
        np.testing.assert_array_equal(both.last_columns(2), more[:n])
        assert len(both.values) == np.count_nonzero(DENSE[:n]) + np.count_nonzero(more[:n])


def test_rows_below_each_other() -> None:
    parts = [sparse(DENSE[:1]), sparse(DENSE[1:]), sparse(DENSE)]
    np.testing.assert_array_equal(stacked(parts).matrix().toarray(), np.vstack([DENSE, DENSE]))
    np.testing.assert_array_equal((stacked(parts)[[1, 2]]).matrix().toarray(), DENSE[1:])
    assert stacked(parts[:1]) is parts[0]


@pytest.mark.parametrize("n", [3, 1, 0])
def test_rows_of_any_kind_beside_each_other(n: int) -> None:
    more = np.array([[7, 0], [8, 9], [0, 5]], dtype=np.float32)[:n]
    expected = np.hstack([DENSE[:n], more])
    np.testing.assert_array_equal(beside(DENSE[:n], more), expected)
    for first, second in (
        (sparse(DENSE[:n]), sparse(more)),
        (sparse(DENSE[:n]), more),
        (DENSE[:n], sparse(more)),
    ):
        np.testing.assert_array_equal(as_matrix(beside(first, second)).toarray(), expected)


@pytest.mark.parametrize("n", [3, 1, 0])
def test_differences_of_rows_of_any_kind(n: int) -> None:
    first, second = DENSE[:n], np.array([[1, 5, 0, 0], [0, 0, 0, 7], [0, 3, 0, 1]], dtype=np.float32)[:n]
    np.testing.assert_array_equal(minus(first, second), first - second)
    for one, other in ((sparse(first), sparse(second)), (first, sparse(second)), (sparse(first), second)):
        np.testing.assert_array_equal(as_matrix(minus(one, other)).toarray(), first - second)
