"""What a router was calibrated to keep: the promises that an artifact holds, and how a policy finds one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from routers.errors import ArtifactError, ParameterError

if TYPE_CHECKING:
    from routers.base import Router
    from routers.outline import Chooser

__all__ = ["Promise", "PromiseKind", "add_promise", "promised_setting", "promises_of"]

PromiseKind = Literal["max_drop", "max_large", "max_cost"]

_KEY = "promises"
_SLACK = 1e-9
_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Share = Annotated[float, Field(ge=0, le=1)]


class Promise(BaseModel):
    """One promise, and the evidence for it.

    Attributes:
        kind: "max_drop", a relative loss of quality against the reference; "max_large", a share of prompts to the
            dearest expert (of two, the large one); "max_cost", of 1,000 requests, in the currency of the data.
        limit: what is not exceeded.
        setting: "threshold" or "quality_cost".
        value: of the setting.
        confidence: that the promise is kept on new prompts.
        horizon: fewest new prompts, taken together, on which it is to be kept.
        n_prompts: calibration prompts.
        n_texts: different texts among them.
        measured: what the limit bounds, on the calibration prompts.
        bound: most that it can be, at this confidence.
        quality: mean quality on the calibration prompts.
        cost: mean cost of an answer there.
        cost_advantage: share of these prompts kept off the reference.
        without_margin: cost advantage of the setting that only these prompts themselves would allow.
        reference: the expert compared with.
        data_sha256: `RoutingData.content_hash` of the calibration prompts.
        experts: what the router chose from.
        n_adapted: how often the router had been adapted; after another time the promise is void.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: PromiseKind
    limit: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    setting: Literal["threshold", "quality_cost"]
    value: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    confidence: _Share
    horizon: Annotated[int, Field(ge=1)]
    n_prompts: Annotated[int, Field(ge=1)]
    n_texts: Annotated[int, Field(ge=1)]
    measured: _Finite
    bound: _Finite
    quality: _Finite
    cost: _Finite
    cost_advantage: _Share
    without_margin: _Share
    reference: str
    data_sha256: str
    experts: tuple[str, ...]
    n_adapted: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _threshold_is_a_score(self) -> Self:
        if self.setting == "threshold" and self.value > 1:
            raise ValueError("a threshold is at most 1")
        return self


def promises_of(router: Chooser) -> list[Promise]:
    """The promises that hold for the router as it is, in the order they were made.

    Raises:
        ArtifactError: what it holds are no promises.
    """
    held = router.summary_.get(_KEY, [])
    try:
        promises = [Promise.model_validate(fields) for fields in held]
    except (ValidationError, TypeError):
        raise ArtifactError("The router's promises cannot be read: calibrate it again.") from None
    return [promise for promise in promises if _stands(promise.experts, promise.n_adapted, router)]


def add_promise(router: Router, promise: Promise) -> None:
    """Keep a promise with the router, in the place of one of the same kind and limit and of void ones."""
    kept = [p for p in promises_of(router) if (p.kind, p.limit) != (promise.kind, promise.limit)]
    router.summary_ = {**router.summary_, _KEY: [p.model_dump(mode="json") for p in [*kept, promise]]}


def promised_setting(router: Chooser, max_drop: float) -> tuple[str, float]:
    """Name and value of the setting that keeps the quality drop within `max_drop`.

    It is that of the largest promised drop that is no larger. Fast, since every decision asks; `promises_of` checks.

    Raises:
        ParameterError: nothing as strict was promised.
    """
    best: dict[str, Any] | None = None
    limits = []
    for held in router.summary_.get(_KEY, ()):
        if held["kind"] != "max_drop" or not _stands(held["experts"], held["n_adapted"], router):
            continue
        limits.append(held["limit"])
        if held["limit"] <= max_drop + _SLACK and (best is None or held["limit"] > best["limit"]):
            best = held
    if best is not None:
        return best["setting"], best["value"]
    there = f"only promises {', '.join(f'{limit:g}' for limit in sorted(limits))}" if limits else "promises no drop yet"
    raise ParameterError(
        f"A max_quality_drop of {max_drop:g} needs a router calibrated to keep it, but this {router.name!r} "
        f"{there}: run `pointsman calibrate ARTIFACT DATA --max-drop {max_drop:g}`, or allow more."
    )


def _stands(experts: Any, n_adapted: Any, router: Chooser) -> bool:
    return tuple(experts) == router.experts_ and n_adapted == len(router.summary_.get("adapted", ()))
