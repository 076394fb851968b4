"""The demo's ranker: which of two answers suits a question better, learned from what the experts answered."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from routers.answers import PairRanker, save_judge

if TYPE_CHECKING:
    from routers.base import Progress
    from routers.data import RoutingData

__all__ = ["RANKER", "train_ranker"]

RANKER: dict[str, Any] = {"most_pairs": 8, "ties": 0.02, "hidden": 256, "max_epochs": 16, "folds": 2}
"""Parameters of the demo's ranker."""


def train_ranker(answers: RoutingData, out: Path, progress: Progress) -> PairRanker:
    """Train the ranker and save it.

    Args:
        answers: what it learns from, all splits; the held-out exam is in other files.
        out: directory for the ranker.
        progress: told what is being done.

    Raises:
        ArtifactError: `out` holds something else.
        DataError: an answer's text is missing, or there is nothing to compare.
    """
    ranker = PairRanker(**RANKER).fit(answers, progress)
    save_judge(ranker, out)
    return ranker
