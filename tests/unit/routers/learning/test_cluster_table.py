import numpy as np
import pytest

from routers import ArtifactError
from routers.learning.cluster_table import ClusterTable

CLUSTER = np.array([0, 0, 0, 1])
QUALITY = np.array([[1.0, 0.0], [1.0, 0.5], [0.4, 0.1], [0.2, 0.6]])
COST = np.array([[1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [3.0, 6.0]])


def table() -> ClusterTable:
    return ClusterTable.of(CLUSTER, QUALITY, COST, 2)


def test_means_by_hand() -> None:
    made = table()
    np.testing.assert_allclose(made.count, [[3, 3], [1, 1]])
    np.testing.assert_allclose(made.quality, [[0.8, 0.2], [0.2, 0.6]])
    np.testing.assert_allclose(made.ease, [0.5, 0.4])
    np.testing.assert_allclose(made.price, [1.5, 4.5])
    quality, cost, _ = made.estimates(0.0)
    np.testing.assert_allclose(quality, made.quality)
    np.testing.assert_allclose(cost, [[1, 2], [3, 6]])


def test_shrinkage_by_hand() -> None:
    # First expert: mean 0.65, usual ease (3 * 0.5 + 0.4) / 4 = 0.475; expected 0.675 and 0.575.
    quality, cost, variance = table().estimates(1.0)
    assert quality[:, 0].tolist() == pytest.approx([(3 * 0.8 + 0.675) / 4, (0.2 + 0.575) / 2])
    # Mean cost 1.5, usual price 2.25; expected 1.0 and 3.0, which is what was paid.
    assert cost[:, 0].tolist() == pytest.approx([1.0, 3.0])
    assert (variance[1] > variance[0]).all()


def test_a_new_expert_by_hand() -> None:
    # Two prompts, both in the first cluster, mean 0.75: in the second it is expected to lose 0.1 as the others do.
    made = table().with_expert(np.array([0, 0]), np.array([0.5, 1.0]), np.array([3.0, 3.0]))
    quality, cost, _ = made.estimates(0.0)
    assert quality[:, 2].tolist() == pytest.approx([0.75, 0.65])
    assert cost[:, 2].tolist() == pytest.approx([3.0, 9.0])
    before = table().estimates(0.0)
    np.testing.assert_array_equal(quality[:, :2], before[0])
    np.testing.assert_array_equal(cost[:, :2], before[1])
    assert made.overall()[0].tolist() == pytest.approx([0.65, 0.3, 0.725])
    np.testing.assert_array_equal(made.without_expert(2).quality, table().quality)


def test_further_prompts_join_the_means() -> None:
    made = table().with_prompts(np.array([1]), np.array([[1.0, 0.0]]), np.array([[5.0, 2.0]]))
    assert made.quality[1].tolist() == pytest.approx([0.6, 0.3])
    assert made.cost[1].tolist() == pytest.approx([4.0, 4.0])
    np.testing.assert_array_equal(made.quality[0], table().quality[0])
    np.testing.assert_array_equal(made.count, [[3, 3], [2, 2]])


def test_state_survives_and_is_checked() -> None:
    tensors = table().tensors()
    again = ClusterTable.restored(tensors, 2, 2)
    for name in ClusterTable.__slots__:
        np.testing.assert_array_equal(getattr(again, name), getattr(table(), name))
    with pytest.raises(ArtifactError, match="out of range"):
        ClusterTable.restored({**tensors, "table.quality": tensors["table.quality"] + 1}, 2, 2)
    with pytest.raises(ArtifactError, match="out of range"):
        ClusterTable.restored({**tensors, "table.count": tensors["table.count"] * 0}, 2, 2)
    with pytest.raises(ArtifactError, match=r"table\.cost"):
        ClusterTable.restored({**tensors, "table.cost": np.zeros((2, 3))}, 2, 2)
