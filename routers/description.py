"""What a trained router is, as JSON values and tensors: what an artifact holds of it, and a router of its members."""

from __future__ import annotations

from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from routers.base import Router, RouterState, TwoModelRouter
from routers.errors import ArtifactError

__all__ = ["AGAIN", "Calibration", "Description", "describe", "rebuild"]

AGAIN = "train and save the router again"
"""The remedy for every damaged or outdated artifact."""

Tensors = dict[str, NDArray[Any]]


class Calibration(BaseModel):
    """What turns a router's scores into choices.

    Attributes:
        threshold: of two-model routers, `threshold_`; None for others.
        novelty_limit: `novelty_limit_`.
        learned: what else the method says of it, `RouterState.calibration`.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    threshold: Annotated[float, Field(ge=0, le=1)] | None
    novelty_limit: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None
    learned: dict[str, Any]


class Description(BaseModel):
    """A trained router but for its tensors."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    parameters: dict[str, Any]
    experts: Annotated[list[str], Field(min_length=1)]
    cost: list[Annotated[float, Field(ge=0, allow_inf_nan=False)]]
    fallback: str
    features: dict[str, Any]
    calibration: Calibration
    training_data_sha256: str
    summary: dict[str, Any]

    @classmethod
    def parse(cls, values: Any) -> Self:
        """The values, if they have this form; unknown keys are refused.

        Raises:
            ArtifactError: they have not.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"]))
            raise ArtifactError(f"its description is wrong at {key!r} ({first['msg']}): {AGAIN}.") from None


def describe(router: Router) -> tuple[dict[str, Any], Tensors]:
    """What `rebuild` makes the router from: values that `Description` takes, and its tensors by name.

    Raises:
        NotFittedError: the router has not been trained.
    """
    router.check_fitted()
    state = router.state()
    fields = {
        "name": router.name,
        "parameters": router.get_params(),
        "experts": list(router.experts_),
        "cost": router.cost_.tolist(),
        "fallback": router.fallback_,
        "features": state.features,
        "calibration": {
            "threshold": router.threshold_ if isinstance(router, TwoModelRouter) else None,
            "novelty_limit": router.novelty_limit_,
            "learned": state.calibration,
        },
        "training_data_sha256": router.data_hash_,
        "summary": router.summary_,
    }
    return fields, {name: np.ascontiguousarray(tensor) for name, tensor in state.tensors.items()}


def rebuild(described: Description, tensors: Tensors) -> Router:
    """The trained router that was described.

    Raises:
        ParameterError: there is no such router, or a parameter is unknown, of the wrong type or out of range.
        ArtifactError: the values or tensors do not fit together.
    """
    from routers.registry import make_router

    router = make_router(described.name, **described.parameters)
    experts = described.experts
    fits = len(set(experts)) == len(experts) == len(described.cost) and described.fallback in experts
    if not fits:
        raise ArtifactError(f"The router's experts, costs and fallback do not fit together: {AGAIN}.")
    if isinstance(router, TwoModelRouter):
        if described.calibration.threshold is None or len(experts) != 2:
            raise ArtifactError(f"A two-model router needs a threshold and two experts: {AGAIN}.")
        router.threshold_ = described.calibration.threshold
    router.experts_ = tuple(experts)
    router.cost_ = np.array(described.cost)
    router.fallback_ = described.fallback
    router.novelty_limit_ = described.calibration.novelty_limit
    router.data_hash_ = described.training_data_sha256
    router.summary_ = described.summary
    router.restore(RouterState(described.features, described.calibration.learned, tensors))
    return router
