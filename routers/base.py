"""What every router is: something that learns from routing data and predicts for prompts."""

from __future__ import annotations

import asyncio
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, cast

import numpy as np
from numpy.typing import NDArray

from routers.errors import ArtifactError, DataError, NotFittedError, ParameterError
from routers.estimator import Estimator

if TYPE_CHECKING:
    from routers.data import RoutingData

__all__ = [
    "Prediction",
    "Progress",
    "Router",
    "RouterState",
    "TwoModelRouter",
    "check_complete",
    "no_progress",
    "training_facts",
]

_LIBRARIES = {
    "routers": "pointsman",
    "numpy": "numpy",
    "scipy": "scipy",
    "sklearn": "scikit-learn",
    "torch": "torch",
    "transformers": "transformers",
}
"""Distributions of the modules that training may use."""

Progress = Callable[[str, float], None]
"""Called during training with what is being done and the share of it that is done, in [0, 1]."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a router says of n prompts.

    Attributes:
        quality: (n, n_experts) float32 in [0, 1], predicted quality of each expert's answer.
        large_needed: (n,) float32 in [0, 1], of two-model routers: how likely the large model is needed.
        choice: (n,) index into `experts_`, of routers that choose by other means than the best quality.
        novelty: (n,) float32 >= 0, of routers that know how far a prompt is from their training data; 1.0 is its edge.
        confidence: (n,) float32 in [0, 1], how sure the router is of its choice. Where a method has nothing better
            it is |2 p - 1| for a two-model router's p = `large_needed`, else the lead of the best predicted quality
            over the second best. Scales differ between methods.
    """

    quality: NDArray[np.float32]
    large_needed: NDArray[np.float32] | None = None
    choice: NDArray[np.int64] | None = None
    novelty: NDArray[np.float32] | None = None
    confidence: NDArray[np.float32] | None = None

    def having(
        self, *, novelty: NDArray[np.float32] | None = None, confidence: NDArray[np.float32] | None = None
    ) -> Prediction:
        """The same with these: what `dataclasses.replace` would give, in less time."""
        return Prediction(
            self.quality,
            self.large_needed,
            self.choice,
            self.novelty if novelty is None else novelty,
            self.confidence if confidence is None else confidence,
        )


@dataclass(frozen=True, slots=True)
class RouterState:
    """What a router, or a judge of answers, learned, in a form that can be saved without pickle.

    Attributes:
        features: settings of the features, as JSON values.
        calibration: how scores were scaled, as JSON values.
        tensors: arrays by name.
    """

    features: dict[str, Any]
    calibration: dict[str, Any]
    tensors: dict[str, NDArray[Any]]

    def number(self, name: str) -> float:
        """The named finite number of `calibration`.

        Raises:
            ArtifactError: there is none.
        """
        value = self.calibration.get(name)
        if not isinstance(value, int | float) or not np.isfinite(value):
            raise ArtifactError(f"The router's calibration lacks the number {name!r}: train and save it again.")
        return float(value)


