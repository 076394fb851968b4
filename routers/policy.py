"""From a router's prediction to a choice: which expert answers, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from routers.base import Prediction, Router
from routers.errors import ParameterError
from routers.outline import Chooser
from routers.promises import promised_setting, promises_of

__all__ = ["Decision", "Policy", "check_policy", "choose", "decide", "without_router"]

_TIE = 1e-6


class Policy(BaseModel):
    """What to make of a router's prediction; everything may be left out.

    Attributes:
        threshold: of two-model routers: a prompt goes to the large expert when its score is at least this. A higher
            threshold sends less to the large one. Left out: the threshold that the router was calibrated to.
        budget: most that an answer may cost on average, in the currency of the training data; dearer experts are
            left out.
        experts: the only experts allowed.
        novelty: novelty from which a prompt goes to the router's fallback expert (1.0: the edge of the training
            data). Left out: the router's own limit, if it has one.
        confidence: confidence in [0, 1] below which a prompt goes to the router's fallback expert (its scale is the
            method's own, see `Prediction`). Left out: never.
        quality_cost: choose by predicted quality - quality_cost x (cost / cost of the dearest expert), instead of
            the threshold or the router's own choice: how much quality the dearest answer must gain to be worth it.
        max_quality_drop: most relative loss of quality against the router's reference expert: the setting that the
            router was calibrated to keep it with (`pointsman calibrate`). It goes with no other key, since what was
            promised holds for the router's choices as they are.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    budget: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    experts: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    novelty: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    confidence: Annotated[float, Field(ge=0, le=1)] | None = None
    quality_cost: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    max_quality_drop: Annotated[float, Field(ge=0, le=1)] | None = None

    @classmethod
    def parse(cls, values: Any) -> Self:
        """A policy from JSON-like values.

        Raises:
            ParameterError: a key is unknown or a value is not allowed.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            key = str(first["loc"][0]) if first["loc"] else "policy"
            if first["type"] == "extra_forbidden":
                takes = ", ".join(cls.model_fields)
                raise ParameterError(f"A policy has no key {key!r}: it takes {takes}.") from None
            raise ParameterError(f"The policy's {key} is {first['input']!r}: {first['msg']}.") from None


@dataclass(frozen=True, slots=True)
class Decision:
    """Which expert answers a prompt, and why.

    Attributes:
        expert: id of the chosen expert.
        score: how likely the large expert is needed, or the chosen expert's predicted quality where there is no
            large one; in [0, 1]. None where the router has not been heard.
        threshold: threshold that the score was compared with; None where there is none.
        qualities: predicted quality by expert; empty where the router has not been heard.
        novelty: distance from the training data (1.0: its edge); None where the router cannot say.
        confidence: how sure the router is of its choice, in [0, 1]; None where it has not been heard.
        reason: in plain words.
        candidates: the experts that the policy allows, the chosen one among them.
    """

    expert: str
    score: float | None
    threshold: float | None
    qualities: dict[str, float]
    novelty: float | None
    confidence: float | None
    reason: str
    candidates: tuple[str, ...] = ()

    def alternatives(self) -> tuple[str, ...]:
        """The other allowed experts, those with the best predicted quality first, else as `candidates` has them."""
        others = [expert for expert in self.candidates if expert != self.expert]
        return tuple(sorted(others, key=lambda expert: -self.qualities.get(expert, 0.0)))


def check_policy(router: Chooser, policy: Policy) -> None:
    """See whether the policy can be followed with this router at all.

    Raises:
        ParameterError: it names experts that the router does not know, or settings that the router lacks, or leaves
            no expert to choose; or no such quality drop was promised.
        ArtifactError: the router's promises cannot be read.
        NotFittedError: the router has not been trained.
    """
    router.check_fitted()
    if policy.max_quality_drop is not None:
        _check_promise(router, policy, policy.max_quality_drop)
    if policy.threshold is not None and _own_threshold(router) is None:
        raise ParameterError(f"Router {router.name!r} has no threshold: leave 'threshold' out of the policy.")
    if policy.threshold is not None and policy.quality_cost is not None:
        raise ParameterError("A policy takes 'threshold' or 'quality_cost', not both: leave one out.")
    if policy.novelty is not None and not router.knows_novelty:
        raise ParameterError(f"Router {router.name!r} knows no novelty: leave 'novelty' out of the policy.")
    _candidates(router, policy)


def decide(router: Router, prompt: str, policy: Policy | None = None) -> Decision:
    """Choose the expert for one prompt, a text or a `Prompt` with side information.

    Raises:
        ParameterError: the policy cannot be followed with this router (see `check_policy`).
        NotFittedError: the router has not been trained.
    """
    policy = policy or Policy()
    check_policy(router, policy)
    return choose(router, router.predict([prompt]), 0, policy)


def choose(router: Chooser, prediction: Prediction, row: int, policy: Policy) -> Decision:
    """Choose the expert for one row of a prediction; the policy has been checked."""
    quality = prediction.quality[row]
    novelty = None if prediction.novelty is None else float(prediction.novelty[row])
    candidates = _candidates(router, policy)
    index, threshold, reason = _pick(router, prediction, row, policy, candidates)
    score = quality[index] if prediction.large_needed is None else prediction.large_needed[row]
    return Decision(
        expert=router.experts_[index],
        score=float(score),
        threshold=threshold,
        qualities=dict(zip(router.experts_, quality.tolist(), strict=True)),
        novelty=novelty,
        confidence=_confidence(prediction, row),
        reason=reason,
        candidates=_named(router, candidates),
    )


def without_router(router: Chooser, policy: Policy, reason: str) -> Decision:
    """What to do with a prompt of which the router could not say anything; the policy has been checked.

    The router's fallback expert answers, or the dearest that the policy leaves where it leaves the fallback out.
    """
    dearest_first = sorted(_candidates(router, policy), key=lambda i: -router.cost_[i])
    fallback = router.experts_.index(router.fallback_)
    index = fallback if fallback in dearest_first else dearest_first[0]
    return Decision(
        router.experts_[index], None, None, {}, None, None, reason, candidates=_named(router, dearest_first)
    )


def _check_promise(router: Chooser, policy: Policy, max_drop: float) -> None:
    others = policy.model_dump(exclude_none=True).keys() - {"max_quality_drop"}
    if others:
        raise ParameterError(
            f"A policy takes 'max_quality_drop' without {min(others)!r}, since the promise was made "
            "without it: leave one out."
        )
    promises_of(router)
    promised_setting(router, max_drop)


def _candidates(router: Chooser, policy: Policy) -> list[int]:
    """Indices of the experts that the policy leaves."""
    if policy.experts is None and policy.budget is None:
        return list(range(len(router.experts_)))
    allowed = router.experts_ if policy.experts is None else policy.experts
    for expert in allowed:
        if expert not in router.experts_:
            known = ", ".join(router.experts_)
            raise ParameterError(f"Expert {expert!r} is unknown to router {router.name!r}: it knows {known}.")
    left = [i for i, expert in enumerate(router.experts_) if expert in allowed]
    if policy.budget is None:
        return left
    affordable = [i for i in left if router.cost_[i] <= policy.budget]
    if not affordable:
        cheapest = min(left, key=lambda i: router.cost_[i])
        raise ParameterError(
            f"A budget of {policy.budget:g} is below the cheapest allowed expert: "
            f"{router.experts_[cheapest]!r} costs {router.cost_[cheapest]:.3g} an answer."
        )
    return affordable


def _named(router: Chooser, indices: list[int]) -> tuple[str, ...]:
    return tuple(router.experts_[index] for index in indices)


def _pick(
    router: Chooser, prediction: Prediction, row: int, policy: Policy, candidates: list[int]
) -> tuple[int, float | None, str]:
    """Index of the chosen expert, the threshold used, and the reason."""
    if len(candidates) == 1 and len(router.experts_) > 1:
        return candidates[0], None, "the only expert that the policy leaves"
    limit = router.novelty_limit_ if policy.novelty is None else policy.novelty
    fallback = router.experts_.index(router.fallback_)
    if limit is not None and prediction.novelty is not None and fallback in candidates:
        novelty = float(prediction.novelty[row])
        if novelty > limit:
            return fallback, None, f"novelty {novelty:.3f} is above {limit:g}: unlike the training prompts"
    if policy.confidence is not None and fallback in candidates:
        confidence = _confidence(prediction, row)
        if confidence < policy.confidence:
            return fallback, None, f"confidence {confidence:.3f} is below {policy.confidence:g}"
    threshold, quality_cost = _setting(router, policy)
    if quality_cost is not None:
        return _best_trade(router, prediction, row, quality_cost, candidates)
    if threshold is not None and prediction.large_needed is not None:
        score = float(prediction.large_needed[row])
        large = score >= threshold
        reason = f"score {score:.3f} is {'at least' if large else 'below'} the threshold {threshold:g}"
        return int(large), threshold, reason
    if prediction.choice is not None and int(prediction.choice[row]) in candidates:
        return int(prediction.choice[row]), None, "the router's choice for prompts like this"
    return _best_trade(router, prediction, row, 0.0, candidates)


def _setting(router: Chooser, policy: Policy) -> tuple[float | None, float | None]:
    """Threshold and quality_cost to choose by: the policy's, those of its promise, or the router's own."""
    if policy.max_quality_drop is not None:
        name, value = promised_setting(router, policy.max_quality_drop)
        return (value, None) if name == "threshold" else (None, value)
    own = _own_threshold(router)
    return own if policy.threshold is None else policy.threshold, policy.quality_cost


def _own_threshold(router: Chooser) -> float | None:
    """The threshold of a two-model router; None for others."""
    return getattr(router, "threshold_", None)


def _confidence(prediction: Prediction, row: int) -> float:
    return 1.0 if prediction.confidence is None else float(prediction.confidence[row])


def _best_trade(
    router: Chooser, prediction: Prediction, row: int, quality_cost: float, candidates: list[int]
) -> tuple[int, float | None, str]:
    """The candidate with the best predicted quality less the worth of its cost; the cheaper of equals."""
    cost = router.cost_[candidates]
    dearest = router.cost_.max()
    value = prediction.quality[row, candidates] - quality_cost * cost / (dearest or 1.0)
    best = np.flatnonzero(value >= value.max() - _TIE)
    index = candidates[int(best[cost[best].argmin()])]
    what = "best predicted quality" if not quality_cost else f"best predicted quality at quality_cost {quality_cost:g}"
    return index, None, what
