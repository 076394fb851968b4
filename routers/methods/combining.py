"""Combining what several routers predict: their mean, or a regression stacked on it."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from routers.base import Prediction, Progress, Router, RouterState, TwoModelRouter
from routers.errors import ArtifactError, DataError, ParameterError
from routers.learning.heads import ProbabilityHead
from routers.learning.stacking import equal_weights, stacked
from routers.methods.members import (
    CompositeRouter,
    MemberSpec,
    copy_of,
    make_member,
    member_state,
    prompts_at,
    restore_members,
    share_of,
)
from routers.prompt import side_of

if TYPE_CHECKING:
    from routers.data import RoutingData

__all__ = ["CombiningRouter", "FloatArray", "Members", "Weights", "agreement"]

FloatArray = NDArray[np.float32]
Members = Annotated[list[MemberSpec], Field(min_length=2, max_length=32)]
Weights = Annotated[list[Annotated[float, Field(ge=0, allow_inf_nan=False)]], Field(min_length=2)]

_LEAST = 1e-3
"""Predictions are kept this far from 0 and 1 before their logits are taken."""

_FEWEST_TEXTS = 20
"""With fewer different texts than this nothing is stacked: the members' mean stands in."""


class CombiningRouter(CompositeRouter):
    """What ensembles share; they differ in which predictions of the members there are to combine.

    Members predict `n_outputs` numbers in [0, 1] each, NaN where a member knows nothing of it.

    "mean" is their weighted mean. "stack" is stacked generalization (Wolpert, Neural Networks 5, 1992): every
    training prompt is predicted by members that were trained without it, and each output becomes a logistic regression
    on the logits of what the members predict of this output, with weights of at least 0 that start from the mean
    (`stacked`). Prompts of the same text fall in the same fold, and with `group` prompts that have the same value of
    this side information do: then members are judged on groups that they have not seen, and those get weight that
    carry over to others. The members that are kept learn from all prompts.

    Confidence is 1 - 2 s, s being the standard deviation of the members' predictions of what decides.
    """

    members: list[MemberSpec] | None
    method: str
    weights: list[float] | None
    C: float
    folds: int
    group: str | None
    seed: int

    defaults: ClassVar[tuple[str, ...]]

    members_: list[Router]
    known_: NDArray[np.bool_]
    stacker_: ProbabilityHead | None

    @property
    def slow(self) -> bool:
        """Whether one of the members is."""
        return any(member.slow for member in self.members_)

    @property
    def knows_novelty(self) -> bool:
        """Whether one of the members says how far a prompt is from the training data."""
        return any(member.knows_novelty for member in self.members_)

    def member_specs(self) -> Sequence[MemberSpec]:
        """The members, or those that stand in where none are given."""
        return [{"name": name} for name in self.defaults] if self.members is None else self.members

    def check_params(self) -> None:
        """Compare parameters with the constructor's annotations, those of the members included.

        Raises:
            ParameterError: a value is of the wrong type or out of range, weights do not fit, or members nest too deep
                or are too many.
        """
        super().check_params()
        if self.weights is None:
            return
        if self.method != "mean":
            raise ParameterError("Weights are for method='mean', a stack learns its own: leave 'weights' out.")
        if len(self.weights) != len(self.member_specs()) or not any(self.weights):
            raise ParameterError("Give each member one weight, not all of them 0.")

    def _fit(self, data: RoutingData, progress: Progress) -> None:
        fold = self._folds(data)
        end = 1.0 if fold is None else 1 / (int(fold.max()) + 2)
        self.members_, self.stacker_ = [], None
        self.members_ = self._trained(data, share_of(progress, 0.0, end))
        self._check_coverage()
        scores = None
        if fold is not None:
            held_out = self._held_out(data, fold, self._trained, share_of(progress, end, 1.0))
            self.stacker_ = stacked(held_out, self._targets(data), equal_weights(self._reads()), self.C)
            scores = self.stacker_.predict(held_out)
        self._set_threshold(data, scores)
        self.summary_ = {"members": [member.name for member in self.members_], "stacked": fold is not None}
        progress("members", 1.0)

    def _set_threshold(self, data: RoutingData, held_out: FloatArray | None) -> None:
        """Choose a first threshold, where there is one, from what a stack says of prompts held out from it."""

    def _adapt(self, data: RoutingData, progress: Progress) -> None:
        """Every member adapts, and a stack to what members that adapted without a prompt say of it, as in training.

        Its weights are held near the old ones, and those of 0 stay 0; all stay where the new prompts have fewer than
        20 different texts, or of `group` fewer than two values.
        """
        fold = None if self.stacker_ is None else self._folds(data)
        start = 0.0
        if self.stacker_ is not None and fold is not None:
            start = 1 - 1 / (int(fold.max()) + 2)
            held_out = self._held_out(data, fold, self._adapted_copies, share_of(progress, 0.0, start))
            self.stacker_ = stacked(held_out, self._targets(data), self.stacker_.layers, self.C)
        self._adapt_all(self.members_, data, share_of(progress, start, 1.0))
        progress("members", 1.0)

    def _folds(self, data: RoutingData) -> NDArray[np.int64] | None:
        if self.method != "stack":
            return None
        if self.group is None:
            return _folds_by_text(data.texts, self.folds, self.seed)
        groups = [side_of(prompt).get(self.group) for prompt in data.inputs([self.group])]
        if all(value is None for value in groups):
            raise DataError(f"No prompt of the data has the side information {self.group!r}: leave 'group' out.")
        return _folds_by_group(data.texts, groups, self.folds)

    def _held_out(
        self,
        data: RoutingData,
        fold: NDArray[np.int64],
        learn: Callable[[RoutingData, Progress], list[Router]],
        progress: Progress,
    ) -> FloatArray:
        """Inputs of the stack for each prompt, from members that learned without its fold."""
        n_folds = int(fold.max()) + 1
        held_out = np.empty((len(fold), int(self.known_.sum())), dtype=np.float32)
        for k in range(n_folds):
            rest, part = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
            members = learn(prompts_at(data, rest), share_of(progress, k / n_folds, (k + 1) / n_folds))
            held_out[part] = self._logits(self._outputs(members, _asked(members, prompts_at(data, part))))
        return held_out

    def _predict(self, prompts: Sequence[str]) -> Prediction:
        return self._combined([member.predict(prompts) for member in self.members_])

    async def _predict_async(self, prompts: Sequence[str]) -> Prediction:
        return self._combined(await asyncio.gather(*(member.predict_async(prompts) for member in self.members_)))

    def _combined(self, predictions: Sequence[Prediction]) -> Prediction:
        outputs = self._outputs(self.members_, predictions)
        if self.stacker_ is None:
            combined = _mean(outputs, self._weights())
        else:
            combined = self.stacker_.predict(self._logits(outputs))
        known = [said.novelty for said in predictions if said.novelty is not None]
        novelty = np.stack(known).mean(axis=0) if known else None
        return self._as_prediction(np.clip(combined, 0.0, 1.0), outputs, novelty)

    @abstractmethod
    def _targets(self, data: RoutingData) -> NDArray[np.float64]:
        """What the outputs should be, (n_prompts, n_outputs)."""

    @abstractmethod
    def _outputs(self, members: Sequence[Router], predictions: Sequence[Prediction]) -> FloatArray:
        """What the members predict, (n_prompts, n_members, n_outputs)."""

    @abstractmethod
    def _as_prediction(self, combined: FloatArray, outputs: FloatArray, novelty: FloatArray | None) -> Prediction:
        """The prediction that combined outputs (n_prompts, n_outputs) stand for."""

    def _qualities(self, members: Sequence[Router], predictions: Sequence[Prediction]) -> FloatArray:
        """Predicted qualities (n_prompts, n_members, n_experts), NaN where a member does not know the expert."""
        out = np.full((len(predictions[0].quality), len(members), len(self.experts_)), np.nan, dtype=np.float32)
        for place, (member, said) in enumerate(zip(members, predictions, strict=True)):
            out[:, place, [self.experts_.index(expert) for expert in member.experts_]] = said.quality
        return out

    def _logits(self, outputs: FloatArray) -> FloatArray:
        """Inputs of the stack, (n_prompts, n_inputs); which predictions there are is the same for every prompt."""
        kept = np.clip(outputs[:, self.known_], _LEAST, 1 - _LEAST)
        logits: FloatArray = np.log(kept / (1 - kept)).astype(np.float32)
        return logits

    def _reads(self) -> NDArray[np.bool_]:
        """Which inputs of the stack each output reads, (n_inputs, n_outputs): the members' predictions of itself."""
        output = np.nonzero(self.known_)[1]
        reads: NDArray[np.bool_] = output[:, None] == np.arange(self.known_.shape[1])
        return reads

    def _check_coverage(self) -> None:
        """Learn which members say something of which output, and see whether together they know all experts."""
        nothing = [Prediction(np.zeros((1, len(m.experts_)), np.float32)) for m in self.members_]
        self.known_ = np.isfinite(self._outputs(self.members_, nothing)[0])
        asked = self.known_[self._weights() > 0][:, -len(self.experts_) :].any(axis=0)
        if not asked.all():
            expert = self.experts_[int(asked.argmin())]
            raise ParameterError(f"No member says how good expert {expert!r} is: add a member for any number of them.")

    def _weights(self) -> FloatArray:
        return np.array(self.weights or [1.0] * len(self.member_specs()), dtype=np.float32)

    def _unfitted(self) -> list[Router]:
        return [make_member(spec, {"seed": self.seed}) for spec in self.member_specs()]

    def _trained(self, data: RoutingData, progress: Progress) -> list[Router]:
        """Members that learned from the data; between the same two experts as those that there are, if any."""
        members = self._unfitted()
        for member, other in zip(members, self.members_, strict=False):
            if isinstance(other, TwoModelRouter):
                member.set_params(small=other.small_, large=other.large_)
        for place, member in enumerate(members):
            member.fit(data, share_of(progress, place / len(members), (place + 1) / len(members)))
        return members

    def _adapted_copies(self, data: RoutingData, progress: Progress) -> list[Router]:
        members = [copy_of(member) for member in self.members_]
        self._adapt_all(members, data, progress)
        return members

    def _adapt_all(self, members: Sequence[Router], data: RoutingData, progress: Progress) -> None:
        for place, member in enumerate(members):
            member.adapt(data, share_of(progress, place / len(members), (place + 1) / len(members)))

    def state(self) -> RouterState:
        """What was learned, for saving."""
        values, tensors = member_state(self.members_)
        if self.stacker_ is not None:
            tensors |= {f"stack.{name}": tensor for name, tensor in self.stacker_.tensors().items()}
        return RouterState({}, {"members": values, "stacked": self.stacker_ is not None}, tensors)

    def restore(self, state: RouterState) -> None:
        """Take what `state` gave.

        Raises:
            ArtifactError: a member or tensor is missing, damaged, or does not fit the others.
        """
        saved = state.calibration.get("members")
        if self.members is None:
            self.members = _other_members(saved, self.defaults)
        members = restore_members(saved, state.tensors, self._unfitted())
        self.members_ = cast("list[Router]", members)
        for member in self.members_:
            if not set(member.experts_) <= set(self.experts_):
                raise ArtifactError("A member of the router file has other experts: train and save the router again.")
        self._check_coverage()
        stacked = state.calibration.get("stacked")
        if not isinstance(stacked, bool) or (stacked and self.method != "stack"):
            raise ArtifactError("The router file does not say how members are combined: train and save it again.")
        self.stacker_ = None
        if stacked:
            own = {name.removeprefix("stack."): t for name, t in state.tensors.items() if name.startswith("stack.")}
            self.stacker_ = ProbabilityHead().restore(own, int(self.known_.sum()), self.known_.shape[1])


