"""The exam: a seeded generator of short questions with one checkable answer each.

Every question belongs to the split that a hash of its text says, so that no held-out text can occur in
training, whatever the seeds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

from demo.families import FAMILIES, LEVELS, Family, Task
from routers.errors import ParameterError

__all__ = ["SPLITS", "as_record", "practice", "sample_exam", "split_of", "write_exam"]

SPLITS = ("train", "calibration", "test")
_TRAIN_SHARE, _CALIBRATION_SHARE = 0.7, 0.15
_PATIENCE = 300


def split_of(prompt: str) -> str:
    """Return the split of `prompt`, by hash of its text: 70 % train, 15 % calibration, 15 % test."""
    digest = hashlib.blake2b(prompt.encode(), digest_size=8).digest()
    share = int.from_bytes(digest, "big") / 2**64
    if share < _TRAIN_SHARE:
        return "train"
    return "calibration" if share < _TRAIN_SHARE + _CALIBRATION_SHARE else "test"


def _fresh_task(rng: Random, family: Family, level: int, split: str, seen: set[str]) -> Task | None:
    for _ in range(_PATIENCE):
        task = family.sample(rng, level)
        if task.prompt not in seen and split_of(task.prompt) == split:
            return task
    return None


def sample_exam(split: str, count: int, seed: int) -> list[Task]:
    """Return `count` different tasks of `split`, spread evenly over families and levels, in random order.

    Where an easy level has run out of different prompts, other levels of the same family fill in.

    Raises:
        ParameterError: the split is unknown, the count negative, or more than a family has prompts.
    """
    if split not in SPLITS:
        raise ParameterError(f"Unknown split {split!r}: choose one of {', '.join(SPLITS)}.")
    if count < 0:
        raise ParameterError(f"The count is {count}: give at least 0.")
    rng = Random(f"exam/{split}/{seed}")
    seen: set[str] = set()
    tasks: list[Task] = []
    for index in range(count):
        family = FAMILIES[index % len(FAMILIES)]
        first = (index // len(FAMILIES)) % len(LEVELS)
        order = LEVELS[first:] + tuple(reversed(LEVELS[:first]))
        found = (_fresh_task(rng, family, level, split, seen) for level in order)
        task = next((task for task in found if task is not None), None)
        if task is None:
            raise ParameterError(
                f"Family {family.name} has too few {split} prompts for a count of {count}: ask for fewer."
            )
        seen.add(task.prompt)
        tasks.append(task)
    rng.shuffle(tasks)
    return tasks


def practice(rng: Random, emphasis: Sequence[float] = (1, 1, 1, 1, 1)) -> Iterator[Task]:
    """Yield training tasks for ever, with repetition, evenly over the families.

    `emphasis` multiplies each family's share of tasks of level 1, 2, … 5.
    """
    while True:
        family = rng.choice(FAMILIES)
        weights = [share * factor for share, factor in zip(family.practice, emphasis, strict=True)]
        level = rng.choices(LEVELS, weights=weights)[0]
        task = family.sample(rng, level)
        if split_of(task.prompt) == "train":
            yield task


def as_record(task: Task, split: str) -> dict[str, object]:
    """Return the JSON object that stands for `task` in an exam file."""
    return {
        "prompt_id": hashlib.blake2b(task.prompt.encode(), digest_size=8).hexdigest(),
        "prompt": task.prompt,
        "answer": task.answer,
        "domain": task.family,
        "split": split,
        "metadata": {"level": task.level, "group": task.domain},
    }


def write_exam(path: Path, split: str, count: int, seed: int) -> int:
    """Write `count` tasks of `split` to `path` as JSON lines and return how many were written."""
    tasks = sample_exam(split, count, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for task in tasks:
            file.write(json.dumps(as_record(task, split), ensure_ascii=False) + "\n")
    return len(tasks)