class Router(Estimator, ABC):
    """A learned router, by scikit-learn's estimator contract: the constructor only stores parameters.

    Attributes:
        experts_: expert ids, the columns of `predict_quality`.
        cost_: (n_experts,) mean cost of one answer in the training data.
        fallback_: expert that takes prompts which are too far from the training data.
        novelty_limit_: novelty from which a prompt is too far, unless the policy says otherwise; None: never.
        data_hash_: `RoutingData.content_hash` of the training data.
        summary_: what is known of its training and evaluation, for people to read.
    """

    name: ClassVar[str]
    paper: ClassVar[str]
    n_models: ClassVar[Literal["two", "n"]] = "n"
    needs: ClassVar[tuple[str, ...]] = ()
    describes: ClassVar[str]
    learns: ClassVar[bool] = True
    """Whether its choice depends on what it learned of prompts, so that it should beat a coin."""

    experts_: tuple[str, ...]
    cost_: NDArray[np.float64]
    fallback_: str
    novelty_limit_: float | None
    data_hash_: str
    summary_: dict[str, Any]

    def fit(self, data: RoutingData, progress: Progress | None = None) -> Self:
        """Learn from the data, which stays as it is; every prompt needs an answer of every expert.

        Raises:
            ParameterError: a parameter is out of range or names an expert that the data lacks.
            DataError: an answer is missing.
        """
        self.check_params()
        chosen = self._choose(data)
        check_complete(chosen)
        self.experts_ = chosen.experts
        self.cost_ = chosen.cost().mean(axis=0)
        self.data_hash_ = chosen.content_hash()
        self.fallback_ = self._fallback(chosen)
        self.novelty_limit_ = None
        self.summary_ = {}
        start_s = time.perf_counter()
        self._fit(chosen, progress or no_progress)
        self.summary_ = {**self.summary_, "training": training_facts(self, chosen, time.perf_counter() - start_s)}
        return self

    def adapt(self, data: RoutingData, progress: Progress | None = None) -> Self:
        """Go on learning from a small set of prompts as they will be asked, from what is known already.

        Features and experts stay as they are; so does a threshold, which is best chosen anew afterwards. Mean
        costs become those of the new data. What each method does with it, its `_adapt` says.

        Raises:
            NotFittedError: the router has not been trained.
            DataError: the data lacks one of the router's experts, or an answer.
        """
        self.check_fitted()
        chosen = data.select(self.experts_)
        check_complete(chosen)
        self._adapt(chosen, progress or no_progress)
        self.cost_ = chosen.cost().mean(axis=0)
        noted = {"prompts": len(chosen.texts), "data_sha256": chosen.content_hash()}
        self.summary_ = {**self.summary_, "adapted": [*self.summary_.get("adapted", []), noted]}
        return self

    @property
    def slow(self) -> bool:
        """Whether a decision takes more than about a millisecond, so that an event loop must not wait for it."""
        return False

    @property
    def knows_novelty(self) -> bool:
        """Whether predictions say how far a prompt is from the training data."""
        return False

    def predict(self, prompts: Sequence[str]) -> Prediction:
        """All there is to say of prompts, (n,), in one pass.

        Raises:
            NotFittedError: the router has not been trained.
        """
        self.check_fitted()
        return _with_confidence(self._predict(prompts))

    async def predict_async(self, prompts: Sequence[str]) -> Prediction:
        """The same as `predict`, without holding up the event loop.

        Raises:
            NotFittedError: the router has not been trained.
        """
        self.check_fitted()
        return _with_confidence(await self._predict_async(prompts))

    def predict_quality(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """Predicted quality of each expert's answer to prompts (n,): (n, n_experts) float32 in [0, 1].

        Raises:
            NotFittedError: the router has not been trained.
        """
        return self.predict(prompts).quality

    def novelty(self, prompts: Sequence[str]) -> NDArray[np.float32] | None:
        """How far prompts are from the training data, (n,) float32 >= 0; None: this router cannot say.

        Raises:
            NotFittedError: the router has not been trained.
        """
        return self.predict(prompts).novelty

    def check_fitted(self) -> None:
        """Raise NotFittedError unless the router has been trained."""
        if not hasattr(self, "experts_"):
            raise NotFittedError(f"This router {self.name!r} is not trained: call fit or load a trained one.")

    def _choose(self, data: RoutingData) -> RoutingData:
        """The part of the data to learn from."""
        return data

    def _fallback(self, data: RoutingData) -> str:
        """The expert for prompts unlike the data: the best on average."""
        return data.experts[int(data.quality().mean(axis=0).argmax())]

    @abstractmethod
    def _fit(self, data: RoutingData, progress: Progress) -> None: ...

    @abstractmethod
    def _adapt(self, data: RoutingData, progress: Progress) -> None: ...

    @abstractmethod
    def _predict(self, prompts: Sequence[str]) -> Prediction: ...

    async def _predict_async(self, prompts: Sequence[str]) -> Prediction:
        return await asyncio.to_thread(self._predict, prompts) if self.slow else self._predict(prompts)

    @abstractmethod
    def state(self) -> RouterState:
        """What was learned beyond the attributes that every router has, for saving."""

    @abstractmethod
    def restore(self, state: RouterState) -> None:
        """Take what `state` gave, and check it.

        Raises:
            ArtifactError: something is missing or of the wrong type or shape.
        """


class TwoModelRouter(Router):
    """A router between a small and a large expert.

    Subclasses take the parameters `small` and `large`, expert ids; None stands for the expert of the data
    with the least and the most mean cost (of equals, the one with the least and the most mean quality).
    `experts_` is (small, large). The score is RouteLLM's: how likely the large one is needed; a prompt goes
    to `large` when score >= threshold, so a higher threshold sends less to it.

    Attributes:
        threshold_: threshold for policies without one.
    """

    n_models: ClassVar[Literal["two", "n"]] = "two"

    threshold_: float
    small: str | None
    large: str | None

    @property
    def small_(self) -> str:
        """Id of the small expert."""
        return self.experts_[0]

    @property
    def large_(self) -> str:
        """Id of the large expert."""
        return self.experts_[1]

    def fit(self, data: RoutingData, progress: Progress | None = None) -> Self:
        """Learn from the data, which stays as it is; every prompt needs an answer of both experts.

        Raises:
            ParameterError: a parameter is out of range or names an expert that the data lacks.
            DataError: an answer is missing, or there are not two experts.
        """
        self.threshold_ = 0.5
        return super().fit(data, progress)

    def predict_large_needed(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """How likely the large expert is needed for prompts (n,): (n,) float32 in [0, 1].

        Raises:
            NotFittedError: the router has not been trained.
        """
        return cast("NDArray[np.float32]", self.predict(prompts).large_needed)

    def _choose(self, data: RoutingData) -> RoutingData:
        return data.select(self._pair(data))

    def _fallback(self, data: RoutingData) -> str:
        return data.experts[1]

    def _pair(self, data: RoutingData) -> tuple[str, str]:
        for name in ("small", "large"):
            if getattr(self, name) not in (None, *data.experts):
                there = ", ".join(data.experts)
                raise ParameterError(f"{name}={getattr(self, name)!r} is not an expert of the data: it has {there}.")
        cost, quality = np.nanmean(data.cost(), axis=0), np.nanmean(data.quality(), axis=0)
        ranked = [data.experts[i] for i in np.lexsort((quality, cost))]
        small = self.small or next((name for name in ranked if name != self.large), None)
        large = self.large or next((name for name in reversed(ranked) if name != small), None)
        if small is None or large is None or small == large:
            raise DataError(
                f"A two-model router needs two experts, but gets small={small!r} and large={large!r}: give "
                "the data a second expert, or name two different ones."
            )
        return small, large


def check_complete(data: RoutingData) -> None:
    """Raise DataError unless every expert has an answer to every prompt."""
    missing = np.isnan(data.quality())
    if missing.any():
        row, column = np.argwhere(missing)[0]
        prompt_id, expert = data.prompts["prompt_id"].iloc[row], data.experts[column]
        raise DataError(
            f"Prompt {prompt_id!r} has no answer of expert {expert!r} ({int(missing.sum())} such gaps): "
            "label it, or leave the prompt or the expert out."
        )


def training_facts(trained: Estimator, data: RoutingData, duration_s: float) -> dict[str, Any]:
    """When something was trained, on how much, and with which versions of the libraries that are loaded."""
    loaded = [distribution for module, distribution in _LIBRARIES.items() if module in sys.modules]
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "duration_s": round(duration_s, 3),
        "prompts": len(data.texts),
        "rows": len(data),
        "seed": getattr(trained, "seed", None),
        "versions": {name: _version(name) for name in loaded},
    }


def no_progress(doing: str, share: float) -> None:
    """Report to nobody."""


def _with_confidence(prediction: Prediction) -> Prediction:
    if prediction.confidence is not None:
        return prediction
    if prediction.large_needed is not None:
        confidence = np.abs(2 * prediction.large_needed - 1)
    elif prediction.quality.shape[1] == 1:
        confidence = np.ones(len(prediction.quality), dtype=np.float32)
    else:
        best = np.partition(prediction.quality, -2, axis=1)[:, -2:]
        confidence = best[:, 1] - best[:, 0]
    return prediction.having(confidence=confidence.astype(np.float32, copy=False))


@cache
def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "unknown"
