"""The demo's ranker: which of two answers is right, learned from recorded answers by a reader."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from routers.answers import PairRanker, save_judge

if TYPE_CHECKING:
    from routers.base import Progress
    from routers.data import RoutingData

__all__ = ["RANKER", "train_ranker"]

_SPLIT = "train"

RANKER: dict[str, Any] = {
    "most_pairs": 8,
    "ties": 0.02,
    "encoder_max_tokens": 128,
    "encoder_epochs": 12,
    "encoder_patience": 4,
    "encoder_batch_size": 64,
    "encoder_learning_rate": 2e-3,
}
"""Parameters of the demo's ranker beyond the checkpoint that it starts from."""


def train_ranker(answers: RoutingData, start: Path, out: Path, progress: Progress) -> PairRanker:
    """Train the ranker and save it.

    Args:
        answers: whose training prompts it learns from.
        start: folder of the checkpoint that it starts from.
        out: directory for the ranker.
        progress: told what is being done.

    Raises:
        ParameterError: the checkpoint is not there, or cannot be used.
        ArtifactError: `out` holds something else.
        DataError: an answer's text is missing, or there is nothing to compare.
    """
    ranker = PairRanker(encoder=str(start), **RANKER).fit(answers.subset(_SPLIT), progress)
    save_judge(ranker, out)
    return ranker
