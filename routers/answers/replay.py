"""What a plan would have done with recorded answers: its quality, its cost, and whose answers it would have given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from routers.answers.base import check_answered
from routers.base import check_complete
from routers.errors import DataError

if TYPE_CHECKING:
    from routers.data import RoutingData

__all__ = ["Recorded", "Replay", "ReplayablePlan", "replay_cascade"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Replay:
    """What is to be expected of a plan for each of n prompts, over the recorded samples of every expert.

    Attributes:
        experts: ids, the columns of `share`.
        quality: (n,) expected quality of the answer that is given.
        cost: (n,) expected cost of all answers that are asked for, those that are not given included.
        tokens: (n,) expected input and output tokens of all of them.
        share: (n, n_experts) probability that the answer is this expert's; rows sum to 1.
        attempts: (n,) expected number of answers that are asked for.
    """

    experts: tuple[str, ...]
    quality: FloatArray
    cost: FloatArray
    tokens: FloatArray
    share: FloatArray
    attempts: FloatArray


@runtime_checkable
class ReplayablePlan(Protocol):
    """A plan that can be held against recorded answers.

    One that can be run at several budgets also has `sweep(data, n_points) -> list[Replay]`, from the cheapest on.
    """

    def replay(self, data: RoutingData) -> Replay:
        """What the plan would have done; prompts and experts are those of the data.

        Raises:
            NotFittedError: it is not trained.
            DataError: the data lacks an expert that it asks, an answer, or a response.
        """


@dataclass(frozen=True, slots=True)
class Recorded:
    """The recorded answers of one expert, in rows.

    Attributes:
        expert: its id.
        prompt: (n_rows,) place of the prompt in the data.
        sample: (n_rows,) number of the sample.
        answers: (n_rows,) texts.
        quality: (n_rows,).
        cost: (n_rows,).
        tokens: (n_rows,) input and output tokens.
        n_prompts: prompts of the data.
    """

    expert: str
    prompt: IntArray
    sample: IntArray
    answers: list[str]
    quality: FloatArray
    cost: FloatArray
    tokens: FloatArray
    n_prompts: int

    @classmethod
    def of(cls, data: RoutingData, expert: str) -> Recorded:
        """What the expert answered, by prompt and sample.

        Raises:
            DataError: the data lacks the expert, one of its answers, or a response.
        """
        check_answered(data)
        check_complete(data.select([expert]))
        frame = data.frame
        places = {prompt_id: place for place, prompt_id in enumerate(data.prompts["prompt_id"])}
        mine = frame[frame["expert"] == expert].assign(place=lambda rows: rows["prompt_id"].map(places))
        if mine["place"].nunique() < len(places):
            raise DataError(f"Expert {expert!r} has not answered every prompt: label the others, or leave them out.")
        mine = mine.sort_values(["place", "sample"], kind="stable")
        return cls(
            expert=expert,
            prompt=mine["place"].to_numpy(dtype=np.int64),
            sample=mine["sample"].to_numpy(dtype=np.int64),
            answers=mine["response"].tolist(),
            quality=mine["quality"].to_numpy(dtype=np.float64),
            cost=mine["cost"].to_numpy(dtype=np.float64),
            tokens=(mine["input_tokens"] + mine["output_tokens"]).to_numpy(dtype=np.float64),
            n_prompts=len(places),
        )

    def mean(self, values: NDArray[np.generic]) -> FloatArray:
        """Mean over each prompt's samples of values (n_rows,) or (n_rows, k): (n_prompts,) or (n_prompts, k)."""
        counts = np.bincount(self.prompt, minlength=self.n_prompts)
        starts = np.cumsum(counts) - counts
        sums = np.add.reduceat(values.astype(np.float64), starts, axis=0)
        means: FloatArray = sums / counts.reshape(-1, *([1] * (sums.ndim - 1)))
        return means


def replay_cascade(
    experts: tuple[str, ...],
    order: Sequence[Recorded],
    thresholds: Sequence[float],
    scores: Mapping[str, NDArray[np.float32]],
) -> Replay:
    """Ask the experts in this order, and take the first answer that scores at least its threshold, at last any.

    The samples of different experts are independent of each other, so that the expectation over all of their
    combinations is a product of means.

    Args:
        experts: columns of the result's `share`.
        order: recorded answers of the experts to ask, on the same prompts.
        thresholds: one for each of them but the last.
        scores: by expert, (n_rows,) of its recorded answers; the last one's are not needed.
    """
    n_prompts = order[0].n_prompts
    quality, cost, tokens, attempts = (np.zeros(n_prompts) for _ in range(4))
    share, reached = np.zeros((n_prompts, len(experts))), np.ones(n_prompts)
    for step, asked in enumerate(order):
        cost += reached * asked.mean(asked.cost)
        tokens += reached * asked.mean(asked.tokens)
        attempts += reached
        taken = np.ones(len(asked.prompt), dtype=np.bool_)
        if step < len(order) - 1:
            taken = scores[asked.expert] >= thresholds[step]
        accepted = asked.mean(taken)
        quality += reached * asked.mean(taken * asked.quality)
        share[:, experts.index(asked.expert)] += reached * accepted
        reached = reached * (1 - accepted)
    return Replay(experts, quality, cost, tokens, share, attempts)
