"""The demo's ranker: which of two answers is right, read by a copy of `large` that has learned to compare.

`large` knows what an answer should be, so that comparing two takes it little to learn. It reads the question and both
answers as it would read its own, marks and all, and says at the end of each whether it is the better one.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from demo.encoder import encoder_tokenizer
from demo.export import EXPERTS_FOLDER, load_expert
from routers.answers import PairRanker, save_judge

if TYPE_CHECKING:
    from routers.base import Progress
    from routers.data import RoutingData

__all__ = ["RANKER", "ranker_data", "train_ranker", "write_start"]

_START = "large"
_FROM_ALL = 1500
_FROM_TWO = 4000
_SPLIT = "train"

RANKER: dict[str, Any] = {
    "most_pairs": 2,
    "encoder_max_tokens": 128,
    "encoder_epochs": 2,
    "encoder_batch_size": 32,
    "encoder_learning_rate": 3e-4,
    "held_out": 0.05,
}
"""Parameters of the demo's ranker beyond the checkpoint that it starts from."""


def write_start(folder: Path, experts: Path = EXPERTS_FOLDER) -> None:
    """Write the checkpoint to start from: `large`, with a tokenizer that puts its marks around question and answers.

    Raises:
        ArtifactError: there is no checkpoint of `large`.
    """
    load_expert(experts / _START).save_pretrained(folder)
    encoder_tokenizer().save_pretrained(folder)


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


def train_ranker(data: RoutingData, out: Path, progress: Progress, *, experts: Path = EXPERTS_FOLDER) -> PairRanker:
    """Train the ranker and save it.

    Raises:
        ArtifactError: there is no checkpoint of `large`, or `out` holds something else.
        DataError: an answer's text is missing, or there is nothing to compare.
    """
    with TemporaryDirectory() as start:
        write_start(Path(start), experts)
        ranker = PairRanker(encoder=start, **RANKER).fit(data, progress)
    # Where the copy of the checkpoint lay tells nobody anything.
    ranker.set_params(encoder=f"demo/experts/{_START}")
    save_judge(ranker, out)
    return ranker
