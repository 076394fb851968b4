"""The different answers of routing data, each with its question, its quality and how often it was given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from routers.answers.base import check_answered

if TYPE_CHECKING:
    from routers.data import RoutingData

__all__ = ["Pairs", "held_out_texts", "text_codes"]

IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Pairs:
    """n different pairs of a prompt's text and an answer's, in the order of their first rows.

    Attributes:
        prompts: (n,) texts.
        answers: (n,) texts.
        quality: (n,) mean quality over the rows with this pair, whichever expert gave the answer.
        count: (n,) rows with this pair.
        text: (n,) number of the prompt's text, from 0 on.
    """

    prompts: list[str]
    answers: list[str]
    quality: NDArray[np.float64]
    count: IntArray
    text: IntArray

    @classmethod
    def of(cls, data: RoutingData) -> Pairs:
        """All pairs of the data.

        Raises:
            DataError: a response is missing.
        """
        check_answered(data)
        frame = data.frame[["prompt", "response", "quality"]]
        found = frame.groupby(["prompt", "response"], sort=False)["quality"].agg(["mean", "count"]).reset_index()
        prompts = found["prompt"].tolist()
        return cls(
            prompts=prompts,
            answers=found["response"].tolist(),
            quality=found["mean"].to_numpy(dtype=np.float64),
            count=found["count"].to_numpy(dtype=np.int64),
            text=text_codes(prompts),
        )

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.prompts)

    def part(self, chosen: NDArray[np.bool_]) -> Pairs:
        """The pairs that are chosen, (n,), with texts numbered anew."""
        places = np.flatnonzero(chosen)
        prompts = [self.prompts[place] for place in places]
        answers = [self.answers[place] for place in places]
        return Pairs(prompts, answers, self.quality[places], self.count[places], text_codes(prompts))


def text_codes(texts: list[str]) -> IntArray:
    """A number from 0 on for each text, (n,), the same for equal texts."""
    places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    return np.array([places[text] for text in texts], dtype=np.int64)


def held_out_texts(text: IntArray, share: float, seed: int) -> NDArray[np.bool_]:
    """Which of the rows (n,) are held out, given the number of each one's text: all rows of about this share of texts.

    At least one text is held out where the share is above 0, and at least one is not.
    """
    n_texts = int(text.max(initial=-1)) + 1
    n_held = min(max(round(share * n_texts), 1), n_texts - 1) if share > 0 else 0
    held = np.zeros(n_texts, dtype=np.bool_)
    held[np.random.default_rng(seed).permutation(n_texts)[: max(n_held, 0)]] = True
    return held[text]
