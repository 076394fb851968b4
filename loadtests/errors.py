"""What can go wrong with a load test."""

from __future__ import annotations

from routers.errors import PointsmanError

__all__ = ["LoadTestError"]


class LoadTestError(PointsmanError):
    """A load test cannot be run as it was asked for."""
