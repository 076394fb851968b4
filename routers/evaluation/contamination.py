"""Whether a router that was trained before has learned from the prompts that it is to be judged on."""

from __future__ import annotations

from collections.abc import Iterator

from routers.answers import AnswerJudge
from routers.base import Router
from routers.data import RoutingData
from routers.errors import DataError, ParameterError

__all__ = ["check_unseen"]


def check_unseen(router: Router | AnswerJudge, data: RoutingData, judged: RoutingData) -> str | None:
    """Compare the hashes of a router's training data with those of the data at hand.

    A hash only finds training on all rows of a part: the whole data, a split, or what is left without the judged
    prompts. Other training data may overlap without a trace.

    Args:
        router: a trained router or plan.
        data: all data at hand.
        judged: the part to judge on.

    Returns:
        None where it is known to have learned from another part; otherwise a warning, one sentence.

    Raises:
        ParameterError: it has learned from prompts that are to be judged.
        DataError: the data lacks one of the router's experts.
    """
    adapted = [str(noted.get("data_sha256")) for noted in router.summary_.get("adapted", [])]
    unknown = {router.data_hash_, *adapted}
    texts = set(judged.texts)
    for name, part in _parts(data, judged):
        sha256 = part.select(router.experts_).content_hash()
        if sha256 not in unknown:
            continue
        if texts & set(part.texts):
            raise ParameterError(
                f"A trained {router.name!r} has learned from {name}, so it knows prompts that it is to be judged on: "
                "name a split that it was not trained on with --test-split."
            )
        unknown.discard(sha256)
    if not unknown:
        return None
    return (
        f"What the trained {router.name!r} has learned from is no part of this data, so nobody checked whether it has "
        "seen these prompts."
    )


def _parts(data: RoutingData, judged: RoutingData) -> Iterator[tuple[str, RoutingData]]:
    yield "this very data", data
    yield "the judged prompts", judged
    if "split" in data.prompts:
        for split in sorted(data.prompts["split"].dropna().unique()):
            yield f"the split {split!r}", data.subset(split)
    rest = data.frame[~data.frame["prompt_id"].isin(set(judged.prompts["prompt_id"]))]
    try:
        yield "the other prompts", RoutingData(rest)
    except DataError:
        return
