import numpy as np
import pytest
import torch

from routers import ArtifactError
from routers.features import FloatArray, SparseRows
from routers.learning.expert_mlp import ExpertMlp, ExpertMlpSettings, _product
from routers.learning.soft_labels import soft_labels

torch.set_num_threads(1)
SETTINGS = ExpertMlpSettings(hidden=8, max_epochs=30, learning_rate=2e-2, dropout=0.0)


def quiet(doing: str, share: float) -> None:
    """Report to nobody."""


def problem(n: int = 200, seed: int = 0) -> tuple[FloatArray, np.ndarray]:
    """Expert 0 is right for positive first features with 0.9, expert 1 for the others; expert 2 always with 0.6."""
    x = np.random.default_rng(seed).normal(size=(n, 3)).astype(np.float32)
    right = np.where(x[:, 0] > 0, 0.9, 0.1)
    return x, np.column_stack([right, 1 - right, np.full(n, 0.6)])


def learned(n: int = 200) -> ExpertMlp:
    x, quality = problem(n)
    return ExpertMlp().fit(x, soft_labels(quality), quality, SETTINGS, quiet)


def test_learns_which_expert_and_how_good() -> None:
    x, quality = problem(seed=1)
    shares, predicted = learned().predict(x)
    assert (shares.argmax(axis=1) == quality.argmax(axis=1)).mean() > 0.95
    assert np.abs(predicted - quality).mean() < 0.1
    assert np.abs(predicted[:, 2] - 0.6).max() < 0.1
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, atol=1e-6)


def test_sparse_rows_are_multiplied_as_dense_ones() -> None:
    rng = np.random.default_rng(0)
    dense = rng.normal(size=(5, 12)).astype(np.float32) * (rng.random((5, 12)) < 0.4)
    dense[2] = 0
    rows = SparseRows.of([(np.flatnonzero(row), row[row != 0]) for row in dense], 12)
    weights = torch.from_numpy(rng.normal(size=(12, 4)).astype(np.float32)).requires_grad_()
    product = _product(rows, weights)
    np.testing.assert_allclose(product.detach().numpy(), dense @ weights.detach().numpy(), atol=1e-5)
    product.sum().backward()
    assert weights.grad is not None
    np.testing.assert_allclose(weights.grad.numpy()[:, 0], dense.sum(axis=0), atol=1e-5)


def test_sparse_and_dense_rows_teach_the_same() -> None:
    x, quality = problem(60)
    rows = SparseRows.of([(np.arange(3), row) for row in x], 3)
    one, other = (ExpertMlp().fit(given, soft_labels(quality), quality, SETTINGS, quiet) for given in (x, rows))
    np.testing.assert_allclose(one.predict(x)[1], other.predict(rows)[1], atol=1e-3)


def test_adapting_follows_a_change_and_leaves_what_is_right() -> None:
    x, quality = problem()
    right = learned()
    same = learned().adapt(x, soft_labels(quality), quality, SETTINGS, quiet)
    assert np.abs(same.predict(x)[1] - right.predict(x)[1]).max() < 0.1
    changed = np.column_stack([quality[:, 0], quality[:, 1], np.full(len(x), 0.97)])
    followed = learned().adapt(x, soft_labels(changed), changed, SETTINGS, quiet)
    assert (followed.predict(x)[0].argmax(axis=1) == 2).mean() > 0.9
    assert followed.predict(x)[1][:, 2].min() > 0.75


def test_few_rows_to_adapt_to_change_little() -> None:
    x, quality = problem(5)
    before, after = learned(), learned().adapt(x, soft_labels(1 - quality), 1 - quality, SETTINGS, quiet)
    moved = np.abs(before.predict(x)[1] - after.predict(x)[1])
    assert 0 < moved.max() < 0.1


def test_state_survives_and_is_checked() -> None:
    x, _ = problem(10)
    made = learned(30)
    again = ExpertMlp().restore(made.tensors(), 3, 3)
    for before, after in zip(made.predict(x), again.predict(x), strict=True):
        np.testing.assert_array_equal(before, after)
    with pytest.raises(ArtifactError, match=r"mlp\.1\.weights"):
        ExpertMlp().restore(made.tensors(), 3, 4)
