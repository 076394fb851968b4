"""Several routers as one: the mean of their predictions, or a model stacked on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from routers.base import Prediction, Router, TwoModelRouter
from routers.errors import ParameterError
from routers.learning.labels import relaxed_labels
from routers.methods.combining import CombiningRouter, FloatArray, Members, Weights, agreement
from routers.methods.members import MemberSpec

if TYPE_CHECKING:
    from routers.data import RoutingData

__all__ = ["EnsembleNRouter", "EnsembleRouter"]


class EnsembleRouter(CombiningRouter, TwoModelRouter):
    """Several routers between the same two experts, averaged or stacked.

    What is combined is how likely the large expert is needed, and the predicted quality of both. Members for any
    number of experts may take part: what they say of the large one is made of their two qualities: (1 + q_L - q_S) / 2,
    or q_L (1 - q_S) for label="needed"; so much is it, for answers that are right or wrong independently of each other.

    Scores of different methods differ in scale, which a mean takes as they are and a stack evens out.

    Args:
        small: id of the small expert; None: the cheapest of the data.
        large: id of the large expert; None: the dearest of the data.
        members: routers by name, with their parameters beside it, but `small` and `large`; None: `linear`, `forest` and
            `poly-knn`, which read single words, topic with size, and similar prompts.
        method: "mean" or "stack".
        weights: of the members in the mean; None: equal ones.
        label: what a stack learns: "gap" for (1 + q_L - q_S) / 2 of mean qualities, which sorts prompts by what the
            large expert gains, also counting where it loses, and is 0.5 where both are equally good; or "needed" for
            Pr[q_S < q_L] over pairs of samples, as `hybrid-prob` does.
        C: inverse strength of the penalty that holds the stack near the mean.
        folds: parts of the data for held-out predictions.
        group: side information, such as the domain, whose values are held out as a whole; None: any prompts are.
        seed: of the folds, and of members without their own.

    Attributes:
        members_: the trained members.
        stacker_: the model stacked on them; None for a mean, or where there are fewer than 20 different texts.
    """

    name: ClassVar[str] = "ensemble"
    paper: ClassVar[str] = "Stacked generalization, Wolpert, Neural Networks 5, 1992"
    describes: ClassVar[str] = "The mean of several two-model routers, or a regression stacked on them."
    defaults: ClassVar[tuple[str, ...]] = ("linear", "forest", "poly-knn")

    def __init__(
        self,
        *,
        small: str | None = None,
        large: str | None = None,
        members: Members | None = None,
        method: Literal["mean", "stack"] = "stack",
        weights: Weights | None = None,
        label: Literal["needed", "gap"] = "gap",
        C: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0,
        folds: Annotated[int, Field(ge=2, le=20)] = 5,
        group: str | None = None,
        seed: Annotated[int, Field(ge=0, lt=2**32)] = 0,
    ) -> None:
        self.small = small
        self.large = large
        self.members = members
        self.method = method
        self.weights = weights
        self.label = label
        self.C = C
        self.folds = folds
        self.group = group
        self.seed = seed

    def _check_member(self, member: Router, spec: MemberSpec, place: int) -> None:
        if isinstance(member, TwoModelRouter) and {"small", "large"} & set(spec):
            raise ParameterError("The ensemble says which experts are small and large: leave them out of its members.")

    def _unfitted(self) -> list[Router]:
        members = super()._unfitted()
        for member in members:
            if isinstance(member, TwoModelRouter):
                member.set_params(small=self.small_, large=self.large_)
        return members

    def _targets(self, data: RoutingData) -> NDArray[np.float64]:
        quality = data.quality()
        if self.label == "gap":
            needed = (1 + quality[:, 1] - quality[:, 0]) / 2
        else:
            needed = 1 - relaxed_labels(data.samples(self.small_), data.samples(self.large_))
        return np.column_stack([needed, quality])

    def _set_threshold(self, data: RoutingData, held_out: FloatArray | None) -> None:
        """A gap of 0 (a score of 0.5) means equal answers, whatever they cost: half the prompts go to the large one."""
        if self.label == "gap":
            scores = self._predict(data.inputs(self.side)).large_needed if held_out is None else held_out[:, 0]
            self.threshold_ = float(np.clip(np.median(np.asarray(scores)), 0.0, 1.0))

    def _outputs(self, members: Sequence[Router], predictions: Sequence[Prediction]) -> FloatArray:
        quality = self._qualities(members, predictions)
        small, large = quality[:, :, 0], quality[:, :, 1]
        needed = (1 + large - small) / 2 if self.label == "gap" else large * (1 - small)
        for place, said in enumerate(predictions):
            if said.large_needed is not None:
                needed[:, place] = said.large_needed
        return np.concatenate([needed[:, :, None], quality], axis=2)

    def _as_prediction(self, combined: FloatArray, outputs: FloatArray, novelty: FloatArray | None) -> Prediction:
        return Prediction(
            quality=combined[:, 1:],
            large_needed=combined[:, 0],
            novelty=novelty,
            confidence=agreement(outputs[:, :, 0], self._weights()),
        )


class EnsembleNRouter(CombiningRouter):
    """Several routers between any number of experts, averaged or stacked.

    What is combined is the predicted quality of each expert. Members may be two-model routers: they take part for
    their two experts, whose ids are parameters of theirs. The choice is the best quality, whatever members choose
    by.

    Args:
        members: routers by name, with their parameters beside it; None: `linear`, `forest` and `poly-knn`.
        method: "mean" or "stack".
        weights: of the members in the mean; None: equal ones.
        C: inverse strength of the penalty that holds the stack near the mean.
        folds: parts of the data for held-out predictions.
        group: side information, such as the domain, whose values are held out as a whole; None: any prompts are.
        seed: of the folds, and of members without their own.

    Attributes:
        members_: the trained members.
        stacker_: the model stacked on them; None for a mean, or where there are fewer than 20 different texts.
    """

    name: ClassVar[str] = "ensemble-n"
    paper: ClassVar[str] = "Stacked generalization, Wolpert, Neural Networks 5, 1992"
    describes: ClassVar[str] = "The mean of several routers' predicted qualities, or a regression stacked on them."
    defaults: ClassVar[tuple[str, ...]] = ("linear", "forest", "poly-knn")

    def __init__(
        self,
        *,
        members: Members | None = None,
        method: Literal["mean", "stack"] = "stack",
        weights: Weights | None = None,
        C: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0,
        folds: Annotated[int, Field(ge=2, le=20)] = 5,
        group: str | None = None,
        seed: Annotated[int, Field(ge=0, lt=2**32)] = 0,
    ) -> None:
        self.members = members
        self.method = method
        self.weights = weights
        self.C = C
        self.folds = folds
        self.group = group
        self.seed = seed

    def _check_member(self, member: Router, spec: MemberSpec, place: int) -> None:
        """Every router can say something of its experts."""

    def _targets(self, data: RoutingData) -> NDArray[np.float64]:
        return data.quality()

    def _outputs(self, members: Sequence[Router], predictions: Sequence[Prediction]) -> FloatArray:
        return self._qualities(members, predictions)

    def _as_prediction(self, combined: FloatArray, outputs: FloatArray, novelty: FloatArray | None) -> Prediction:
        best = combined.argmax(axis=1) if len(combined) else np.zeros(0, dtype=np.int64)
        deciding = np.take_along_axis(outputs, best[:, None, None], axis=2)[:, :, 0]
        return Prediction(quality=combined, novelty=novelty, confidence=agreement(deciding, self._weights()))