def _other_members(saved: object, names: Sequence[str]) -> list[MemberSpec] | None:
    """The members of a file from when others stood in for those not given; None where they are today's."""
    if not isinstance(saved, list) or not all(isinstance(fields, dict) for fields in saved):
        return None
    if [fields.get("name") for fields in saved] == list(names):
        return None
    given = ({**dict(fields.get("parameters") or {}), "name": fields.get("name")} for fields in saved)
    return [{key: value for key, value in spec.items() if key not in ("small", "large")} for spec in given]


def _asked(members: Sequence[Router], data: RoutingData) -> list[Prediction]:
    """What members say of the prompts of the data, each with the side information that it reads."""
    return [member.predict(data.inputs(getattr(member, "side", None))) for member in members]


def _mean(values: FloatArray, weights: FloatArray) -> FloatArray:
    """Weighted mean over members, (n, n_members, ...), of those that know."""
    known = np.isfinite(values)
    share = known * weights.reshape(1, -1, *[1] * (values.ndim - 2))
    mean: FloatArray = (np.where(known, values, 0.0) * share).sum(axis=1) / share.sum(axis=1)
    return mean


def agreement(values: FloatArray, weights: FloatArray) -> FloatArray:
    """1 - 2 s, (n,) in [0, 1], s being the weighted standard deviation over members, (n, n_members)."""
    deviation = np.sqrt(_mean((values - _mean(values, weights)[:, None]) ** 2, weights))
    agreement: FloatArray = np.clip(1 - 2 * deviation, 0.0, 1.0).astype(np.float32)
    return agreement


def _folds_by_text(texts: Sequence[str], most_folds: int, seed: int) -> NDArray[np.int64] | None:
    """The fold of each text, (n_texts,), the same for equal texts; None where there are too few."""
    number = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    if len(number) < _FEWEST_TEXTS:
        return None
    fold = np.random.default_rng(seed).permutation(len(number)) % most_folds
    return np.array([fold[number[text]] for text in texts], dtype=np.int64)


def _folds_by_group(texts: Sequence[str], groups: Sequence[object], most_folds: int) -> NDArray[np.int64] | None:
    """The fold of each text, (n_texts,), the same for equal groups, of about equal sizes; None where there are too few.

    A text that is in several groups counts for the first of them, so that no text is in two folds.
    """
    first: dict[str, object] = {}
    of = [first.setdefault(text, group) for text, group in zip(texts, groups, strict=True)]
    sizes = Counter(of)
    if len(first) < _FEWEST_TEXTS or len(sizes) < 2:
        return None
    filled = [0] * min(most_folds, len(sizes))
    fold: dict[object, int] = {}
    for group, size in sizes.most_common():
        fold[group] = filled.index(min(filled))
        filled[fold[group]] += size
    return np.array([fold[group] for group in of], dtype=np.int64)
