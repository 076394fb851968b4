"""Calibration: settings whose promises hold on prompts that nobody has seen. docs/calibration.md explains it."""

from routers.calibration.choosing import calibrate
from routers.calibration.study import StudyRow, study

__all__ = ["StudyRow", "calibrate", "study"]
