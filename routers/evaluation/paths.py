"""From predictions to a quality-cost curve: the order in which a router would change experts as it may spend more.

Every sweep is the same thing here, a `Path`: at its start each prompt has one expert, and then come *events*, in the
order of a falling key, each of which moves one prompt to another expert. For two models the key is the score and an
event moves a prompt from the small to the large one; for more it is the trade-off lambda of (quality - lambda x cost).
Events of one key happen together, and between two keys a share of them chosen by a coin does: so equal scores share the
mix, and every point of the curve is an expectation. Weights for prompts then give the curve of a bootstrap resample by
cumulative sums, without sorting again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Path", "one_step_path", "ranks_within", "score_path", "trade_off_path"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Path:
    """Which expert each prompt starts with, and who changes when.

    Attributes:
        start: (n_prompts,) column of the expert that each prompt starts with.
        prompt: (n_events,) prompt that an event moves.
        old: (n_events,) column that it leaves.
        new: (n_events,) column that it goes to.
        ends: (n_groups,) place after the last event of each group of equal keys, rising; the last is n_events.
        keys: (n_groups,) the key of each group, falling.
    """

    start: IntArray
    prompt: IntArray
    old: IntArray
    new: IntArray
    ends: IntArray
    keys: FloatArray

    def along(self, values: FloatArray, weights: FloatArray) -> FloatArray:
        """Weighted mean of a matrix over the experts that the prompts have, at the start and after each group.

        Args:
            values: (n_prompts, n_experts), such as quality or cost.
            weights: (n_resamples, n_prompts), how often a prompt counts.

        Returns:
            (n_resamples, n_groups + 1).
        """
        n = len(self.start)
        total = weights.sum(axis=1, keepdims=True)
        first = (weights @ values[np.arange(n), self.start])[:, None]
        gains = values[self.prompt, self.new] - values[self.prompt, self.old]
        sums = np.cumsum(weights[:, self.prompt] * gains, axis=1)[:, self.ends - 1]
        means: FloatArray = np.hstack([first, first + sums]) / total
        return means


def score_path(score: FloatArray, small: int, large: int) -> Path:
    """The sweep of a threshold over scores: all to `small` at first, the highest score goes to `large` first.

    Args:
        score: (n_prompts,) the higher, the sooner to `large`.
        small: column of the small expert.
        large: column of the large expert.
    """
    n = len(score)
    order = np.argsort(-score, kind="stable")
    return _path(np.full(n, small), order, np.full(n, small), np.full(n, large), score[order])


def one_step_path(n_prompts: int, small: int, large: int) -> Path:
    """All prompts at once: the straight line between two experts, which a coin draws in expectation."""
    return score_path(np.zeros(n_prompts), small, large)


def ranks_within(score: FloatArray, part: IntArray) -> FloatArray:
    """Rank of each score among those of its part, as a share of the part; equal scores have their mean rank.

    Scores of routers that were trained on different folds are on scales of their own, and pooling them can make a curve
    worse than that of any of the routers (for AUC: Forman and Scholz 2010). By ranks the curve is the mean of the
    folds' curves at equal shares.

    Args:
        score: (n_prompts,).
        part: (n_prompts,) number of the part.
    """
    ranks = np.empty(len(score))
    for number in np.unique(part):
        mine = part == number
        _, place, count = np.unique(score[mine], return_inverse=True, return_counts=True)
        ranks[mine] = ((np.cumsum(count) - count / 2) / mine.sum())[place]
    return ranks


def trade_off_path(quality: FloatArray, cost: FloatArray) -> Path:
    """The sweep of lambda in argmax (quality - lambda x cost), from infinity to 0.

    It starts at each prompt's cheapest expert and ends at the best predicted one (the cheaper of equals). In between
    a prompt visits the experts on the upper concave envelope of its predicted quality over cost: each event takes the
    steepest rise that is left, whose slope is the lambda at which the argmax changes.

    Args:
        quality: (n_prompts, n_experts) predicted; NaN for experts that cannot be chosen.
        cost: (n_experts,) expected cost of an answer.
    """
    known = np.isfinite(quality).all(axis=0)
    seen = np.where(known, quality, -np.inf)
    cheapest = known & (cost <= cost[known].min())
    start = np.where(cheapest, seen, -np.inf).argmax(axis=1).astype(np.int64)
    now, rows = start.copy(), np.arange(len(quality))
    moves: list[tuple[FloatArray, IntArray, IntArray, IntArray]] = []
    by_cost = np.argsort(-cost, kind="stable")
    for _ in range(int(known.sum()) - 1):
        dearer = cost[None, :] - cost[now][:, None]
        gain = seen - seen[rows, now][:, None]
        slope = np.where((dearer > 0) & (gain > 0), gain / np.where(dearer > 0, dearer, 1.0), 0.0)
        # Of experts on one line the dearest, so that one key moves a prompt once.
        target = by_cost[slope[:, by_cost].argmax(axis=1)].astype(np.int64)
        steepest = slope[rows, target]
        moving = np.flatnonzero(steepest > 0)
        if not len(moving):
            break
        moves.append((steepest[moving], moving, now[moving], target[moving]))
        now[moving] = target[moving]
    return _in_order(start, moves)


def _in_order(start: IntArray, moves: list[tuple[FloatArray, IntArray, IntArray, IntArray]]) -> Path:
    if not moves:
        none = np.empty(0, dtype=np.int64)
        return Path(start, none, none, none, none, np.empty(0))
    key, prompt, old, new = (np.concatenate(part) for part in zip(*moves, strict=True))
    # Stable: a prompt's moves come in their own order also where rounding made their keys equal.
    order = np.argsort(-key, kind="stable")
    return _path(start, prompt[order], old[order], new[order], key[order])


def _path(start: IntArray, prompt: IntArray, old: IntArray, new: IntArray, key: FloatArray) -> Path:
    last = np.flatnonzero(np.diff(key, append=np.nan) != 0)
    return Path(start.astype(np.int64), prompt, old, new, last + 1, key[last])
