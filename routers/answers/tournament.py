"""Who wins when candidates are compared two by two (LLM-Blender, arXiv 2306.02561, section 3.3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Game", "bubble", "max_logits", "max_wins"]

FloatArray = NDArray[np.float64]

Game = tuple[int, int, int]
"""A comparison: the number of the contest, and the two candidates' places in it."""


def max_logits(lead: ArrayLike) -> FloatArray:
    """How far each candidate leads the others, both orders considered, on average.

    The paper sums s_ij - s_ji over all j; half of the mean over the n - 1 others ranks the same, and stays on the scale
    of one comparison however many candidates there are.

    Args:
        lead: (n, n), by how much the candidate of the row leads that of the column when it is read first; the diagonal
            is not looked at.

    Returns:
        (n,); 0 for a candidate that is alone.
    """
    s = np.array(lead, dtype=np.float64)
    np.fill_diagonal(s, 0.0)
    both: FloatArray = (s - s.T).sum(axis=1) / (2 * max(len(s) - 1, 1))
    return both


def max_wins(lead: ArrayLike) -> FloatArray:
    """Share of its 2 (n - 1) comparisons that each candidate wins; a lead of exactly 0 is nobody's win.

    Args:
        lead: (n, n), as `max_logits` takes it.

    Returns:
        (n,) in [0, 1]; 0 for a candidate that is alone.
    """
    s = np.array(lead, dtype=np.float64)
    np.fill_diagonal(s, 0.0)
    wins: FloatArray = ((s > 0).sum(axis=1) + (s < 0).sum(axis=0)) / (2 * max(len(s) - 1, 1))
    return wins


def bubble(sizes: Sequence[int], leads: Callable[[list[Game]], ArrayLike]) -> list[FloatArray]:
    """One pass of bubble sort in each contest: the best so far meets the next candidate, n - 1 comparisons in all.

    Args:
        sizes: number of candidates in each contest, 1 or more.
        leads: by how much the first candidate of each game leads the second, both orders considered; it is called with
            the games that can be played at the same time, at most one a contest.

    Returns:
        For each contest (n,): 0 for the winner, and for each other candidate minus how far it is behind: the lead of
        the one that beat it, and how far that one is behind. A lead of 0 leaves the best so far in its place.
    """
    best = [0] * len(sizes)
    beaten: list[list[tuple[int, int, float]]] = [[] for _ in sizes]
    for challenger in range(1, max(sizes, default=0)):
        playing = [contest for contest, size in enumerate(sizes) if challenger < size]
        found = np.asarray(leads([(contest, best[contest], challenger) for contest in playing]), dtype=np.float64)
        for contest, lead in zip(playing, found.tolist(), strict=True):
            winner, loser = (best[contest], challenger) if lead >= 0 else (challenger, best[contest])
            beaten[contest].append((loser, winner, abs(lead)))
            best[contest] = winner
    return [_behind(size, games) for size, games in zip(sizes, beaten, strict=True)]


def _behind(size: int, beaten: list[tuple[int, int, float]]) -> FloatArray:
    """How far each of so many candidates is behind the winner, from who lost to whom by how much, in order."""
    scores = np.zeros(size)
    # Whoever beat a candidate can only have lost later.
    for loser, winner, lead in reversed(beaten):
        scores[loser] = scores[winner] - lead
    return scores
