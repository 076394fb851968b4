"""How often Python looks for garbage in a process that has many requests under way."""

from __future__ import annotations

import gc

__all__ = ["collect_seldom"]

_NEW_OBJECTS = 50_000


def collect_seldom() -> None:
    """Make this process look for unreachable cycles after 50,000 new objects, which Python does after 700.

    A thousand requests under way are some hundred thousand objects. All are alive, and Python would go through them
    again and again, which is among the largest costs of a Router and of an engine's server.
    """
    gc.set_threshold(_NEW_OBJECTS, *gc.get_threshold()[1:])
