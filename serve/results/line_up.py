"""Which routers take part in which study: the one place to change when a router is added."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from routers import Router, TwoModelRouter, make_router

__all__ = ["FAST_N", "FAST_TWO", "HELD_OUT", "HYBRID", "N_EXPERTS", "TWO_EXPERTS", "Entry"]


@dataclass(frozen=True)
class Entry:
    """A router of a study.

    Attributes:
        label: what tables call it.
        name: of the router.
        parameters: of the router.
    """

    label: str
    name: str
    parameters: dict[str, Any] = field(default_factory=dict)

    def make(self, pair: tuple[str, str], seed: int) -> Router:
        """The untrained router; one between two experts gets the pair (small, large)."""
        router = make_router(self.name, **self.parameters)
        if isinstance(router, TwoModelRouter):
            router.set_params(small=pair[0], large=pair[1])
        if "seed" in type(router).parameter_names() and "seed" not in self.parameters:
            router.set_params(seed=seed)
        return router


def _plain(*names: str) -> tuple[Entry, ...]:
    return tuple(Entry(name, name) for name in names)


_MEAN = {"method": "mean"}

TWO_EXPERTS = (Entry("ensemble (mean)", "ensemble", _MEAN), *_plain("linear", "forest", "poly-knn", "routellm-sw"))
"""For RouteLLM's sets."""
N_EXPERTS = (Entry("ensemble-n (mean)", "ensemble-n", _MEAN), *_plain("linear", "forest", "cluster-score"))
"""For pools of experts. A stack in place of the mean trains every member six times."""
FAST_TWO = _plain("linear", "poly-knn")
"""For studies that train many times."""
FAST_N = _plain("linear", "poly-knn")
"""The same, for pools."""
HELD_OUT = _plain("linear", "forest", "poly-knn")
"""For held-out domains."""
HYBRID = _plain("hybrid-det", "hybrid-prob", "hybrid-trans")
"""Hybrid LLM's r_det, r_prob and r_trans."""
