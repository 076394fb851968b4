"""FrugalGPT's search (arXiv 2305.05176, section 3): whom to ask in which order, and from which score on to accept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from routers.answers.replay import Recorded
from routers.errors import ParameterError

__all__ = ["CascadeSetting", "affordable", "search_settings"]

FloatArray = NDArray[np.float64]

_SLACK = 1e-9


@dataclass(frozen=True, slots=True)
class CascadeSetting:
    """One way to run a cascade.

    Attributes:
        order: experts to ask, one after the other.
        thresholds: one for each but the last: its answer is accepted if its score is at least this.
        quality: mean quality on the prompts of the search.
        cost: mean cost there of all attempts.
    """

    order: tuple[str, ...]
    thresholds: tuple[float, ...]
    quality: float
    cost: float


@dataclass(frozen=True, slots=True)
class _Stage:
    """What an expert does at each of its thresholds.

    Attributes:
        grid: (n_thresholds,) thresholds.
        passed: (n_prompts, n_thresholds) share of its answers that are not accepted.
        gained: (n_prompts, n_thresholds) mean over its answers of the quality of those that are accepted.
        quality: (n_prompts,) mean quality of its answers.
        cost: (n_prompts,) mean cost of its answers.
    """

    grid: FloatArray
    passed: FloatArray
    gained: FloatArray
    quality: FloatArray
    cost: FloatArray


def search_settings(
    recorded: Sequence[Recorded],
    scores: Mapping[str, NDArray[np.float32]],
    *,
    max_experts: int = 3,
    n_quantiles: int = 40,
) -> list[CascadeSetting]:
    """Every setting that no other one beats, from the cheapest on: brute force over orders and thresholds.

    Args:
        recorded: answers of each expert to the same prompts.
        scores: by expert, (n_rows,) of its recorded answers.
        max_experts: most experts of a cascade.
        n_quantiles: thresholds of each expert, at quantiles of its scores, the least score among them.
    """
    stages = {one.expert: _stage(one, scores[one.expert], n_quantiles) for one in recorded}
    found = [
        setting
        for length in range(1, min(max_experts, len(recorded)) + 1)
        for order in permutations(stages, length)
        for setting in _undominated(_settings(order, stages))
    ]
    return _undominated(found)


def affordable(settings: Sequence[CascadeSetting], budget: float) -> CascadeSetting:
    """The best of undominated settings, cheapest first, whose mean cost is within the budget.

    Raises:
        ParameterError: even the cheapest costs more.
    """
    within = [setting for setting in settings if setting.cost <= budget * (1 + _SLACK)]
    if not within:
        first = settings[0]
        raise ParameterError(
            f"A budget of {budget:.3g} an answer is less than the cheapest way costs, {first.order[0]!r} alone with "
            f"{first.cost:.3g}: allow more."
        )
    return within[-1]


def _stage(recorded: Recorded, scores: NDArray[np.float32], n_quantiles: int) -> _Stage:
    levels = np.linspace(0, 1, n_quantiles, endpoint=False)
    # A threshold is one of the scores, so that it is met by them, not only nearly so.
    grid = np.unique(np.quantile(scores, levels, method="higher")).astype(np.float64)
    taken = scores[:, None] >= grid[None, :]
    return _Stage(
        grid=grid,
        passed=1 - recorded.mean(taken),
        gained=recorded.mean(taken * recorded.quality[:, None]),
        quality=recorded.mean(recorded.quality),
        cost=recorded.mean(recorded.cost),
    )


def _settings(order: tuple[str, ...], stages: Mapping[str, _Stage]) -> Iterator[CascadeSetting]:
    """All settings of an order: quality and cost at every combination of its experts' thresholds."""
    last = stages[order[-1]]
    n_prompts = len(last.quality)
    # Of the experts from some place of the order on: mean quality and cost, (n_prompts, n_combinations).
    quality, cost = last.quality[:, None], last.cost[:, None]
    for expert in reversed(order[1:-1]):
        stage = stages[expert]
        quality = (stage.gained[:, :, None] + stage.passed[:, :, None] * quality[:, None, :]).reshape(n_prompts, -1)
        cost = (stage.cost[:, None, None] + stage.passed[:, :, None] * cost[:, None, :]).reshape(n_prompts, -1)
    if len(order) == 1:
        yield CascadeSetting(order, (), float(quality.mean()), float(cost.mean()))
        return
    first = stages[order[0]]
    mean_quality = first.gained.mean(axis=0)[:, None] + first.passed.T @ quality / n_prompts
    mean_cost = first.cost.mean() + first.passed.T @ cost / n_prompts
    shape = tuple(len(stages[expert].grid) for expert in order[:-1])
    for place in _front(mean_quality.ravel(), mean_cost.ravel()):
        chosen = np.unravel_index(place, shape)
        thresholds = tuple(float(stages[e].grid[at]) for e, at in zip(order[:-1], chosen, strict=True))
        yield CascadeSetting(order, thresholds, float(mean_quality.flat[place]), float(mean_cost.flat[place]))


def _undominated(settings: Iterator[CascadeSetting] | Sequence[CascadeSetting]) -> list[CascadeSetting]:
    """Those of which no other is at least as good and as cheap; of equals the shorter, then the earlier one."""
    ranked = sorted(settings, key=lambda setting: len(setting.order))
    front = _front(np.array([s.quality for s in ranked]), np.array([s.cost for s in ranked]))
    return [ranked[place] for place in front]


def _front(quality: FloatArray, cost: FloatArray) -> list[int]:
    """Places of what is not dominated, by rising cost and quality."""
    order = np.lexsort((np.arange(len(cost)), -quality, cost))
    best, front = -np.inf, []
    for place in order.tolist():
        if quality[place] > best + _SLACK:
            best = quality[place]
            front.append(place)
    return front
