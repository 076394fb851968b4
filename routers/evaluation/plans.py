"""What plans, which may ask several experts for one answer, would have done with the judged prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from routers.answers import AnswerJudge, Replay, ReplayablePlan
from routers.base import Progress
from routers.data import RoutingData
from routers.errors import DataError, ParameterError
from routers.evaluation.folds import Fold, within

__all__ = ["PlanRun", "replay_trained", "replay_unseen"]

FloatArray = NDArray[np.float64]

_BUDGETS = 41


@runtime_checkable
class _Sweepable(Protocol):
    """A plan that can be run at several budgets."""

    def sweep(self, data: RoutingData, n_points: int) -> list[Replay]: ...


@dataclass(frozen=True)
class PlanRun:
    """A plan on n judged prompts.

    Attributes:
        own: as it is.
        sweep: quality and cost, (n_budgets, n) each, from its smallest budget on; None: it has no budget.
        train_s: seconds of training, over all folds; None where it was trained before.
    """

    own: Replay
    sweep: tuple[FloatArray, FloatArray] | None = None
    train_s: float | None = None


def replay_trained(plan: AnswerJudge, data: RoutingData, *, train_s: float | None = None) -> PlanRun:
    """What a trained plan would have done with the prompts of the data.

    Raises:
        ParameterError: it judges answers, but is no plan.
        DataError: the data lacks an expert that it asks, an answer, or a response.
    """
    if not isinstance(plan, ReplayablePlan):
        raise ParameterError(
            f"{plan.name!r} judges answers but asks no expert, so it cannot be held against routers: name a plan."
        )
    own = plan.replay(data)
    if not isinstance(plan, _Sweepable):
        return PlanRun(own, None, train_s)
    swept = plan.sweep(data, _BUDGETS)
    return PlanRun(own, (np.stack([one.quality for one in swept]), np.stack([one.cost for one in swept])), train_s)


def replay_unseen(
    make: Callable[[], AnswerJudge], data: RoutingData, folds: Sequence[Fold], progress: Progress | None = None
) -> PlanRun:
    """Train a plan for each fold, and replay it on the prompts that it has not seen.

    Args:
        make: an untrained plan, a new one each time.
        data: labelled prompts with responses.
        folds: what to learn from and what to judge; every prompt is judged at most once.
        progress: told of every training.

    Returns:
        What the plans would have done with the judged prompts of all folds, in the order of the data; the budgets of
        the sweep are the same shares of what each one's settings span.

    Raises:
        ParameterError: a parameter is out of range.
        DataError: an answer or response is missing, or nothing is left to learn from.
    """
    runs: list[PlanRun] = []
    for place, fold in enumerate(folds):
        if not len(fold.train):
            raise DataError(f"There is no prompt to learn from when {fold.name!r} is judged: give more data.")
        plan = make().fit(data.at(fold.train), within(progress, fold.name, place, len(folds)))
        train_s = plan.summary_["training"]["duration_s"]
        runs.append(replay_trained(plan, data.at(fold.test).select(data.experts), train_s=train_s))
    order = np.argsort(np.concatenate([fold.test for fold in folds]), kind="stable")
    sweeps = [run.sweep for run in runs if run.sweep is not None]
    joined = None
    if sweeps:
        quality, cost = (np.concatenate(parts, axis=1)[:, order] for parts in zip(*sweeps, strict=True))
        joined = quality, cost
    return PlanRun(_joined([run.own for run in runs], order), joined, sum(run.train_s or 0.0 for run in runs))


def _joined(parts: Sequence[Replay], order: NDArray[np.int64]) -> Replay:
    names = ("quality", "cost", "tokens", "share", "attempts")
    return Replay(parts[0].experts, **{n: np.concatenate([getattr(p, n) for p in parts])[order] for n in names})
