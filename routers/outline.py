"""What a policy needs to know of a trained router: all but what predicts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from routers.base import Router

__all__ = ["Chooser", "Outline"]


@dataclass(frozen=True, slots=True)
class Outline:
    """A trained router without its weights, for a process that gets the predictions from elsewhere.

    A policy chooses with it as with the router itself. Attributes that a `Router` has too mean the same.

    Attributes:
        side: names of the side information that the router reads.
    """

    name: str
    experts_: tuple[str, ...]
    cost_: NDArray[np.float64]
    fallback_: str
    novelty_limit_: float | None
    threshold_: float | None
    summary_: dict[str, Any]
    knows_novelty: bool
    side: tuple[str, ...]
    slow: bool = True

    @classmethod
    def of(cls, router: Router) -> Self:
        """The outline of a trained router.

        Raises:
            NotFittedError: the router has not been trained.
        """
        router.check_fitted()
        return cls(
            router.name,
            router.experts_,
            router.cost_,
            router.fallback_,
            router.novelty_limit_,
            getattr(router, "threshold_", None),
            router.summary_,
            router.knows_novelty,
            tuple(getattr(router, "side", None) or ()),
            router.slow,
        )

    def check_fitted(self) -> None:
        """Only trained routers have an outline."""


Chooser = Router | Outline
"""What a policy chooses with."""
