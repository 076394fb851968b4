"""How good and how dear a router's choices are on labelled prompts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from routers.base import Router, TwoModelRouter, check_complete
from routers.errors import ParameterError
from routers.policy import Policy, check_policy, choose

if TYPE_CHECKING:
    from routers.data import RoutingData

__all__ = ["Outcome", "evaluate"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a policy did on labelled prompts.

    Attributes:
        n_prompts: number of prompts.
        quality: mean quality of the chosen experts' answers, over all their samples.
        cost: mean cost of an answer.
        reference: the expert that everything is compared with.
        quality_drop: relative loss of quality against sending everything to the reference.
        cost_advantage: share of prompts kept off the reference.
        shares: share of prompts by expert.
    """

    n_prompts: int
    quality: float
    cost: float
    reference: str
    quality_drop: float
    cost_advantage: float
    shares: dict[str, float]


def evaluate(
    router: Router, data: RoutingData, policy: Policy | None = None, *, reference: str | None = None
) -> Outcome:
    """Let the router choose for every prompt of the data, under the policy.

    Args:
        router: a trained router; the data needs an answer of each of its experts to every prompt.
        data: labelled prompts.
        policy: what to make of the predictions.
        reference: expert to compare with; None: the large one of a two-model router, else the dearest.

    Raises:
        DataError: an answer is missing.
        ParameterError: the policy cannot be followed with this router, or it does not know the reference.
    """
    policy = policy or Policy()
    check_policy(router, policy)
    if reference is None:
        large = isinstance(router, TwoModelRouter)
        reference = router.fallback_ if large else router.experts_[int(router.cost_.argmax())]
    if reference not in router.experts_:
        known = ", ".join(router.experts_)
        raise ParameterError(f"The reference {reference!r} is unknown to the router: it knows {known}.")
    quality, cost = _labels(router, data)
    prediction = router.predict(_inputs(router, data))
    chosen = [choose(router, prediction, row, policy).expert for row in range(len(quality))]
    column = np.array([router.experts_.index(expert) for expert in chosen])
    rows = np.arange(len(column))
    compared = router.experts_.index(reference)
    return Outcome(
        n_prompts=len(column),
        quality=float(quality[rows, column].mean()),
        cost=float(cost[rows, column].mean()),
        reference=reference,
        quality_drop=float(_drop(quality[rows, column].mean(), quality[:, compared].mean())),
        cost_advantage=float((column != compared).mean()),
        shares={expert: float((column == i).mean()) for i, expert in enumerate(router.experts_)},
    )


def _inputs(router: Router, data: RoutingData) -> list[str]:
    """The prompts, with the side information that the router reads."""
    return data.inputs(getattr(router, "side", None))


def _labels(router: Router, data: RoutingData) -> tuple[FloatArray, FloatArray]:
    """Quality and cost of the router's experts, (n_prompts, n_experts) each."""
    router.check_fitted()
    mine = data.select(router.experts_)
    check_complete(mine)
    return mine.quality(), mine.cost()


def _drop(quality: FloatArray, reference: FloatArray) -> FloatArray:
    drop: FloatArray = (reference - quality) / np.maximum(reference, np.finfo(float).tiny)
    return drop
