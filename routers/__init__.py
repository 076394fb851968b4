"""Learned routers: which expert should answer a prompt. No Ray and no HTTP; a notebook can use it alone."""

from routers.balanced import BalancedKMeans
from routers.errors import ArtifactError, DataError, NotFittedError, ParameterError, PointsmanError
from routers.features import ClusterFeatures, TfidfFeatures

__all__ = [
    "ArtifactError",
    "BalancedKMeans",
    "ClusterFeatures",
    "DataError",
    "NotFittedError",
    "ParameterError",
    "PointsmanError",
    "TfidfFeatures",
]
