"""The tokenizer: any text survives, arguments are one token a character, the template takes any message."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from demo.exam import sample_exam
from demo.tokenizer import SPECIAL_TOKENS, VOCABULARY_TOKENS, build_tokenizer, save_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer()


@pytest.mark.parametrize(
    "text",
    [
        "calculate 12 plus 7",
        '{"answer": [1, "Zürich", null]}',
        "日本語 🙂\n\ttabs",
        "ÿ\x00\x7f",
        " leading and trailing ",
    ],
)
def test_any_text_survives(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_the_vocabulary_holds_all_bytes(tokenizer: PreTrainedTokenizerFast) -> None:
    assert len(tokenizer) <= VOCABULARY_TOKENS
    assert tokenizer.convert_ids_to_tokens(list(range(len(SPECIAL_TOKENS)))) == list(SPECIAL_TOKENS)
    single = {token for token in tokenizer.get_vocab() if len(token) == 1}
    assert len(single) == 256


def test_digits_and_capitals_are_single_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    assert tokenizer.tokenize("10735") == list("10735")
    assert tokenizer.tokenize("QXZQ") == list("QXZQ")


def test_exam_prompts_are_short(tokenizer: PreTrainedTokenizerFast) -> None:
    tasks = sample_exam("test", 300, 0)
    lengths = [len(tokenizer.encode(task.prompt)) for task in tasks]
    assert sum(lengths) / len(lengths) < 14
    assert max(len(tokenizer.encode(task.answer)) for task in tasks) <= 8
    assert tokenizer.tokenize("monday") == ["monday"]


def test_building_it_twice_gives_the_same(tokenizer: PreTrainedTokenizerFast) -> None:
    assert build_tokenizer().get_vocab() == tokenizer.get_vocab()


def test_it_loads_from_disk_with_its_template(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    save_tokenizer(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    messages = [{"role": "user", "content": "calculate 1 plus 2"}]
    assert loaded.apply_chat_template(messages, tokenize=False, add_generation_prompt=True) == (
        "<|user|>calculate 1 plus 2<|assistant|>"
    )
    assert (loaded.eos_token, loaded.pad_token) == ("<|end|>", "<|pad|>")
    assert loaded.encode("3 meters") == tokenizer.encode("3 meters")


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        (
            [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}],
            "<|system|>be brief<|user|>hi<|assistant|>",
        ),
        (
            [
                {"role": "user", "content": "one"},
                {"role": "assistant", "content": "1"},
                {"role": "user", "content": "two"},
            ],
            "<|user|>one<|assistant|>1<|end|><|user|>two<|assistant|>",
        ),
        (
            [
                {
                    "role": "developer",
                    "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
                },
                {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
                {"role": "tool", "tool_call_id": "1", "content": "42"},
            ],
            "<|user|>ab<|assistant|><|end|><|tool|>42<|assistant|>",
        ),
        ([{"role": "assistant"}], "<|assistant|><|end|><|assistant|>"),
    ],
)
def test_chat_template(tokenizer: PreTrainedTokenizerFast, messages: list[dict[str, Any]], expected: str) -> None:
    assert tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True) == expected
