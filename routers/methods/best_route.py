"""BEST-Route (arXiv 2506.22716): the cheapest expert, or best of n of one, that is good enough for this prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from routers.answers.pairs import held_out_texts, text_codes
from routers.base import Prediction, Progress, RouterState
from routers.errors import ArtifactError, ParameterError
from routers.featured import FeatureRouter
from routers.features import FeatureSpec, Rows
from routers.learning.heads import HeadSettings, ProbabilityHead
from routers.learning.labels import relaxed_labels

if TYPE_CHECKING:
    from routers.data import RoutingData

__all__ = ["BestRouteRouter"]

FloatArray = NDArray[np.float64]

_FEWEST_PROMPTS = 20
_UNCALIBRATED = 0.5
_GRID = np.linspace(0.0, 1.0, 101)


class BestRouteRouter(FeatureRouter):
    """Predicts of every arm whether its answer is as good as the reference expert's, and takes the cheapest that is.

    An arm is an expert, or the best of n answers of one as a ranker picks it: `with_arms` derives such arms from
    recorded answers, as experts of the routing data. Each arm has an output of its own for p, the probability that
    q(arm) >= q(reference) - t over all pairs of their samples. The choice is the cheapest arm with p at least the
    threshold, and the reference expert where there is none. Arms that cost more than the reference on average are never
    chosen by themselves. Beyond the paper the same head also predicts every arm's mean quality, by which policies weigh
    quality against cost, and choose where they leave out what the router would take.

    The threshold is what the paper sweeps. Left out, it is the cheapest that loses at most `max_drop` on held-out
    prompts, chosen with a head that has not learned from them; that is no promise for other prompts (`pointsman
    calibrate` makes one).

    Confidence is the chosen arm's p, or for the reference how likely it is that the likeliest arm would not do.

    What differs from the paper: the outputs are heads on features of the prompt, not on a shared DeBERTa; an arm's cost
    is its mean in the training data, not an estimate for the prompt; and which answers make an arm is the ranker's
    matter, who need not be a reward model.

    Args:
        reference: the expert that others are held against, and that answers where none will do; None: the best of the
            data on average.
        threshold: least p of an arm that is good enough; None: chosen.
        max_drop: with a threshold that is chosen: the relative loss of quality against the reference that it may cost.
        t: quality that an arm may fall behind, as Hybrid LLM relaxes it.
        features: which features the heads read.
        side: names of the side information to read beside the text.
        head: "linear" or "mlp" (needs torch).
        hidden: hidden units of the MLP.
        max_epochs: most passes of the MLP over the data.
        C: inverse strength of the linear head's L2 penalty.
        folds: parts for calibration and early stopping.
        held_out: share of the prompts that a threshold is chosen on; with fewer than 20 prompts, or a share of 0, it is
            1/2.
        seed: of held-out prompts, folds, initial weights and shuffles.

    Attributes:
        head_: the trained heads: p of every arm, then the quality of every arm.
        least_: the threshold that is used.
    """

    name: ClassVar[str] = "best-route"
    paper: ClassVar[str] = "BEST-Route, arXiv 2506.22716"
    describes: ClassVar[str] = "The cheapest expert, or best of several answers of one, that is likely good enough."

    head_: ProbabilityHead
    least_: float

    def __init__(
        self,
        *,
        reference: str | None = None,
        threshold: Annotated[float, Field(ge=0, le=1)] | None = None,
        max_drop: Annotated[float, Field(ge=0, le=1)] = 0.01,
        t: Annotated[float, Field(ge=0, le=1)] = 0.0,
        features: FeatureSpec = "tfidf",
        side: list[str] | None = None,
        head: Literal["linear", "mlp"] = "linear",
        hidden: Annotated[int, Field(ge=1, le=4096)] = 64,
        max_epochs: Annotated[int, Field(ge=1, le=10_000)] = 40,
        C: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 3.0,
        folds: Annotated[int, Field(ge=2, le=20)] = 5,
        held_out: Annotated[float, Field(ge=0, le=0.5)] = 0.2,
        seed: Annotated[int, Field(ge=0, lt=2**32)] = 0,
    ) -> None:
        self.reference = reference
        self.threshold = threshold
        self.max_drop = max_drop
        self.t = t
        self.features = features
        self.side = side
        self.head = head
        self.hidden = hidden
        self.max_epochs = max_epochs
        self.C = C
        self.folds = folds
        self.held_out = held_out
        self.seed = seed

    @property
    def reference_(self) -> str:
        """The expert that others are held against, which is also the one for prompts unlike the data."""
        return self.fallback_

    def _fallback(self, data: RoutingData) -> str:
        if self.reference is None:
            return super()._fallback(data)
        if self.reference not in data.experts:
            there = ", ".join(data.experts)
            raise ParameterError(f"reference={self.reference!r} is not an expert of the data: it has {there}.")
        return self.reference

    def _fit(self, data: RoutingData, progress: Progress) -> None:
        progress("labels", 0.0)
        rows, targets = self._learn_features(data), self._targets(data)
        self.least_ = _UNCALIBRATED if self.threshold is None else self.threshold
        held = held_out_texts(text_codes(data.texts), self.held_out, self.seed)
        chosen = self.threshold is None and len(held) >= _FEWEST_PROMPTS and held.any()
        if chosen:
            kept, out = np.flatnonzero(~held), np.flatnonzero(held)
            head = self._trained(rows[kept], targets[kept], lambda doing, share: progress(doing, share / 2))
            self.least_ = self._cheapest_within(head.predict(rows[out]), data.quality()[out])
        start = 0.5 if chosen else 0.0
        self.head_ = self._trained(rows, targets, lambda doing, share: progress(doing, start + (1 - start) * share))
        self.summary_ = {
            "reference": self.reference_,
            "threshold": self.least_,
            "mean_label": dict(zip(self.experts_, targets[:, : len(self.experts_)].mean(axis=0).tolist(), strict=True)),
            "training_prompts": len(targets),
        }

    def _adapt(self, data: RoutingData, progress: Progress) -> None:
        """The heads go on from what they know (`ProbabilityHead.adapt`); the threshold stays."""
        self.head_.adapt(self._rows_of(data), self._targets(data), self._settings(), progress)

    def _targets(self, data: RoutingData) -> FloatArray:
        """Labels p of every arm, then every arm's mean quality, (n_prompts, 2 n_arms)."""
        reference = data.samples(self.reference_)
        labels = [relaxed_labels(data.samples(arm), reference, self.t) for arm in self.experts_]
        return np.column_stack([*labels, data.quality()])

    def _trained(self, rows: Rows, targets: FloatArray, progress: Progress) -> ProbabilityHead:
        return ProbabilityHead().fit(rows, targets, self._settings(), progress)

    def _settings(self) -> HeadSettings:
        return HeadSettings(
            kind=self.head,
            hidden=self.hidden,
            max_epochs=self.max_epochs,
            C=self.C,
            folds=self.folds,
            seed=self.seed,
        )

    def _cheapest_within(self, outputs: NDArray[np.float32], quality: FloatArray) -> float:
        """The threshold with the least mean cost whose loss against the reference stays within `max_drop`."""
        rows, best, least = np.arange(len(quality)), 1.0, np.inf
        wanted = (1 - self.max_drop) * quality[:, self.experts_.index(self.reference_)].mean()
        for threshold in _GRID:
            choice = self._choices(outputs, float(threshold))
            cost = float(self.cost_[choice].mean())
            if quality[rows, choice].mean() >= wanted - 1e-9 and cost < least:
                best, least = float(threshold), cost
        return round(best, 2)

    def _choices(self, outputs: NDArray[np.float32], threshold: float) -> NDArray[np.int64]:
        """The cheapest arm that is good enough, (n,)."""
        reference = self.experts_.index(self.reference_)
        by_cost = [arm for arm in np.argsort(self.cost_, kind="stable") if self._may_replace(arm, reference)]
        good = np.column_stack([outputs[:, by_cost] >= threshold, np.ones(len(outputs), dtype=np.bool_)])
        choice: NDArray[np.int64] = np.array([*by_cost, reference], dtype=np.int64)[good.argmax(axis=1)]
        return choice

    def _may_replace(self, arm: int, reference: int) -> bool:
        return arm != reference and bool(self.cost_[arm] <= self.cost_[reference])

    def _predict_rows(self, rows: Rows) -> Prediction:
        outputs, n_arms = self.head_.predict(rows), len(self.experts_)
        choice, reference = self._choices(outputs, self.least_), self.experts_.index(self.reference_)
        others = [arm for arm in range(n_arms) if self._may_replace(arm, reference)]
        likeliest = outputs[:, others].max(axis=1, initial=0.0)
        taken = outputs[np.arange(len(outputs)), choice]
        confidence = np.where(choice == reference, 1 - likeliest, taken).astype(np.float32)
        return Prediction(quality=outputs[:, n_arms:], choice=choice, confidence=confidence)

    def state(self) -> RouterState:
        """What was learned, for saving."""
        return self._feature_state({"method": "platt", "threshold": self.least_}, self.head_.tensors())

    def restore(self, state: RouterState) -> None:
        """Take what `state` gave.

        Raises:
            ArtifactError: a value or tensor is missing or of the wrong type, shape or range.
        """
        self.least_ = state.number("threshold")
        if not 0 <= self.least_ <= 1:
            raise ArtifactError("The router's threshold is not between 0 and 1: train and save the router again.")
        n_features = self._restore_features(state)
        self.head_ = ProbabilityHead().restore(state.tensors, n_features, 2 * len(self.experts_))
