"""Training batches: generated questions with their answers, padded, with a mask over the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from random import Random

import torch
from transformers import PreTrainedTokenizerFast

from demo.clusters import Clusters
from demo.exam import practice
from demo.families import Task

__all__ = ["Batch", "draw_tasks", "encode_tasks", "make_batches"]


@dataclass(frozen=True, slots=True)
class Batch:
    """`tokens` is (examples, length) int64; `targets` the same where an answer stands, -100 elsewhere."""

    tokens: torch.Tensor
    targets: torch.Tensor


def encode_tasks(tasks: list[Task], tokenizer: PreTrainedTokenizerFast) -> list[tuple[list[int], int]]:
    """Return each task as (token ids of question and answer in chat form, where the answer begins)."""
    prompts = tokenizer([f"<|user|>{task.prompt}<|assistant|>" for task in tasks]).input_ids
    answers = tokenizer([f"{task.answer}<|end|>" for task in tasks]).input_ids
    return [(prompt + answer, len(prompt)) for prompt, answer in zip(prompts, answers, strict=True)]


def draw_tasks(
    key: str,
    count: int,
    emphasis: Sequence[float],
    clusters: Clusters | None = None,
    cluster: str | None = None,
) -> list[Task]:
    """Return `count` training tasks that follow from `key`; only those of `cluster`, given `clusters`.

    `emphasis` multiplies the shares of the five levels.
    """
    stream = practice(Random(key), emphasis)
    tasks: list[Task] = []
    while len(tasks) < count:
        drawn = list(islice(stream, count))
        if clusters is not None:
            homes = clusters.assign([task.prompt for task in drawn])
            drawn = [task for task, home in zip(drawn, homes, strict=True) if home == cluster]
        tasks += drawn
    return tasks[:count]


def make_batches(
    tasks: list[Task], tokenizer: PreTrainedTokenizerFast, shapes: tuple[tuple[int, int], ...]
) -> list[Batch]:
    """Return one batch per shape (examples, length in tokens); together they hold all `tasks`.

    Tasks are dealt by length, the shortest to the shortest shape, so shapes never change (a compiled model
    needs that) and little is padding. The rare task that is too long for its shape counts for nothing.
    """
    rows = sorted(encode_tasks(tasks, tokenizer), key=lambda row: len(row[0]))
    batches = []
    for examples, length in sorted(shapes, key=lambda shape: shape[1]):
        batches.append(_pad(rows[:examples], length, int(tokenizer.pad_token_id or 0)))
        rows = rows[examples:]
    return batches


def _pad(rows: list[tuple[list[int], int]], length: int, pad: int) -> Batch:
    tokens = torch.full((len(rows), length), pad)
    targets = torch.full((len(rows), length), -100)
    for index, (sequence, start) in enumerate(rows):
        if len(sequence) > length:
            continue
        tokens[index, : len(sequence)] = torch.tensor(sequence)
        targets[index, start : len(sequence)] = tokens[index, start : len(sequence)]
    return Batch(tokens, targets)
