"""Choosing a setting so that what it promises holds on prompts that nobody has seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from routers.base import Router, TwoModelRouter, check_complete
from routers.calibration.bounds import required_deviate
from routers.calibration.claims import Claim, Labels
from routers.calibration.settings import Scored, SettingName
from routers.errors import ParameterError
from routers.promises import Promise, PromiseKind

if TYPE_CHECKING:
    from routers.data import RoutingData

__all__ = ["Point", "calibrate", "certified", "labels_of", "least_drop", "measure", "pick", "within_sample"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Point:
    """What one setting does on labelled prompts.

    Attributes:
        value: of the setting.
        claim: what is promised of it.
        quality: mean quality.
        cost: mean cost of an answer.
        cost_advantage: share of prompts kept off the reference.
    """

    value: float
    claim: Claim
    quality: float
    cost: float
    cost_advantage: float


def calibrate(
    router: Router,
    data: RoutingData,
    kind: PromiseKind,
    limit: float,
    *,
    confidence: float = 0.95,
    horizon: int | None = None,
    even_if_useless: bool = False,
) -> Promise:
    """Choose the setting that saves most, or is best, among those that certainly keep within a limit.

    Learn then Test (Angelopoulos et al. 2021, arXiv 2110.01052) with fixed-sequence testing: the settings are tested
    one after the other from the safe end, each at the full confidence, until the first for which the evidence
    (`deviate`) does not suffice. All before it keep the promise together with that confidence, so choosing the best of
    them costs nothing, unlike taking the best of many settings that each look good, as Hybrid LLM does. Safe is, for a
    quality drop, the reference alone (of two experts) or the best predicted one; for a share or cost, as little as
    possible to the dear experts.

    Of a quality drop the chosen setting keeps most prompts off the large expert, or is the cheapest of a router with
    more experts; of a share or a cost it is the best on these prompts. The reference of a drop is the router's fallback
    expert: the large one of two, the best in training of more.

    Args:
        router: a trained router.
        data: labelled prompts that it has not learned from, with an answer of each of its experts.
        kind: what is limited.
        limit: the limit; of "max_cost" for 1,000 requests.
        confidence: that the promise is kept.
        horizon: fewest new prompts, taken together, on which it is to be kept; None: as many as there are here.
        even_if_useless: whether a drop may be promised by a setting that keeps nothing off the reference.

    Raises:
        ParameterError: the limit cannot be promised on this data.
        DataError: an answer is missing.
    """
    if limit < 0 or (kind != "max_cost" and limit > 1):
        raise ParameterError(f"The limit of {kind} is {limit:g}: give a number from 0 {'on' if limit < 0 else 'to 1'}.")
    labels = labels_of(router, data)
    n = len(labels.quality)
    required = required_deviate(confidence, n, horizon)
    points = measure(kind, Scored.by(router, router.predict(data.inputs(getattr(router, "side", None)))), labels)
    kept = certified(points, limit, required)
    useful = kept and (kind != "max_drop" or even_if_useless or any(p.cost_advantage > 0 for p in kept))
    if not useful:
        raise ParameterError(_refusal(router, kind, limit, points, labels, required, confidence))
    name: SettingName = "threshold" if isinstance(router, TwoModelRouter) else "quality_cost"
    chosen, plain = pick(kind, name, kept), within_sample(kind, name, points, limit)
    return Promise(
        kind=kind,
        limit=limit,
        setting=name,
        value=chosen.value,
        confidence=confidence,
        horizon=horizon or n,
        bound=chosen.claim.bound(required),
        without_margin=plain.cost_advantage,
        **_noted(router, data, labels, chosen),
    )


def _noted(router: Router, data: RoutingData, labels: Labels, chosen: Point) -> dict[str, Any]:
    """What a promise says of its evidence."""
    return {
        "n_prompts": len(labels.quality),
        "n_texts": int(labels.text.max()) + 1,
        "measured": chosen.claim.measured,
        "quality": chosen.quality,
        "cost": chosen.cost,
        "cost_advantage": chosen.cost_advantage,
        "reference": router.experts_[labels.reference],
        "data_sha256": data.select(router.experts_).content_hash(),
        "experts": router.experts_,
        "n_adapted": len(router.summary_.get("adapted", ())),
    }


def labels_of(router: Router, data: RoutingData) -> Labels:
    """Labels of the router's experts.

    Raises:
        NotFittedError: the router has not been trained.
        DataError: an answer is missing.
    """
    router.check_fitted()
    mine = data.select(router.experts_)
    check_complete(mine)
    text = np.unique(np.array(mine.texts, dtype=object), return_inverse=True)[1]
    reference = router.experts_.index(router.fallback_)
    dearest = reference if isinstance(router, TwoModelRouter) else int(router.cost_.argmax())
    return Labels(mine.quality(), mine.cost(), text, reference, dearest)


def measure(kind: PromiseKind, scored: Scored, labels: Labels) -> list[Point]:
    """What the settings do on labelled prompts, from the safe end on."""
    grid = scored.grid()
    return [_point(kind, scored, labels, float(value)) for value in (grid if kind == "max_drop" else grid[::-1])]


def _point(kind: PromiseKind, scored: Scored, labels: Labels, value: float) -> Point:
    chosen = scored.choices(value)
    rows = np.arange(len(chosen))
    return Point(
        value,
        Claim.of(kind, labels, chosen),
        float(labels.quality[rows, chosen].mean()),
        float(labels.cost[rows, chosen].mean()),
        float((chosen != labels.reference).mean()),
    )


def certified(points: Sequence[Point], limit: float, required: float) -> list[Point]:
    """The settings that keep the promise, from the safe end to the first that lacks evidence.

    The reference alone loses nothing against itself, which needs no evidence.
    """
    kept = []
    for point in points:
        is_reference = point.cost_advantage == 0 and not point.claim.loss.any()
        if not is_reference and point.claim.evidence(limit) < required:
            break
        kept.append(point)
    return kept


def pick(kind: PromiseKind, name: str, kept: Sequence[Point]) -> Point:
    """The point to take among those that keep the promise."""
    if kind != "max_drop":
        return max(kept, key=lambda p: (p.quality, -p.cost, -p.value))
    if name == "threshold":
        return max(kept, key=lambda p: (p.cost_advantage, -p.value))
    return max(kept, key=lambda p: (-p.cost, p.quality, -p.value))


def within_sample(kind: PromiseKind, name: str, points: Sequence[Point], limit: float) -> Point:
    """What would be chosen without a margin: by the labelled prompts alone, as Hybrid LLM does."""
    within = [point for point in points if point.claim.measured <= limit]
    return pick(kind, name, within or points[:1])


def least_drop(labels: Labels, required: float) -> float:
    """Smallest quality drop that these prompts could promise of a router that loses nothing on any of them."""
    base = labels.quality[:, labels.reference]
    return Claim(np.zeros(len(base)), base, 1.0, labels.text).bound(required)


def _refusal(
    router: Router,
    kind: PromiseKind,
    limit: float,
    points: Sequence[Point],
    labels: Labels,
    required: float,
    confidence: float,
) -> str:
    n, sure = len(labels.quality), f"{confidence:.0%} confidence"
    if kind != "max_drop":
        bound = points[0].claim.bound(required)
        asked, shown = (
            ("share to the dearest expert", f"{bound:.2%}") if kind == "max_large" else ("cost", f"{bound:.4g}")
        )
        return (
            f"A {asked} of at most {limit:g} cannot be promised with {sure}: even the most sparing setting may come to "
            f"{shown}, by {n} prompts; allow that, or calibrate on more prompts."
        )
    least = least_drop(labels, required)
    if least > limit:
        needed = f"about {int(np.ceil(n * least / limit)):,} prompts" if limit > 0 else "no number of prompts is enough"
        return (
            f"A quality drop of at most {limit:.2%} cannot be promised with {sure} on {n:,} prompts, which promise "
            f"{least:.2%} at best: calibrate on more ({needed}), allow a larger drop, or lower the confidence."
        )
    first = next((p for p in points if p.cost_advantage > 0), points[0])
    return (
        f"At a quality drop of at most {limit:.2%} nothing can be kept off {router.experts_[labels.reference]!r} with "
        f"{sure}: the first step of this router may already lose {first.claim.bound(required):.2%}; allow that much, "
        f"calibrate on more than {n:,} prompts, or train a better router."
    )
