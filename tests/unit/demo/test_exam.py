"""The exam: splits by hash, determinism, spread over families and levels, and the file it writes."""

from __future__ import annotations

import json
from collections import Counter
from itertools import islice
from pathlib import Path
from random import Random

import pytest

from demo.exam import SPLITS, practice, sample_exam, split_of, write_exam
from demo.families import FAMILIES
from routers.errors import ParameterError


def test_splits_share_no_prompt() -> None:
    prompts = {split: {task.prompt for task in sample_exam(split, 600, 0)} for split in SPLITS}
    assert all(len(found) == 600 for found in prompts.values())
    assert not prompts["train"] & prompts["test"]
    assert not prompts["train"] & prompts["calibration"]
    assert not prompts["calibration"] & prompts["test"]


def test_practice_never_shows_a_held_out_prompt() -> None:
    held_out = {task.prompt for split in ("calibration", "test") for task in sample_exam(split, 1000, 7)}
    shown = [task.prompt for task in islice(practice(Random(3)), 5000)]
    assert not held_out & set(shown)
    assert {split_of(prompt) for prompt in shown} == {"train"}


def test_split_shares() -> None:
    shares = Counter(split_of(f"prompt {number}") for number in range(5000))
    assert shares["train"] == pytest.approx(3500, abs=150)
    assert shares["calibration"] == pytest.approx(750, abs=100)


def test_the_seed_determines_the_exam() -> None:
    assert sample_exam("test", 240, 5) == sample_exam("test", 240, 5)
    assert sample_exam("test", 240, 5) != sample_exam("test", 240, 6)


def test_families_and_levels_are_spread_evenly() -> None:
    tasks = sample_exam("test", 1200, 0)
    assert set(Counter(task.family for task in tasks).values()) == {1200 // len(FAMILIES)}
    levels = Counter(task.level for task in tasks)
    assert min(levels.values()) > 1200 / 5 * 0.8


def test_a_family_that_runs_out_of_prompts_is_named() -> None:
    with pytest.raises(ParameterError, match=r"Family \w+ has too few calibration prompts"):
        sample_exam("calibration", 60_000, 0)


@pytest.mark.parametrize(("split", "count"), [("exam", 1), ("test", -1)])
def test_wrong_requests_are_refused(split: str, count: int) -> None:
    with pytest.raises(ParameterError):
        sample_exam(split, count, 0)


def test_the_file_has_one_object_a_line(tmp_path: Path) -> None:
    path = tmp_path / "new" / "test.jsonl"
    assert write_exam(path, "test", 120, 0) == 120
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert len({record["prompt_id"] for record in records}) == len(records) == 120
    for record, task in zip(records, sample_exam("test", 120, 0), strict=True):
        assert set(record) == {"prompt_id", "prompt", "answer", "domain", "split", "metadata"}
        assert (record["prompt"], record["answer"], record["domain"]) == (
            task.prompt,
            task.answer,
            task.family,
        )
        assert record["split"] == "test"
        assert record["metadata"]["level"] == task.level
