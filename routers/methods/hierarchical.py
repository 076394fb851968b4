"""Routing in two stages: which cluster a prompt belongs to, then how difficult it is there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from routers.base import Prediction, Progress, Router, RouterState, TwoModelRouter
from routers.calibration import calibrate
from routers.clustered import ClusteringRouter
from routers.errors import ArtifactError, ParameterError
from routers.features import checked_tensor
from routers.learning.labels import relaxed_labels
from routers.methods.members import (
    CompositeRouter,
    MemberSpec,
    make_member,
    member_state,
    prompts_at,
    restore_members,
    share_of,
)

if TYPE_CHECKING:
    from routers.data import RoutingData

__all__ = ["HierarchicalRouter"]

_HELD_OUT = 0.3
"""Share of a cluster's prompts that its threshold is chosen on."""


class HierarchicalRouter(CompositeRouter):
    """Finds the cluster of a prompt, then asks that cluster's own two-model router how difficult the prompt is.

    It joins Expert Router's gateway (arXiv 2404.15153), which knows domains but not difficulty, with Hybrid LLM's
    router (arXiv 2404.14618), which knows difficulty but only two models: "hierarchical" is among the future work
    that the latter names. Neither paper describes the combination, so what follows is ours:

    1. The first stage is a trained clustering router; a prompt's cluster is its nearest centroid's.
    2. Every cluster has two experts: the large one, and as its specialist the other expert with the best mean
       quality on the training prompts of the cluster, of equals the cheaper.
    3. Between these two a two-model router is trained on the prompts of the cluster. A cluster with fewer than
       `min_prompts` of them, or in which all have the same label, has a constant score instead: the mean label.
    4. The large expert is chosen where the score is at least the cluster's threshold.

    Predicted qualities are the first stage's, and for the two experts of the cluster its two-model router's. Novelty is
    the first stage's. Confidence is the distance of the score from the threshold, over the largest that there can be.

    Args:
        large: id of the large expert; None: the dearest of the data, of equals the best.
        first: the first stage by its `name`, with its parameters beside it; None: `cluster`. Where it has a
            `fallback` and none is given, that is the large expert, so that there is a cluster for each other one.
        within: the two-model router of the clusters likewise, without `small` and `large`; None: `hybrid-trans`.
        threshold: score from which the large expert is chosen, in every cluster.
        max_drop: in place of a threshold: the relative loss of quality against the large expert that each cluster may
            have; its threshold is then chosen on 30 % of its prompts, by a router trained on the others
            as `pointsman calibrate` does it (`calibrate`), which with few prompts keeps to the large expert.
        min_prompts: fewest prompts that a cluster's router is trained on.
        seed: of what is held out, and of members without their own.

    Attributes:
        first_: the first stage.
        within_: the clusters' two-model routers; None where the score is constant.
        specialist_: (n_clusters,) index into `experts_` of the clusters' other experts.
        score_: (n_clusters,) float32, how likely the large expert is needed on average.
        thresholds_: (n_clusters,) float32.
        count_: (n_clusters,) training prompts.
    """

    name: ClassVar[str] = "hierarchical"
    paper: ClassVar[str] = "Hybrid LLM, arXiv 2404.14618 (its future work); Expert Router, arXiv 2404.15153"
    describes: ClassVar[str] = "The cluster of the prompt first, then how difficult it is for the cluster's expert."

    first_: ClusteringRouter
    within_: list[TwoModelRouter | None]

    def __init__(
        self,
        *,
        large: str | None = None,
        first: MemberSpec | None = None,
        within: MemberSpec | None = None,
        threshold: Annotated[float, Field(ge=0, le=1)] = 0.5,
        max_drop: Annotated[float, Field(ge=0, le=1)] | None = None,
        min_prompts: Annotated[int, Field(ge=1)] = 30,
        seed: Annotated[int, Field(ge=0, lt=2**32)] = 0,
    ) -> None:
        self.large = large
        self.first = first
        self.within = within
        self.threshold = threshold
        self.max_drop = max_drop
        self.min_prompts = min_prompts
        self.seed = seed

    @property
    def slow(self) -> bool:
        """Whether one of the two stages is."""
        return self.first_.slow or any(member is not None and member.slow for member in self.within_)

    @property
    def knows_novelty(self) -> bool:
        """Whether the first stage does."""
        return self.first_.knows_novelty

    def member_specs(self) -> Sequence[MemberSpec]:
        """The first stage, and the router of the clusters."""
        first = {"name": "cluster"} if self.first is None else self.first
        within = {"name": "hybrid-trans"} if self.within is None else self.within
        return [first, within]

    def _check_member(self, member: Router, spec: MemberSpec, place: int) -> None:
        if place == 0 and not isinstance(member, ClusteringRouter):
            raise ParameterError(
                f"The first stage must be a router that clusters, such as 'cluster', not {spec!r:.200}."
            )
        if place == 1 and (not isinstance(member, TwoModelRouter) or {"small", "large"} & set(spec)):
            raise ParameterError(
                f"Within clusters give a two-model router without 'small' and 'large', not {spec!r:.200}."
            )

    def _fallback(self, data: RoutingData) -> str:
        if self.large is not None and self.large not in data.experts:
            there = ", ".join(data.experts)
            raise ParameterError(f"large={self.large!r} is not an expert of the data: it has {there}.")
        cost, quality = data.cost().mean(axis=0), data.quality().mean(axis=0)
        return self.large or data.experts[int(np.lexsort((quality, cost))[-1])]

    def _fit(self, data: RoutingData, progress: Progress) -> None:
        self.first_ = self._unfitted_first()
        self.first_.fit(data, share_of(progress, 0.0, 0.3))
        n_clusters = len(self.first_.centers_)
        cluster = self._clusters(data)
        self.novelty_limit_ = self.first_.novelty_limit_
        self.count_ = np.bincount(cluster, minlength=n_clusters)
        self.specialist_ = np.zeros(n_clusters, dtype=np.int64)
        self.score_ = np.zeros(n_clusters, dtype=np.float32)
        self.thresholds_ = np.full(n_clusters, self.threshold, dtype=np.float32)
        self.within_ = []
        for c in range(n_clusters):
            watch = share_of(progress, 0.3 + 0.7 * c / n_clusters, 0.3 + 0.7 * (c + 1) / n_clusters)
            places = np.flatnonzero(cluster == c)
            self._fit_cluster(c, prompts_at(data, places) if len(places) else data, watch)
        self.summary_ = {
            "cluster_prompts": self.count_.tolist(),
            "cluster_experts": [self.experts_[i] for i in self.specialist_],
            "constant_clusters": [c for c, member in enumerate(self.within_) if member is None],
            "thresholds": self.thresholds_.tolist(),
        }
        progress("clusters", 1.0)

    def _fit_cluster(self, c: int, data: RoutingData, progress: Progress) -> None:
        self.specialist_[c] = self._specialist(data.quality().mean(axis=0))
        needed = self._needed(c, data)
        self.score_[c] = needed.mean()
        enough = self.count_[c] >= self.min_prompts and np.ptp(needed) > 0
        trained = bool(enough and self.experts_[self.specialist_[c]] != self.fallback_)
        if self.max_drop is not None:
            self.thresholds_[c] = self._threshold(c, data, self.max_drop, trained)
        self.within_.append(self._unfitted_within(c).fit(data, progress) if trained else None)

    def _specialist(self, quality: NDArray[np.float64]) -> int:
        large = self.experts_.index(self.fallback_)
        others = [i for i in range(len(self.experts_)) if i != large]
        return min(others, key=lambda i: (-quality[i], self.cost_[i]), default=large)

    def _needed(self, c: int, data: RoutingData) -> NDArray[np.float64]:
        """Pr[q(specialist) < q(large)] over pairs of samples, (n_prompts,)."""
        specialist = self.experts_[self.specialist_[c]]
        return 1 - relaxed_labels(data.samples(specialist), data.samples(self.fallback_))

    def _threshold(self, c: int, data: RoutingData, max_drop: float, trained: bool) -> float:
        """A threshold that keeps to `max_drop` on prompts that the cluster's router has not learned from."""
        number = {text: place for place, text in enumerate(dict.fromkeys(data.texts))}
        held = np.random.default_rng(self.seed).permutation(len(number)) < _HELD_OUT * len(number)
        out = np.array([held[number[text]] for text in data.texts])
        if trained and not out.all():
            member = self._unfitted_within(c).fit(prompts_at(data, np.flatnonzero(~out)))
            held_out = prompts_at(data, np.flatnonzero(out))
            return calibrate(member, held_out, "max_drop", max_drop, even_if_useless=True).value
        quality = data.quality().mean(axis=0)
        small, large = quality[self.specialist_[c]], quality[self.experts_.index(self.fallback_)]
        return 1.0 if large - small <= max_drop * large and self.score_[c] < 1 else 0.0

    def _adapt(self, data: RoutingData, progress: Progress) -> None:
        """The first stage adapts, and each cluster's router to the new prompts of the cluster.

        Constant scores become those of old and new prompts together. Pairs of experts and thresholds stay.
        """
        cluster = self._clusters(data)
        self.first_.adapt(data, share_of(progress, 0.0, 0.3))
        found = np.unique(cluster)
        for step, c in enumerate(found):
            part = prompts_at(data, np.flatnonzero(cluster == c))
            needed, member = self._needed(c, part), self.within_[c]
            total = self.count_[c] + len(needed)
            self.score_[c] = (self.score_[c] * self.count_[c] + needed.sum()) / total
            self.count_[c] = total
            if member is not None:
                member.adapt(
                    part, share_of(progress, 0.3 + 0.7 * step / len(found), 0.3 + 0.7 * (step + 1) / len(found))
                )
        progress("clusters", 1.0)

    def _predict(self, prompts: Sequence[str]) -> Prediction:
        said, cluster = self.first_.predict_with_clusters(prompts)
        parts = []
        for c, places in _by_cluster(cluster):
            member = self.within_[c]
            parts.append((c, places, None if member is None else member.predict([prompts[i] for i in places])))
        return self._decided(said, parts)

    async def _predict_async(self, prompts: Sequence[str]) -> Prediction:
        said, cluster = await self.first_.predict_with_clusters_async(prompts)
        parts = []
        for c, places in _by_cluster(cluster):
            member = self.within_[c]
            answer = None if member is None else await member.predict_async([prompts[i] for i in places])
            parts.append((c, places, answer))
        return self._decided(said, parts)

    def _decided(
        self, said: Prediction, parts: Sequence[tuple[int, NDArray[np.int64], Prediction | None]]
    ) -> Prediction:
        large = self.experts_.index(self.fallback_)
        quality = said.quality.copy()
        choice = np.empty(len(quality), dtype=np.int64)
        confidence = np.empty(len(quality), dtype=np.float32)
        for c, places, inner in parts:
            specialist, threshold = self.specialist_[c], self.thresholds_[c]
            score = np.full(len(places), self.score_[c])
            if inner is not None and inner.large_needed is not None:
                score = inner.large_needed
                quality[places[:, None], [specialist, large]] = inner.quality
            choice[places] = np.where(score >= threshold, large, specialist)
            confidence[places] = np.abs(score - threshold) / max(threshold, 1 - threshold)
        return Prediction(quality=quality, choice=choice, novelty=said.novelty, confidence=confidence)

    def _clusters(self, data: RoutingData) -> NDArray[np.int64]:
        return self.first_.assign(self.first_.features_.transform(data.inputs(self.first_.side)))

    def _unfitted_first(self) -> ClusteringRouter:
        defaults = {"seed": self.seed, "fallback": self.fallback_}
        return cast("ClusteringRouter", make_member(self.member_specs()[0], defaults))

    def _unfitted_within(self, c: int) -> TwoModelRouter:
        pair = {"small": self.experts_[self.specialist_[c]], "large": self.fallback_}
        return cast("TwoModelRouter", make_member(self.member_specs()[1], {"seed": self.seed, **pair}))

    def state(self) -> RouterState:
        """What was learned, for saving."""
        values, tensors = member_state([self.first_, *self.within_])
        tensors |= {
            "specialist": self.specialist_,
            "score": self.score_,
            "thresholds": self.thresholds_,
            "count": self.count_,
        }
        return RouterState(self.first_.features_.settings(), {"members": values}, tensors)

    def restore(self, state: RouterState) -> None:
        """Take what `state` gave.

        Raises:
            ArtifactError: a member or tensor is missing, damaged, or does not fit the others.
        """
        self.specialist_ = checked_tensor(state.tensors, "specialist", np.int64, (None,))
        shape = self.specialist_.shape
        self.score_ = checked_tensor(state.tensors, "score", np.float32, shape)
        self.thresholds_ = checked_tensor(state.tensors, "thresholds", np.float32, shape)
        self.count_ = checked_tensor(state.tensors, "count", np.int64, shape)
        ranges = ((self.specialist_, len(self.experts_) - 1), (self.score_, 1), (self.thresholds_, 1))
        if any((values < 0).any() or (values > most).any() for values, most in ranges) or (self.count_ < 0).any():
            raise ArtifactError("The hierarchical router's tables are out of range: train and save it again.")
        values = state.calibration.get("members")
        if not isinstance(values, list) or len(values) != shape[0] + 1:
            raise ArtifactError("The hierarchical router's members and clusters differ: train and save it again.")
        expected = [self._unfitted_within(c) if values[c + 1] is not None else None for c in range(shape[0])]
        first, *within = restore_members(values, state.tensors, [self._unfitted_first(), *expected])
        self._take(first, within)

    def _take(self, first: Any, within: list[Any]) -> None:
        pairs = [(self.experts_[i], self.fallback_) for i in self.specialist_]
        fits = all(member is None or member.experts_ == pair for member, pair in zip(within, pairs, strict=True))
        if first.experts_ != self.experts_ or len(first.centers_) != len(pairs) or not fits:
            raise ArtifactError("The hierarchical router's stages do not fit together: train and save it again.")
        self.first_, self.within_ = first, within


def _by_cluster(cluster: NDArray[np.int64]) -> list[tuple[int, NDArray[np.int64]]]:
    """The clusters that there are, and the places of their prompts."""
    return [(int(c), np.flatnonzero(cluster == c)) for c in np.unique(cluster)]
