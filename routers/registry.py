"""The routers there are, by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from routers.base import Router
from routers.errors import ParameterError
from routers.methods.baselines import ConstantRouter, LengthRouter, RandomRouter
from routers.methods.best_route import BestRouteRouter
from routers.methods.cluster import ClusterRouter
from routers.methods.cluster_score import ClusterScoreRouter
from routers.methods.ensemble import EnsembleNRouter, EnsembleRouter
from routers.methods.forest import ForestRouter
from routers.methods.hierarchical import HierarchicalRouter
from routers.methods.hybrid import HybridDetRouter, HybridProbRouter, HybridTransRouter
from routers.methods.linear import LinearRouter
from routers.methods.poly_bert import PolyBertRouter
from routers.methods.poly_knn import PolyKnnRouter
from routers.methods.poly_mlp import PolyMlpRouter
from routers.methods.routellm_bert import RouteLLMBertRouter
from routers.methods.routellm_causal import RouteLLMCausalRouter
from routers.methods.routellm_mf import MatrixFactorizationRouter
from routers.methods.routellm_sw import SimilarityWeightedRouter

__all__ = ["RouterInfo", "list_routers", "make_router"]

_CLASSES: tuple[type[Router], ...] = (
    BestRouteRouter,
    ClusterRouter,
    ClusterScoreRouter,
    ConstantRouter,
    EnsembleRouter,
    EnsembleNRouter,
    ForestRouter,
    HierarchicalRouter,
    HybridDetRouter,
    HybridProbRouter,
    HybridTransRouter,
    LengthRouter,
    LinearRouter,
    PolyBertRouter,
    PolyKnnRouter,
    PolyMlpRouter,
    RandomRouter,
    RouteLLMBertRouter,
    RouteLLMCausalRouter,
    MatrixFactorizationRouter,
    SimilarityWeightedRouter,
)
_ROUTERS: dict[str, type[Router]] = {cls.name: cls for cls in _CLASSES}


@dataclass(frozen=True, slots=True)
class RouterInfo:
    """What there is to know of a router before training it.

    Attributes:
        name: what `make_router` and the command line call it.
        paper: where the method is from.
        experts: "two" (a small and a large one) or "n".
        needs: packages or files beyond the base installation; empty for none.
        summary: what it does, in one sentence.
        parameters: names of its parameters.
    """

    name: str
    paper: str
    experts: Literal["two", "n"]
    needs: tuple[str, ...]
    summary: str
    parameters: tuple[str, ...]


def list_routers() -> list[RouterInfo]:
    """Every router, in alphabetical order."""
    return [
        RouterInfo(name, cls.paper, cls.n_models, cls.needs, cls.describes, cls.parameter_names())
        for name, cls in sorted(_ROUTERS.items())
    ]


def make_router(name: str, **params: Any) -> Router:
    """An untrained router.

    Raises:
        ParameterError: there is no such router, or a parameter is unknown, of the wrong type or out of range.
    """
    if name not in _ROUTERS:
        raise ParameterError(f"There is no router {name!r}: choose one of {', '.join(sorted(_ROUTERS))}.")
    cls = _ROUTERS[name]
    router = cls().set_params(**params)
    router.check_params()
    return router
