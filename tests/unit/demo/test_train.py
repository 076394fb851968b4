"""Training: it learns, continues bit for bit after an interruption, and begins from a parent's weights."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from demo.recipes import RECIPES, Recipe
from demo.tokenizer import build_tokenizer
from demo.train import Trainer

STEPS = 20
TINY = Recipe("tiny", 32, 1, 64, steps=STEPS, peak_rate=1e-2, batches=((10, 16), (6, 26)), warmup_steps=4)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer()


def ignore(step: int, loss: float) -> None:
    """Progress that nobody watches."""


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def test_twenty_steps_reduce_the_loss(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    losses: dict[int, float] = {}
    Trainer(TINY, tokenizer, tmp_path).run(losses.__setitem__)
    assert list(losses) == list(range(1, STEPS + 1))
    assert losses[STEPS] < 0.8 * losses[1]


def test_an_interrupted_run_continues_bit_for_bit(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    whole = Trainer(TINY, tokenizer, tmp_path / "whole")
    whole.run(ignore)
    Trainer(TINY, tokenizer, tmp_path / "parts").run(ignore, until=7)
    second = Trainer(TINY, tokenizer, tmp_path / "parts")
    assert second.resume()
    assert second.step == 7
    second.run(ignore)
    assert same(second.weights(), whole.weights())


def test_another_seed_gives_other_weights(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    runs = [Trainer(dataclasses.replace(TINY, seed=seed), tokenizer, tmp_path / str(seed)) for seed in (0, 1)]
    for run in runs:
        run.run(ignore, until=2)
    assert not same(runs[0].weights(), runs[1].weights())


def test_a_checkpoint_of_another_recipe_is_left_alone(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    Trainer(TINY, tokenizer, tmp_path).run(ignore, until=1)
    changed = Trainer(dataclasses.replace(TINY, peak_rate=1e-3), tokenizer, tmp_path)
    assert not changed.resume()
    assert changed.step == 0


def test_a_child_begins_with_its_parents_weights(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    parent = Trainer(TINY, tokenizer, tmp_path)
    parent.run(ignore, until=3)
    child = Trainer(dataclasses.replace(TINY, name="child"), tokenizer, tmp_path, parent=parent.weights())
    assert same(child.weights(), parent.weights())


def test_every_recipe_has_its_parent_and_a_place_for_every_example() -> None:
    for recipe in RECIPES.values():
        assert recipe.parent is None or recipe.parent in RECIPES
        assert (recipe.cluster is None) == (recipe.parent is None)
        assert max(length for _, length in recipe.batches) == 26
