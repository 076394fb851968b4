"""What is promised, as a quantity of each prompt whose mean must not fall below 0."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routers.calibration.bounds import deviate, smallest
from routers.promises import PromiseKind

__all__ = ["Claim", "Labels"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Labels:
    """What is known of n prompts.

    Attributes:
        quality: (n, n_experts).
        cost: (n, n_experts) of an answer.
        text: (n,) number of each prompt's text; prompts of one text are one piece of evidence.
        reference: column of the expert that quality is compared with.
        dearest: column of the dearest expert; of two, the large one.
    """

    quality: FloatArray
    cost: FloatArray
    text: IntArray
    reference: int
    dearest: int

    def take(self, rows: IntArray) -> Labels:
        """The same for some of the prompts."""
        text = np.unique(self.text[rows], return_inverse=True)[1]
        return Labels(self.quality[rows], self.cost[rows], text, self.reference, self.dearest)


@dataclass(frozen=True)
class Claim:
    """sum(loss) <= limit x sum(base), for the choices of one setting.

    Attributes:
        loss: (n,) what is lost or spent on each prompt.
        base: (n,) what it is relative to.
        most: the most that can be lost or spent on one prompt; of costs, the dearest answer seen.
        text: (n,) number of each prompt's text.
    """

    loss: FloatArray
    base: FloatArray
    most: float
    text: IntArray

    @classmethod
    def of(cls, kind: PromiseKind, labels: Labels, chosen: IntArray) -> Claim:
        """The claim about these choices, (n,) columns of the experts; costs are per 1,000 requests."""
        rows, ones = np.arange(len(chosen)), np.ones(len(chosen))
        if kind == "max_drop":
            base = labels.quality[:, labels.reference]
            return cls(base - labels.quality[rows, chosen], base, 1.0, labels.text)
        if kind == "max_large":
            return cls((chosen == labels.dearest).astype(np.float64), ones, 1.0, labels.text)
        return cls(1000 * labels.cost[rows, chosen], ones, 1000 * float(labels.cost.max()), labels.text)

    @property
    def measured(self) -> float:
        """The ratio on these prompts."""
        base = float(self.base.sum())
        return float(self.loss.sum()) / base if base > 0 else 0.0

    def evidence(self, limit: float) -> float:
        """Normal deviate of the evidence that the ratio is at most `limit` on all prompts of the kind.

        Prompts of one text come together, as one observation of their sum. The worst observation is that of as many
        prompts as a prompt has of its text on average (the design effect of clusters, Kish 1965).
        """
        sums = np.bincount(self.text, weights=limit * self.base - self.loss).astype(np.float64)
        sizes = np.bincount(self.text)
        return deviate(sums, (limit - self.most) * float((sizes**2).sum() / sizes.sum()))

    def bound(self, required: float) -> float:
        """Smallest limit that the evidence allows to promise; at most `most`."""
        low = min(self.measured, self.most)
        return smallest(lambda limit: self.evidence(limit) >= required, low, self.most)
