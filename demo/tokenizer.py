"""The demo's tokenizer: a byte-level BPE that knows the exam's words.

Every byte is in the alphabet, so any text can be written. Lower-case words of the exam are single tokens
where there is room; a digit, a capital and a punctuation mark are always tokens of their own.
"""

from __future__ import annotations

from collections import Counter
from itertools import islice
from pathlib import Path
from random import Random

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from demo.exam import practice

__all__ = ["CHAT_TEMPLATE", "SPECIAL_TOKENS", "VOCABULARY_TOKENS", "build_tokenizer", "save_tokenizer"]

VOCABULARY_TOKENS = 768
SPECIAL_TOKENS = ("<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>")
_CORPUS_TASKS = 20_000

# Roles the demo does not know speak as the user; a message without content renders as its role alone.
CHAT_TEMPLATE = """\
{%- for message in messages -%}
{%- set role = message['role'] if message['role'] in ('system', 'assistant', 'tool') else 'user' -%}
<|{{ role }}|>
{%- set content = message.get('content') -%}
{%- if content is string -%}{{ content }}
{%- elif content -%}
{%- for part in content -%}{{ part.get('text') or '' }}{%- endfor -%}
{%- endif -%}
{%- if role == 'assistant' -%}<|end|>{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}<|assistant|>{%- endif -%}"""


def _corpus() -> Counter[str]:
    words: Counter[str] = Counter()
    for task in islice(practice(Random("tokenizer")), _CORPUS_TASKS):
        words[task.prompt] += 1
        words[task.answer] += 1
    return words


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Train the tokenizer on generated training tasks; the result is the same on every machine."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r" ?[a-z]+|[^a-z]"), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_TOKENS,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus().elements(), trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=SPECIAL_TOKENS[1],
        pad_token=SPECIAL_TOKENS[0],
        additional_special_tokens=list(SPECIAL_TOKENS[2:]),
        clean_up_tokenization_spaces=False,
        model_max_length=512,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def save_tokenizer(folder: Path) -> None:
    """Write a freshly built tokenizer to `folder` in Hugging Face's format."""
    build_tokenizer().save_pretrained(folder)
