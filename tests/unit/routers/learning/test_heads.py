import numpy as np
import pytest
from scipy.sparse import csr_array

from routers.features import SparseRows
from routers.learning.heads import HeadSettings, ProbabilityHead, _folds, fit_platt

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


def shifted(n: int, seed: int, shift: float) -> tuple[np.ndarray, np.ndarray]:
    """Sixty features of which all matter; beside the source, three of them and the base rate differ by `shift`."""
    weights = np.random.default_rng(0).normal(size=60) / 3
    weights[:3] += shift
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 60)).astype(np.float32)
    chance = 1 / (1 + np.exp(-(x @ weights - shift)))
    return x, (rng.random(n) < chance).astype(float)[:, None]


def loss(head: ProbabilityHead, x: np.ndarray, y: np.ndarray) -> float:
    p = np.clip(head.predict(x), 1e-6, 1 - 1e-6)
    return float(-(y * np.log(p) + (1 - y) * np.log(1 - p)).mean())


def source_head(settings: HeadSettings) -> ProbabilityHead:
    return ProbabilityHead().fit(*shifted(1500, 1, 0.0), settings, no_progress)


@pytest.mark.parametrize("kind", KINDS)
def test_a_hundred_target_rows_beat_the_start_and_beat_themselves_alone(kind: str) -> None:
    settings = HeadSettings(kind=kind, hidden=16)
    x, y = shifted(1000, 2, 1.0)
    before, adapted, alone = 0.0, 0.0, 0.0
    for few, others in ((slice(0, 100), slice(500, 1000)), (slice(500, 600), slice(0, 500))):
        head = source_head(settings)
        before += loss(head, x[others], y[others]) / 2
        adapted += loss(head.adapt(x[few], y[few], settings, no_progress), x[others], y[others]) / 2
        alone += loss(ProbabilityHead().fit(x[few], y[few], settings, no_progress), x[others], y[others]) / 2
    assert adapted < before - 0.03
    assert adapted < alone - 0.03


@pytest.mark.parametrize("kind", KINDS)
def test_a_few_misleading_rows_do_not_destroy_what_was_learned(kind: str) -> None:
    settings = HeadSettings(kind=kind, hidden=16)
    head = source_head(settings)
    x, y = shifted(500, 2, 0.0)
    before = loss(head, x, y)
    assert loss(head.adapt(x[:4], 1 - y[:4], settings, no_progress), x, y) < before + 0.05


@pytest.mark.parametrize("kind", KINDS)
def test_more_of_the_same_rows_change_little(kind: str) -> None:
    settings = HeadSettings(kind=kind, hidden=16)
    head = source_head(settings)
    x, y = shifted(600, 2, 0.0)
    before = loss(head, x[100:], y[100:])
    assert loss(head.adapt(x[:100], y[:100], settings, no_progress), x[100:], y[100:]) < before + 0.05


