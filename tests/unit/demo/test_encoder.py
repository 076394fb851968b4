"""The encoder that checks answers: what it reads, that it learns, and that judges can be fine-tuned from it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from typer.testing import CliRunner

from demo.__main__ import app
from demo.encoder import ENCODER, EncoderRecipe, _altered, _padded, _rows, _Trainer, encoder_tokenizer, train_encoder
from demo.exam import practice, split_of
from demo.export import EXPERTS_FOLDER
from demo.families import Task
from routers import ArtifactError
from routers.neural.checkpoint import load_checkpoint
from routers.neural.tokens import Reader

TINY = replace(ENCODER, hidden=32, layers=1, feed_forward=32, steps=24, examples=32, warmup_steps=4, peak_rate=1e-2)
TASK = Task("calculate 4 plus 5", "9", "addition", "arithmetic", 1)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[float]]:
    folder, losses = tmp_path_factory.mktemp("encoder"), []
    train_encoder(folder, lambda step, loss: losses.append(loss), recipe=TINY)
    return folder, losses


def test_it_learns_and_can_be_loaded_to_be_fine_tuned(checkpoint: tuple[Path, list[float]]) -> None:
    folder, losses = checkpoint
    assert len(losses) == TINY.steps
    assert sum(losses[-4:]) < 0.8 * sum(losses[:4])
    model, tokenizer = load_checkpoint(str(folder), "encoder", 1, None)
    assert model.config.model_type == "modernbert"
    assert (folder / "model.safetensors").stat().st_size < 200_000
    assert tokenizer.is_fast


def test_what_a_judge_reads_is_what_it_was_trained_on(checkpoint: tuple[Path, list[float]]) -> None:
    _, tokenizer = load_checkpoint(str(checkpoint[0]), "encoder", 1, None)
    [read] = Reader(tokenizer.backend_tokenizer, 64).read([(TASK.prompt, "9")])
    [(ids, wanted, right)] = _rows([TASK], ["9"], encoder_tokenizer())
    assert read == ids
    assert right == 1.0
    nine, end = ids[-2:]
    assert wanted == [-100] * (len(ids) - 2) + [nine, end]


def test_wrong_longer_and_masked_answers() -> None:
    tokenizer = encoder_tokenizer()
    rows = _rows([TASK] * 3, ["12", "8", None], tokenizer)
    digits = {digit: tokenizer.backend_tokenizer.token_to_id(digit) for digit in "0123456789"}
    (long, long_wanted, _), (_, wrong_wanted, wrong), (masked, masked_wanted, unknown) = rows
    end = tokenizer.backend_tokenizer.token_to_id("<|end|>")
    assert long[-3:] == [digits["1"], digits["2"], end]
    assert long_wanted[-3:] == [digits["9"], end, -100]
    assert (wrong_wanted[-2:], wrong) == ([digits["9"], end], 0.0)
    assert masked_wanted[-2:] == [digits["9"], end]
    assert digits["9"] not in masked
    assert math.isnan(unknown)
    batch = _padded(rows)
    assert batch.tokens.shape == batch.mask.shape == batch.wanted.shape
    assert batch.mask.sum(dim=1).tolist() == [len(row[0]) for row in rows]


def test_altered_answers_are_of_the_same_kind() -> None:
    stream = practice(Random(0))
    tasks = [next(stream) for _ in range(400)]
    rng = Random(1)
    changed = [(task, _altered(task, tasks, rng)) for task in tasks]
    assert sum(answer != task.answer for task, answer in changed) > 250
    for task, answer in changed:
        if not task.answer.islower():
            assert len(answer) == len(task.answer)
            assert sum(a != b for a, b in zip(answer, task.answer, strict=True)) <= 2


def test_batches_follow_from_the_seed_and_hold_training_questions_only() -> None:
    def read(recipe: EncoderRecipe) -> list[tuple[Task, str | None]]:
        return _Trainer(recipe, EXPERTS_FOLDER)._read(40, Random(recipe.seed))

    first, again, other = read(TINY), read(TINY), read(replace(TINY, seed=1))
    assert first == again
    assert first != other
    assert len(first) == 160
    assert {split_of(task.prompt) for task, _ in first} == {"train"}
    masked = sum(answer is None for _, answer in first)
    right = sum(answer == task.answer for task, answer in first)
    assert 15 < masked < 70
    assert 30 < right < 130


def test_without_the_small_expert(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="python -m demo train small"):
        train_encoder(tmp_path / "out", lambda step, loss: None, recipe=TINY, experts=tmp_path)


def test_the_command(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["encoder", "--steps", "1", "--out", str(tmp_path / "encoder")])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "encoder" / "tokenizer.json").exists()
