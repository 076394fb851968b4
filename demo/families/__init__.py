"""The twelve skill families of the exam, three in each of four domains."""

from __future__ import annotations

from demo.families import arithmetic, calendar, conversion, letters
from demo.families.base import LEVELS, Family, Task

__all__ = ["DOMAINS", "FAMILIES", "LEVELS", "Family", "Task"]

FAMILIES: tuple[Family, ...] = (
    *arithmetic.FAMILIES,
    *letters.FAMILIES,
    *calendar.FAMILIES,
    *conversion.FAMILIES,
)
DOMAINS: tuple[str, ...] = tuple(dict.fromkeys(family.domain for family in FAMILIES))