def test_adapting_the_linear_head_minimises_loss_plus_distance_to_the_start() -> None:
    # One feature, logit(x) = (2 x + 1) 0.5 + 0.25: calibrated weight 1 and bias 0.75. With the gap g = p - y of the
    # one row x = 1, the optimum moves weight and bias alike by -g / strength: p = sigmoid(1.75 - 2 g / strength).
    head = ProbabilityHead()
    head.layers = [(np.array([[2.0]], np.float32), np.array([1.0], np.float32))]
    head.slope, head.offset = np.array([0.5], np.float32), np.array([0.25], np.float32)
    head.adapt(np.ones((1, 1), np.float32), np.zeros((1, 1)), HeadSettings(prior_strength=0.5), no_progress)
    (weights, bias), *_ = head.layers
    gap = 1 / (1 + np.exp(-(weights[0, 0] + bias[0])))
    assert weights[0, 0] == pytest.approx(1.0 - gap / 0.5, abs=1e-3)
    assert bias[0] == pytest.approx(0.75 - gap / 0.5, abs=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_an_endlessly_strong_prior_keeps_predictions(kind: str) -> None:
    x, y = problem(200)
    head = ProbabilityHead().fit(x, y, HeadSettings(kind=kind), no_progress)
    before = head.predict(rows_of(x))
    head.adapt(rows_of(x[:50]), 1 - y[:50], HeadSettings(kind=kind, prior_strength=1e6), no_progress)
    np.testing.assert_allclose(head.predict(rows_of(x)), before, atol=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_adapting_is_repeatable_and_can_be_saved(kind: str) -> None:
    x, y = problem(200)
    settings = HeadSettings(kind=kind, max_epochs=5)
    first, again = (
        ProbabilityHead().fit(x, y, settings, no_progress).adapt(x[:40], y[:40] / 2, settings, no_progress)
        for _ in range(2)
    )
    restored = ProbabilityHead().restore(again.tensors(), 3, 2)
    np.testing.assert_array_equal(restored.predict(rows_of(x)), first.predict(rows_of(x)))


def test_columns_that_no_target_row_has_stay() -> None:
    x, y = problem(200)
    head = ProbabilityHead().fit(x, y, HeadSettings(), no_progress)
    weights = head.layers[0][0][2] * head.slope
    target = x[:40].toarray()
    target[:, 2] = 0
    head.adapt(csr_array(target), 1 - y[:40], HeadSettings(prior_strength=0.1), no_progress)
    np.testing.assert_allclose(head.layers[0][0][2], weights, rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_copies_are_learned_from_and_weigh_what_the_rows_weigh(kind: str) -> None:
    x, y = problem(120)
    settings = HeadSettings(kind=kind, max_epochs=8)
    plain = ProbabilityHead().fit(x, y, settings, no_progress).predict(rows_of(x))
    same = ProbabilityHead().fit(x, y, settings, no_progress, (rows_of(x), np.arange(120))).predict(rows_of(x))
    flipped = ProbabilityHead().fit(x, y, settings, no_progress, (rows_of(-x), np.arange(120))).predict(rows_of(x))
    if kind == "linear":
        np.testing.assert_allclose(same, plain, atol=0.01)
    assert np.abs(flipped - y.mean(axis=0)).mean() < np.abs(plain - y.mean(axis=0)).mean() / 2


def test_copies_of_held_out_rows_do_not_leak_into_the_calibration() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 100)).astype(np.float32)
    y = (rng.random((120, 1)) < 0.5).astype(float)
    head = ProbabilityHead().fit(x, y, HeadSettings(C=100.0), no_progress, (x, np.arange(120)))
    assert head.slope[0] < 0.2, "labels are noise, and held-out scores must show it"


def test_calibration_of_what_is_told_apart_stays_within_what_the_rows_warrant() -> None:
    x = np.repeat([[-1.0], [1.0]], 49, axis=0).astype(np.float32)
    y = np.repeat([[0.0], [1.0]], 49, axis=0)
    head = ProbabilityHead().fit(x, y, HeadSettings(), no_progress)
    # Platt's targets for 49 of each: 1/51 and 50/51.
    np.testing.assert_allclose(head.predict(x)[[0, -1], 0], [1 / 51, 50 / 51], atol=0.005)


def test_regularisation_of_the_mlp_can_be_set() -> None:
    x, y = problem(120)
    plain, decayed, dropped = (
        ProbabilityHead().fit(x, y, HeadSettings(kind="mlp", max_epochs=5, folds=2, **more), no_progress)
        for more in ({}, {"weight_decay": 1.0}, {"dropout": 0.9})
    )
    assert np.abs(decayed.layers[0][0]).sum() < np.abs(plain.layers[0][0]).sum()
    assert (dropped.layers[0][0] != plain.layers[0][0]).any()


def test_a_fold_holds_whole_groups() -> None:
    groups = np.arange(60) // 3
    fold, n_folds = _folds(60, HeadSettings(folds=4), groups)
    assert n_folds == 4
    assert (fold.reshape(20, 3) == fold[::3, None]).all()
    assert np.bincount(fold).tolist() == [15, 15, 15, 15]
    assert _folds(60, HeadSettings(folds=4), np.arange(60) // 30)[1] == 0


def test_platt_by_hand() -> None:
    """Two logits, each with a share of ones: the line through the logits of both shares, short of the ends."""
    logits, y = np.repeat([-1.0, 1.0], 1000), np.concatenate([np.arange(1000) < 200, np.arange(1000) < 800])
    slope, offset = fit_platt(logits, y.astype(np.float64))
    assert slope == pytest.approx(np.log(4), abs=0.01)
    assert offset == pytest.approx(0, abs=0.01)
    assert fit_platt(logits, 1.0 - y)[0] == pytest.approx(1e-3)
