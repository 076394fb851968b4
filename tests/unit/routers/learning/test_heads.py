import numpy as np
import pytest
from scipy.sparse import csr_array

from routers.features import SparseRows
from routers.learning.heads import HeadSettings, ProbabilityHead

KINDS = ["linear", "mlp"]


def no_progress(doing: str, share: float) -> None:
    assert doing
    assert 0 <= share <= 1


def rows_of(x: csr_array) -> SparseRows:
    pairs = zip(x.indptr, x.indptr[1:], strict=False)
    return SparseRows([(x.indices[a:b].astype(np.int64), x.data[a:b]) for a, b in pairs], x.shape[1])


def problem(n: int = 600) -> tuple[csr_array, np.ndarray]:
    """Three features; soft labels of two outputs that follow the first two of them."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 3)).astype(np.float32)
    logits = np.column_stack([2 * x[:, 0] + 0.5, -x[:, 1]])
    chance = 1 / (1 + np.exp(-logits))
    return csr_array(x), rng.binomial(10, chance) / 10


@pytest.mark.parametrize("kind", KINDS)
def test_learns_soft_labels(kind: str) -> None:
    x, y = problem()
    head = ProbabilityHead().fit(x[:500], y[:500], HeadSettings(kind=kind), no_progress)
    predicted = head.predict(rows_of(x[500:]))
    assert predicted.dtype == np.float32
    chance = 1 / (1 + np.exp(-np.column_stack([2 * x.toarray()[500:, 0] + 0.5, -x.toarray()[500:, 1]])))
    assert np.abs(predicted - chance).mean() < 0.05


def test_linear_head_minimises_the_soft_cross_entropy() -> None:
    # One feature is 1 for half of the rows: without a penalty the optimum meets each half's mean label.
    x = csr_array(np.repeat([[0.0, 1.0], [1.0, 1.0]], 8, axis=0).astype(np.float32))
    y = np.concatenate([np.full(8, 0.25), [0.9, 0.7] * 4])[:, None]
    head = ProbabilityHead().fit(x, y, HeadSettings(C=1e6), no_progress)
    np.testing.assert_allclose(head.predict(rows_of(x))[[0, 8], 0], [0.25, 0.8], atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("label", [0.0, 0.4, 1.0])
def test_constant_labels(kind: str, label: float) -> None:
    x, _ = problem(40)
    head = ProbabilityHead().fit(x, np.full((40, 1), label), HeadSettings(kind=kind), no_progress)
    assert np.abs(head.predict(rows_of(x)) - label).max() < 0.1


def test_calibration_corrects_an_overconfident_head() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 100)).astype(np.float32)
    y = (rng.random((120, 1)) < 1 / (1 + np.exp(-x[:, :1]))).astype(float)
    head = ProbabilityHead().fit(csr_array(x), y, HeadSettings(C=100.0), no_progress)
    assert head.slope[0] < 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_seed_decides(kind: str) -> None:
    x, y = problem(200)
    first, again, other = (
        ProbabilityHead().fit(x, y, HeadSettings(kind=kind, seed=seed), no_progress).predict(rows_of(x))
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_training_leaves_torchs_random_state_alone() -> None:
    import torch

    x, y = problem(40)
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    ProbabilityHead().fit(x, y, HeadSettings(kind="mlp", max_epochs=1), no_progress)
    assert torch.equal(torch.rand(3), expected)
