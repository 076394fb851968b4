"""The demo's ranker: which of two answers is right, learned from recorded answers by a reader that can check one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from routers.answers import PairRanker, save_judge

if TYPE_CHECKING:
    from routers.base import Progress
    from routers.data import RoutingData

__all__ = ["RANKER", "ranker_data", "train_ranker"]

_FROM_ALL = 1200
_FROM_TWO = 1500
_SPLIT = "train"

RANKER: dict[str, Any] = {
    "most_pairs": 2,
    "encoder_max_tokens": 128,
    "encoder_epochs": 1,
    "encoder_batch_size": 32,
    "encoder_learning_rate": 5e-4,
    "held_out": 0.05,
}
"""Parameters of the demo's ranker beyond the checkpoint that it starts from."""


def ranker_data(all_experts: Path, two_experts: Path) -> RoutingData:
    """Training prompts with everybody's answers, and others with those of `small` and `large`.

    The cluster experts' answers teach which kind of answer a question wants, those of `small` how right ones and nearly
    right ones differ.

    Args:
        all_experts: routing data of the cluster experts and `large`.
        two_experts: routing data of `small` and `large`.

    Raises:
        DataError: one of them cannot be read, or has no training prompts.
    """
    import pandas as pd

    from routers.data import RoutingData

    every = RoutingData.read(all_experts).subset(_SPLIT)
    first = every.prompts["prompt_id"][:_FROM_ALL]
    two = RoutingData.read(two_experts).subset(_SPLIT)
    others = two.prompts["prompt_id"][~two.prompts["prompt_id"].isin(every.prompts["prompt_id"])][:_FROM_TWO]
    parts = [data.frame[data.frame["prompt_id"].isin(ids)] for data, ids in ((every, first), (two, others))]
    return RoutingData(pd.concat(parts, ignore_index=True))


def train_ranker(data: RoutingData, start: Path, out: Path, progress: Progress) -> PairRanker:
    """Train the ranker and save it.

    Args:
        data: answers to learn from.
        start: folder of the checkpoint that it starts from.
        out: directory for the ranker.
        progress: told what is being done.

    Raises:
        ParameterError: the checkpoint is not there, or cannot be used.
        ArtifactError: `out` holds something else.
        DataError: an answer's text is missing, or there is nothing to compare.
    """
    ranker = PairRanker(encoder=str(start), **RANKER).fit(data, progress)
    save_judge(ranker, out)
    return ranker
