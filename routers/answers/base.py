"""What every judge of answers is: something that learns from recorded answers and says which ones are good."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from routers.base import Progress, RouterState, no_progress, training_facts
from routers.errors import DataError, NotFittedError
from routers.estimator import Estimator

if TYPE_CHECKING:
    from routers.data import RoutingData

__all__ = ["AnswerJudge", "AnswerScorer", "check_answered"]

Scores = NDArray[np.float32]


class AnswerJudge(Estimator, ABC):
    """A learned judge of answers, by scikit-learn's estimator contract: the constructor only stores parameters.

    Attributes:
        name: what the registry and the command line call it.
        kind: "judge" where it judges answers only, "plan" where it also says which experts to ask.
        experts_: expert ids whose answers it learned from; of a plan, those it asks.
        data_hash_: `RoutingData.content_hash` of their rows of the training data.
        summary_: what is known of its training, for people to read.
    """

    name: ClassVar[str]
    paper: ClassVar[str]
    describes: ClassVar[str]
    kind: ClassVar[Literal["judge", "plan"]] = "judge"
    needs: ClassVar[tuple[str, ...]] = ()

    experts_: tuple[str, ...]
    data_hash_: str
    summary_: dict[str, Any]

    def fit(self, data: RoutingData, progress: Progress | None = None) -> Self:
        """Learn from the data, which stays as it is; every row needs its `response`.

        Raises:
            ParameterError: a parameter is out of range, or a checkpoint cannot be used.
            DataError: a response is missing.
        """
        self.check_params()
        check_answered(data)
        self.experts_ = data.experts
        self.data_hash_ = data.content_hash()
        self.summary_ = {}
        start_s = time.perf_counter()
        self._fit(data, progress or no_progress)
        self.summary_ = {**self.summary_, "training": training_facts(self, data, time.perf_counter() - start_s)}
        return self

    @property
    def slow(self) -> bool:
        """Whether judging takes more than about a millisecond, so that an event loop must not wait for it."""
        return False

    def rank(self, prompts: Sequence[str], candidates: Sequence[Sequence[str]]) -> list[Scores]:
        """Judge the candidate answers to each prompt beside each other.

        Args:
            prompts: (n,) texts.
            candidates: (n,) of at least one answer each, any number.

        Returns:
            For each prompt one score a candidate, higher is better. Scores of different prompts need not compare.

        Raises:
            NotFittedError: the judge has not been trained.
            DataError: there are not as many lists of candidates as prompts, or one is empty.
        """
        self.check_fitted()
        if len(prompts) != len(candidates):
            raise DataError(f"{len(prompts)} prompts came with {len(candidates)} lists of answers: give each its own.")
        if not all(map(len, candidates)):
            raise DataError("A prompt came without any answer to judge: give at least one.")
        return self._rank(prompts, candidates)

    def check_fitted(self) -> None:
        """Raise NotFittedError unless the judge has been trained."""
        if not hasattr(self, "experts_"):
            raise NotFittedError(f"This judge {self.name!r} is not trained: call fit or load a trained one.")

    @abstractmethod
    def _fit(self, data: RoutingData, progress: Progress) -> None: ...

    @abstractmethod
    def _rank(self, prompts: Sequence[str], candidates: Sequence[Sequence[str]]) -> list[Scores]: ...

    @abstractmethod
    def state(self) -> RouterState:
        """What was learned beyond the attributes that every judge has, for saving."""

    @abstractmethod
    def restore(self, state: RouterState) -> None:
        """Take what `state` gave, and check it.

        Raises:
            ArtifactError: something is missing or of the wrong type or shape.
        """


class AnswerScorer(AnswerJudge):
    """A judge that looks at one answer at a time, so that its scores mean the same for every prompt."""

    def score(self, prompts: Sequence[str], answers: Sequence[str]) -> Scores:
        """How likely answers (n,) to prompts (n,) are good: (n,) float32 in [0, 1].

        Raises:
            NotFittedError: the scorer has not been trained.
            DataError: there are not as many answers as prompts.
        """
        self.check_fitted()
        if len(prompts) != len(answers):
            raise DataError(f"{len(prompts)} prompts came with {len(answers)} answers: give each its own.")
        return self._score(prompts, answers) if len(prompts) else np.zeros(0, dtype=np.float32)

    @abstractmethod
    def _score(self, prompts: Sequence[str], answers: Sequence[str]) -> Scores: ...

    def _rank(self, prompts: Sequence[str], candidates: Sequence[Sequence[str]]) -> list[Scores]:
        given = [(prompt, answer) for prompt, own in zip(prompts, candidates, strict=True) for answer in own]
        # Samples of one expert are often equal, and reading an answer is what takes time.
        place = {pair: number for number, pair in enumerate(dict.fromkeys(given))}
        scores = self.score([prompt for prompt, _ in place], [answer for _, answer in place])
        each = scores[[place[pair] for pair in given]] if given else scores
        return np.split(each, np.cumsum([len(own) for own in candidates])[:-1]) if candidates else []


def check_answered(data: RoutingData) -> None:
    """Raise DataError unless every row has the text of its answer; an empty text is an answer too."""
    frame = data.frame
    if "response" not in frame:
        raise DataError(
            "The data has no column 'response', but a judge learns from the answers' texts: use data that "
            "`pointsman label` wrote, or add the column."
        )
    missing = frame["response"].isna().to_numpy()
    if missing.any():
        row = int(missing.argmax())
        raise DataError(
            f"Row {row} has no 'response' ({int(missing.sum())} such rows), but a judge learns from texts: "
            "label it again, or leave the row out."
        )
