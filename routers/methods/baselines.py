"""Routers that read next to nothing of a prompt: what a learned router has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from routers.base import Prediction, Progress, Router, RouterState, TwoModelRouter
from routers.errors import ArtifactError, ParameterError
from routers.features import checked_tensor
from routers.learning.labels import relaxed_labels
from routers.learning.line import LogisticLine, fit_line

if TYPE_CHECKING:
    from routers.data import RoutingData

__all__ = ["ConstantRouter", "LengthRouter", "RandomRouter"]

_SCORE_BITS = 24
"""As many as a float32 holds exactly, so that no score rounds to 1."""
_SLOPES = (0.1, 3.0)
"""Flatter, and a sweep of thresholds could not tell lengths apart; steeper, and long prompts would all score 1.0."""
_ADAPT_STRENGTH = 10.0
"""What was learned counts as much as about 40 further prompts (each informs by p (1 - p), at most 1/4)."""


class MeanQualityRouter(Router):
    """Predicts for every prompt the mean quality of each expert.

    Attributes:
        quality_: (n_experts,) float32, mean quality of each expert.
        count_: number of prompts that the means are over.
    """

    learns: ClassVar[bool] = False

    quality_: NDArray[np.float32]
    count_: int

    def _fit(self, data: RoutingData, progress: Progress) -> None:
        progress("means", 0.0)
        self.quality_ = data.quality().mean(axis=0).astype(np.float32)
        self.count_ = len(data.texts)
        self._summarise()
        progress("means", 1.0)

    def _adapt(self, data: RoutingData, progress: Progress) -> None:
        """Means become those over old and new prompts together."""
        new = data.quality()
        total = self.count_ + len(new)
        self.quality_ = ((self.quality_ * self.count_ + new.sum(axis=0)) / total).astype(np.float32)
        self.count_ = total
        self._summarise()
        progress("means", 1.0)

    def _summarise(self) -> None:
        means = dict(zip(self.experts_, self.quality_.tolist(), strict=True))
        self.summary_ = {**self.summary_, "training_prompts": self.count_, "mean_quality": means}

    def _same_for_all(self, n: int) -> NDArray[np.float32]:
        return np.tile(self.quality_, (n, 1))

    def state(self) -> RouterState:
        """What was learned, for saving."""
        return RouterState({}, {"count": self.count_}, {"quality": self.quality_})

    def restore(self, state: RouterState) -> None:
        """Take what `state` gave.

        Raises:
            ArtifactError: a value or tensor is missing or of the wrong type, shape or range.
        """
        self.count_ = int(state.number("count"))
        self.quality_ = checked_tensor(state.tensors, "quality", np.float32, (len(self.experts_),))
        if self.count_ < 1 or (self.quality_ < 0).any() or (self.quality_ > 1).any():
            raise ArtifactError("The router's mean qualities are out of range: train and save it again.")


class RandomRouter(MeanQualityRouter, TwoModelRouter):
    """Sends prompts to the large expert at random.

    The score is uniform in [0, 1), as RouteLLM's random router has it (its public code), so every threshold t sends
    the share 1 - t of prompts to the large expert, and a sweep of thresholds draws the straight line between the two
    single models: random at any matched cost. That is why it chooses between two models also where the data has more
    (the cheapest and the dearest unless named): shares over more than two experts would give one point instead of a
    line, and whatever mixture of experts has the same cost, RouterBench's hull of the single models does as well.

    Unlike RouteLLM's the score is a hash of the prompt's text and the seed, so that the same prompt always goes the
    same way, in every replica, and nothing needs to be stored.

    Args:
        small: id of the small expert; None: the cheapest of the data.
        large: id of the large expert; None: the dearest of the data.
        large_share: share of prompts that the threshold it is trained with sends to the large expert.
        seed: another seed sends other prompts there.
    """

    name: ClassVar[str] = "random"
    paper: ClassVar[str] = "RouteLLM, arXiv 2406.18665 (its baseline)"
    describes: ClassVar[str] = "A coin: the large model for a given share of prompts, whatever they say."

    def __init__(
        self,
        *,
        small: str | None = None,
        large: str | None = None,
        large_share: Annotated[float, Field(ge=0, le=1)] = 0.5,
        seed: Annotated[int, Field(ge=0, lt=2**32)] = 0,
    ) -> None:
        self.small = small
        self.large = large
        self.large_share = large_share
        self.seed = seed

    def _fit(self, data: RoutingData, progress: Progress) -> None:
        super()._fit(data, progress)
        self.threshold_ = 1.0 - self.large_share
        self.summary_["chooses"] = "at random, whatever the prompt says; predicted qualities are the experts' means"

    def _predict(self, prompts: Sequence[str]) -> Prediction:
        n = len(prompts)
        score = np.fromiter((_uniform(text, self.seed) for text in prompts), dtype=np.float32, count=n)
        return Prediction(self._same_for_all(n), large_needed=score, confidence=np.zeros(n, dtype=np.float32))


class ConstantRouter(MeanQualityRouter):
    """Sends every prompt to one expert.

    With a policy's `quality_cost` it chooses by the experts' mean qualities and costs instead: then it is RouterBench's
    Zero router (arXiv 2403.12031), restricted to the corners of its hull.

    Args:
        expert: id of the expert; None: the best on average, of equals the cheaper.
    """

    name: ClassVar[str] = "constant"
    paper: ClassVar[str] = "RouterBench, arXiv 2403.12031 (its baseline)"
    describes: ClassVar[str] = "Always the same expert: the best on average, or the one named."

    def __init__(self, *, expert: str | None = None) -> None:
        self.expert = expert

    def _fallback(self, data: RoutingData) -> str:
        if self.expert is not None and self.expert not in data.experts:
            there = ", ".join(data.experts)
            raise ParameterError(f"expert={self.expert!r} is not an expert of the data: it has {there}.")
        return self.expert or _best(data.experts, data.quality().mean(axis=0), data.cost().mean(axis=0))

    def _fit(self, data: RoutingData, progress: Progress) -> None:
        super()._fit(data, progress)
        self.summary_["chooses"] = f"always {self.fallback_}; predicted qualities are the experts' means"

    def _adapt(self, data: RoutingData, progress: Progress) -> None:
        """Means become those over old and new prompts together, and so does the best on average."""
        super()._adapt(data, progress)
        self.fallback_ = self.expert or _best(self.experts_, self.quality_, data.cost().mean(axis=0))
        self.summary_["chooses"] = f"always {self.fallback_}; predicted qualities are the experts' means"

    def _predict(self, prompts: Sequence[str]) -> Prediction:
        n = len(prompts)
        return Prediction(self._same_for_all(n), choice=np.full(n, self.experts_.index(self.fallback_), dtype=np.int64))


class LengthRouter(TwoModelRouter):
    """Sends longer prompts to the large expert.

    The score is a logistic line on log(1 + length in characters), standardised over the training prompts and fitted to
    Pr[q(large) > q(small)] over the samples of both experts, so it says how likely the large one is needed. Its slope
    is kept positive, so that the score never falls with the length and a sweep of thresholds is exactly the rule
    "longer than this goes to the large one" (lengths many standard deviations off can share a score: it is a float32);
    isotonic regression would make ties, and cuts between them would be lost.
    Where longer prompts do not need the large expert more often, the slope stays at its least, 0.1 a standard
    deviation, and `summary_` has the slope that would fit best. So the direction is the same on all data, and there are
    data on which this baseline does worse than a coin.

    Predicted qualities are lines of the same kind, of free slope.

    Args:
        small: id of the small expert; None: the cheapest of the data.
        large: id of the large expert; None: the dearest of the data.

    Attributes:
        scale_: mean and standard deviation of log(1 + length) over the training prompts.
        lines_: the score's line, then those of the qualities of the small and of the large expert.
    """

    name: ClassVar[str] = "length"
    paper: ClassVar[str] = "A baseline of this project"
    describes: ClassVar[str] = "Longer prompts to the large model, shorter ones to the small model."

    scale_: tuple[float, float]
    lines_: tuple[LogisticLine, LogisticLine, LogisticLine]

    def __init__(self, *, small: str | None = None, large: str | None = None) -> None:
        self.small = small
        self.large = large

    def _fit(self, data: RoutingData, progress: Progress) -> None:
        progress("lengths", 0.0)
        logs = _log_lengths(data.texts)
        self.scale_ = (float(logs.mean()), float(logs.std()) or 1.0)
        x, needed, quality = self._standard(data.texts), self._needed(data), data.quality()
        score = fit_line(x, needed, bounds=_SLOPES)
        self.lines_ = (score, fit_line(x, quality[:, 0]), fit_line(x, quality[:, 1]))
        self.summary_ = {
            "training_prompts": len(x),
            "slope": score.slope,
            "best_slope": fit_line(x, needed).slope,
            "mean_label": float(needed.mean()),
        }
        progress("lengths", 1.0)

    def _adapt(self, data: RoutingData, progress: Progress) -> None:
        """The most likely lines under a Gaussian prior around those learned; the scale of the length stays."""
        x, quality = self._standard(data.texts), data.quality()
        score, small, large = self.lines_
        self.lines_ = (
            fit_line(x, self._needed(data), bounds=_SLOPES, prior=score, strength=_ADAPT_STRENGTH),
            fit_line(x, quality[:, 0], prior=small, strength=_ADAPT_STRENGTH),
            fit_line(x, quality[:, 1], prior=large, strength=_ADAPT_STRENGTH),
        )
        progress("lengths", 1.0)

    def _predict(self, prompts: Sequence[str]) -> Prediction:
        x = self._standard(prompts)
        score, small, large = (line(x) for line in self.lines_)
        return Prediction(quality=np.stack([small, large], axis=1), large_needed=score)

    def _needed(self, data: RoutingData) -> NDArray[np.float64]:
        return 1 - relaxed_labels(data.samples(self.small_), data.samples(self.large_))

    def _standard(self, texts: Sequence[str]) -> NDArray[np.float64]:
        mean, spread = self.scale_
        standard: NDArray[np.float64] = (_log_lengths(texts) - mean) / spread
        return standard

    def state(self) -> RouterState:
        """What was learned, for saving."""
        lines = np.array([[line.slope, line.offset] for line in self.lines_])
        return RouterState({}, {"method": "logistic"}, {"lines": lines, "scale": np.array(self.scale_)})

    def restore(self, state: RouterState) -> None:
        """Take what `state` gave.

        Raises:
            ArtifactError: a tensor is missing or of the wrong type, shape or range.
        """
        mean, spread = checked_tensor(state.tensors, "scale", np.float64, (2,)).tolist()
        lines = checked_tensor(state.tensors, "lines", np.float64, (3, 2)).tolist()
        if spread <= 0 or lines[0][0] <= 0:
            raise ArtifactError("The length router's lines have no positive scale: train and save it again.")
        self.scale_ = (mean, spread)
        score, small, large = (LogisticLine(*line) for line in lines)
        self.lines_ = (score, small, large)


def _uniform(text: str, seed: int) -> float:
    """A number in [0, 1) that follows from the text and the seed."""
    digest = blake2b(text.encode(errors="surrogatepass"), digest_size=8, key=seed.to_bytes(4, "little")).digest()
    return float(int.from_bytes(digest, "little") >> (64 - _SCORE_BITS)) / 2.0**_SCORE_BITS


def _best(experts: Sequence[str], quality: NDArray[np.floating], cost: NDArray[np.float64]) -> str:
    return experts[int(np.lexsort((cost, -quality))[0])]


def _log_lengths(texts: Sequence[str]) -> NDArray[np.float64]:
    return np.log1p(np.fromiter((len(text) for text in texts), dtype=np.float64, count=len(texts)))
