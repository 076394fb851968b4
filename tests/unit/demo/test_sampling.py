"""Offline sampling agrees with transformers' own decoding and follows its seed."""

from __future__ import annotations

import torch
from transformers import AutoTokenizer

from demo.exam import sample_exam
from demo.export import EXPERTS_FOLDER, load_expert
from demo.sampling import MAX_ANSWER_TOKENS, sample_answers

FOLDER = EXPERTS_FOLDER / "small"


def test_greedy_answers_are_those_of_generate() -> None:
    model, tokenizer = load_expert(FOLDER), AutoTokenizer.from_pretrained(FOLDER)
    prompts = [task.prompt for task in sample_exam("test", 12, 0)]
    ours = sample_answers(model, tokenizer, prompts, 1, 0.0, 0)
    for prompt, (answer,) in zip(prompts, ours, strict=True):
        tokens = tokenizer(f"<|user|>{prompt}<|assistant|>", return_tensors="pt").input_ids
        output = model.generate(
            tokens,
            attention_mask=torch.ones_like(tokens),
            max_new_tokens=MAX_ANSWER_TOKENS,
            do_sample=False,
            temperature=None,
        )
        assert tokenizer.decode(output[0, tokens.shape[1] :], skip_special_tokens=True) == answer


def test_samples_follow_the_seed() -> None:
    model, tokenizer = load_expert(FOLDER), AutoTokenizer.from_pretrained(FOLDER)
    prompts = [task.prompt for task in sample_exam("test", 60, 0) if task.level == 5]
    first, again, other = (sample_answers(model, tokenizer, prompts, 4, 0.7, seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert all(len(answers) == 4 for answers in first)
    assert any(len(set(answers)) > 1 for answers in first)


def test_no_prompts_no_answers() -> None:
    tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    assert sample_answers(load_expert(FOLDER), tokenizer, [], 3, 0.7, 0) == []
