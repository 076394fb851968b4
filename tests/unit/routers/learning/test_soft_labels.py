import numpy as np
import pytest

from routers import DataError, ParameterError
from routers.learning.soft_labels import soft_labels


def test_labels_by_hand() -> None:
    labels = soft_labels([[1.0, 0.0, 1.0], [0.3, 0.1, 0.2], [0.0, 0.0, 0.0]], 10.0)
    wrong = np.exp(-10.0)
    second = np.array([np.e**3, np.e, np.e**2])
    np.testing.assert_allclose(labels[0], np.array([1, wrong, 1]) / (2 + wrong))
    np.testing.assert_allclose(labels[1], second / second.sum())
    np.testing.assert_allclose(labels[2], 1 / 3)


def test_a_higher_temperature_is_sharper_and_does_not_overflow() -> None:
    soft, sharp = soft_labels([[1.0, 0.9]], 1.0), soft_labels([[1.0, 0.9]], 1e6)
    assert 0.5 < soft[0, 0] < 0.55
    assert sharp[0].tolist() == [1.0, 0.0]


@pytest.mark.parametrize("quality", [[1.0, 0.0], np.zeros((2, 0)), [[np.nan, 1.0]]])
def test_quality_must_be_a_finite_matrix(quality: object) -> None:
    with pytest.raises(DataError, match="finite matrix"):
        soft_labels(quality)  # type: ignore[arg-type]


@pytest.mark.parametrize("temperature", [0.0, -1.0, np.inf])
def test_temperature_must_be_positive(temperature: float) -> None:
    with pytest.raises(ParameterError, match="positive"):
        soft_labels([[1.0]], temperature)
