"""What the simulated experts of the study say: the demo's own answers, as long as those of real models."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson

from demo.routes import answered_by
from deployments.experts.simulation.pool import Call
from routers import DataError, RoutingData
from routers.text import estimated_tokens
from serve.study.setups import LARGE, MOST_DROP, SMALL, Setup

__all__ = ["FORESIGHT", "Lengths", "Spoken", "read_lengths", "read_spoken"]

FORESIGHT = "foresight"
"""Among the routes of `Spoken.chosen`, the one that knew both answers beforehand (`_foreseen`)."""

_RESPONSES = {
    SMALL: "responses_Meta-Llama-3.1-8B-Instruct.jsonl",
    LARGE: "responses_Meta-Llama-3.1-70B-Instruct.jsonl",
}
_UNKNOWN_TOKENS = 128
_RECORDS = ("routes-auto.parquet", "routes-expert.parquet", "routes-plans.parquet")


@dataclass(frozen=True, slots=True)
class Lengths:
    """How many tokens answers have.

    Attributes:
        small: of a small model's answers to some questions.
        large: of the large model's answers to the same questions.
        said: where they come from, in words.
    """

    small: Sequence[int]
    large: Sequence[int]
    said: str

    def of(self, prompt: str, expert: str) -> int:
        """The length of an expert's answer to a prompt: always that of the same question, chosen by a checksum."""
        lengths = self.large if expert == LARGE else self.small
        return lengths[zlib.crc32(prompt.encode()) % len(lengths)]


def read_lengths(data: Path, max_tokens: int) -> Lengths:
    """The lengths of ZeroEval's recorded answers of Llama 3.1 8B and 70B, at most so many tokens.

    Args:
        data: folder that holds `zeroeval/`.
        max_tokens: the longest answer; where nothing was recorded all have 128 tokens at most.
    """
    try:
        small, large = (_tokens_by_question(data / "zeroeval" / file) for file in _RESPONSES.values())
    except FileNotFoundError:
        known = [min(_UNKNOWN_TOKENS, max_tokens)]
        return Lengths(known, known, f"{known[0]} tokens each, as {data} has no recorded answers of ZeroEval")
    both = sorted(small.keys() & large.keys())
    cut_small, cut_large = ([min(of[question], max_tokens) for question in both] for of in (small, large))
    return Lengths(
        cut_small,
        cut_large,
        f"those of ZeroEval's answers of Llama 3.1 8B and 70B, at most {max_tokens} tokens: "
        f"{sum(cut_small) / len(both):.0f} and {sum(cut_large) / len(both):.0f} on average",
    )


def _tokens_by_question(path: Path) -> dict[tuple[str, str], int]:
    rows = map(orjson.loads, path.read_bytes().splitlines())
    return {(row["dataset"], row["id"]): max(1, estimated_tokens(row["response"])) for row in rows}


@dataclass(frozen=True, slots=True)
class Spoken:
    """What the demo's experts said to the exam's questions, and whom its routes chose.

    Attributes:
        prompts: the questions.
        texts: by expert and question, its first answer.
        chosen: by route and question, who answered; `FORESIGHT` is no route that anybody has.
    """

    prompts: Sequence[str]
    texts: Mapping[str, Mapping[str, str]]
    chosen: Mapping[str, Mapping[str, str]]

    def write(self, expert: str, lengths: Lengths, path: Path) -> None:
        """Write recorded answers for a simulated expert: the demo's texts, and the lengths of a real model's answers.

        A judge reads what it would read from the real experts, and engines are busy as long as with real models.
        """
        rows = (
            # A client must be able to see that an answer has begun.
            {"prompt": prompt, "response": text or "-", "output_tokens": lengths.of(prompt, expert)}
            for prompt, text in self.texts[expert].items()
        )
        path.write_bytes(b"\n".join(map(orjson.dumps, rows)))

    def calls(self, setup: Setup, lengths: Lengths) -> list[list[Call]]:
        """The calls that each question takes, for planning: all experts of a cascade up to the one that answered."""
        experts = [engine.expert for engine in setup.engines]
        found = []
        for prompt in self.prompts:
            asked = [setup.model]
            if setup.model in self.chosen:
                answered = self.chosen[setup.model][prompt]
                asked = experts[: experts.index(answered) + 1] if setup.kind == "frugal" else [answered]
            tokens = max(1, estimated_tokens(prompt))
            found.append([Call(expert, tokens, lengths.of(prompt, expert)) for expert in asked])
        return found


def read_spoken(folder: Path) -> Spoken:
    """The demo's recorded answers through its running endpoint.

    Args:
        folder: holds `routes-auto.parquet`, `routes-expert.parquet` and `routes-plans.parquet`.

    Raises:
        DataError: a file is missing or has no responses.
    """
    texts: dict[str, dict[str, str]] = {}
    chosen: dict[str, dict[str, str]] = {}
    known: list[set[str]] = []
    for name in _RECORDS:
        data = RoutingData.read(folder / name)
        if "response" not in data.frame.columns:
            raise DataError(f"{folder / name} has no column 'response': label with responses kept.")
        known.append(set(data.texts))
        first = data.frame[data.frame["sample"] == 0]
        for expert, rows in first.groupby("expert"):
            texts.setdefault(str(expert), dict(zip(rows["prompt"], rows["response"], strict=True)))
        for asked, answered in answered_by(data).items():
            chosen.setdefault(asked, dict(zip(data.texts, answered, strict=True)))
        if FORESIGHT not in chosen and {SMALL, LARGE} <= set(data.experts):
            chosen[FORESIGHT] = _foreseen(data)
    prompts = sorted(set.intersection(*known))
    if not prompts:
        raise DataError(f"The files of {folder} have no question in common: label the same ones with all routes.")
    return Spoken(prompts, texts, chosen)


def _foreseen(data: RoutingData) -> dict[str, str]:
    """Who of the small and the large expert answers each question, if as few as can be go to the large one.

    That takes knowing what both would say: those questions go to the small one whose answers lose least, until all of
    them together lose `MOST_DROP` of the large one's quality. No router between the two keeps more off the large one.
    """
    quality = data.select((SMALL, LARGE)).quality()
    lost = quality[:, 1] - quality[:, 0]
    order = np.argsort(lost, kind="stable")
    kept = lost[order].cumsum() <= MOST_DROP * quality[:, 1].sum()
    # What the first ones win makes up for some that lose, so the last place within the limit counts.
    n_small = int(np.flatnonzero(kept)[-1]) + 1 if kept.any() else 0
    to_small = set(order[:n_small].tolist())
    return {text: SMALL if place in to_small else LARGE for place, text in enumerate(data.texts)}
