import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from routers.errors import DataError, NotFittedError, ParameterError
from routers.learning.balanced import BalancedKMeans, balanced_assignment


@pytest.mark.parametrize(("rows", "columns"), [(7, 3), (40, 4), (101, 10), (3, 5), (64, 1)])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_assignment_is_balanced_and_optimal_for_its_sizes(rows: int, columns: int, scale: float) -> None:
    cost = np.random.default_rng(rows).normal(size=(rows, columns)) * scale
    labels = balanced_assignment(cost)
    sizes = np.bincount(labels, minlength=columns)
    assert sizes.max() - sizes.min() <= 1
    slots = np.repeat(np.arange(columns), sizes)
    best_rows, best_slots = linear_sum_assignment(cost[:, slots])
    assert cost[np.arange(rows), labels].sum() == pytest.approx(cost[best_rows, slots[best_slots]].sum())


def test_assignment_by_hand() -> None:
    # All four prefer column 0; the two that lose least by moving (rows 1 and 3) must go.
    cost = [[0.0, 9.0], [0.0, 1.0], [0.0, 5.0], [0.0, 2.0]]
    assert balanced_assignment(cost).tolist() == [0, 1, 0, 1]


def test_assignment_uses_chains_through_other_columns() -> None:
    # Column 2 has room. Sending row 0 there directly costs 10; 0 -> 1 and then row 2 from 1 -> 2 costs 1 + 1.
    cost = [[0.0, 1.0, 10.0], [0.0, 9.0, 10.0], [9.0, 0.0, 1.0]]
    assert balanced_assignment(cost).tolist() == [1, 0, 2]


def test_equal_costs_still_end_balanced() -> None:
    assert np.bincount(balanced_assignment(np.zeros((10, 4)))).tolist() == [3, 3, 2, 2]


@pytest.mark.parametrize("cost", [[[np.nan, 1.0]], [1.0, 2.0], np.zeros((3, 0))])
def test_assignment_refuses_what_is_not_a_finite_matrix(cost: object) -> None:
    with pytest.raises(DataError, match="finite cost matrix"):
        balanced_assignment(cost)  # type: ignore[arg-type]


def blobs(sizes: tuple[int, ...], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(len(sizes)), sizes)
    points = np.eye(len(sizes))[truth] + rng.normal(scale=0.1, size=(len(truth), len(sizes)))
    return points / np.linalg.norm(points, axis=1, keepdims=True), truth


def test_finds_equal_blobs() -> None:
    points, truth = blobs((30, 30, 30))
    model = BalancedKMeans(3).fit(points)
    pairs = {(int(a), int(b)) for a, b in zip(truth, model.labels_, strict=True)}
    assert len(pairs) == 3
    assert (model.predict(points) == model.labels_).all()
    assert model.n_iter_ < 20


@pytest.mark.parametrize("batch_size", [16, 2048])
def test_training_clusters_are_equal_even_when_the_blobs_are_not(batch_size: int) -> None:
    points, _ = blobs((70, 20, 11))
    sizes = np.bincount(BalancedKMeans(3, batch_size=batch_size).fit(points).labels_)
    assert sorted(sizes) == [33, 34, 34]


def test_one_batch_pass_moves_centroids_to_the_means_of_their_points() -> None:
    points, _ = blobs((20, 20))
    model = BalancedKMeans(2).fit(points)
    for cluster in range(2):
        mean = points[model.labels_ == cluster].mean(axis=0)
        assert model.cluster_centers_[cluster] == pytest.approx(mean, abs=1e-3)


def test_transform_gives_euclidean_distances() -> None:
    points, _ = blobs((10, 10))
    model = BalancedKMeans(2).fit(points)
    expected = np.linalg.norm(points[:, None] - model.cluster_centers_[None], axis=2)
    assert model.transform(points) == pytest.approx(expected, abs=1e-7)


def test_seed_decides_and_input_stays() -> None:
    points, _ = blobs((40, 30, 30))
    before = points.copy()
    first, again, other = (BalancedKMeans(5, batch_size=32, random_state=s).fit(points) for s in (1, 1, 2))
    assert (first.labels_ == again.labels_).all()
    assert (first.cluster_centers_ != other.cluster_centers_).any()
    assert (points == before).all()


def test_errors_name_the_remedy() -> None:
    with pytest.raises(ParameterError, match="n_clusters is 0"):
        BalancedKMeans(0).fit(np.ones((3, 2)))
    with pytest.raises(DataError, match="more points or fewer clusters"):
        BalancedKMeans(4).fit(np.ones((3, 2)))
    with pytest.raises(NotFittedError, match="call fit"):
        BalancedKMeans(2).predict(np.ones((3, 2)))
