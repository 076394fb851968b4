"""Batches: the right targets, fixed shapes, and only the cluster's own prompts."""

from __future__ import annotations

import pytest
from transformers import PreTrainedTokenizerFast

from demo.batches import draw_tasks, make_batches
from demo.clusters import Clusters, find_clusters
from demo.tokenizer import build_tokenizer

EVEN = (1, 1, 1, 1, 1)
SHAPES = ((40, 16), (30, 26))


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer()


@pytest.fixture(scope="module")
def clusters() -> Clusters:
    return find_clusters(prompts=600)


def test_targets_are_the_answers_and_their_ends(tokenizer: PreTrainedTokenizerFast) -> None:
    tasks = draw_tasks("key", 70, EVEN)
    batches = make_batches(tasks, tokenizer, SHAPES)
    assert [tuple(batch.tokens.shape) for batch in batches] == list(SHAPES)
    seen = set()
    for batch in batches:
        for tokens, targets in zip(batch.tokens, batch.targets, strict=True):
            answer = tokenizer.decode(targets[targets >= 0])
            text = tokenizer.decode(tokens).replace("<|pad|>", "")
            assert tokens[targets >= 0].equal(targets[targets >= 0])
            seen.add((text.removeprefix("<|user|>").split("<|assistant|>")[0], answer))
    expected = {(task.prompt, f"{task.answer}<|end|>") for task in tasks}
    assert len(seen & expected) >= len(expected) - 2


def test_examples_longer_than_their_shape_count_for_nothing(tokenizer: PreTrainedTokenizerFast) -> None:
    (batch,) = make_batches(draw_tasks("key", 8, EVEN), tokenizer, ((8, 4),))
    assert (batch.targets == -100).all()
    assert (batch.tokens == tokenizer.pad_token_id).all()


def test_the_key_determines_the_tasks() -> None:
    assert draw_tasks("a", 30, EVEN) == draw_tasks("a", 30, EVEN) != draw_tasks("b", 30, EVEN)


def test_a_cluster_gets_its_own_prompts_only(clusters: Clusters) -> None:
    for name in clusters.names:
        tasks = draw_tasks("key", 40, EVEN, clusters, name)
        assert len(tasks) == 40
        assert set(clusters.assign([task.prompt for task in tasks])) == {name}


def test_emphasis_shifts_the_levels() -> None:
    easy = draw_tasks("key", 400, (1, 0, 0, 0, 0))
    assert {task.level for task in easy} == {1}
    mixed = [task.level for task in draw_tasks("key", 400, (2, 1, 1, 1, 0))]
    assert mixed.count(1) > mixed.count(2) > 0
    assert mixed.count(5) == 0
