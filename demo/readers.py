"""Experts as readers: checkpoints from which routers and judges of answers are fine-tuned."""

from __future__ import annotations

import shutil
from pathlib import Path

from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from demo.export import EXPERTS_FOLDER, load_expert
from demo.tokenizer import SPECIAL_TOKENS, build_tokenizer

__all__ = ["reader_tokenizer", "write_reader"]

_WEIGHTS = ("config.json", "model.safetensors")


def reader_tokenizer() -> PreTrainedTokenizerFast:
    """The demo's tokenizer; around a question and its answer it puts what the experts see around them."""
    tokenizer = build_tokenizer()
    marks = [(name, SPECIAL_TOKENS.index(name)) for name in ("<|user|>", "<|assistant|>", "<|end|>")]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|user|> $A <|end|>", pair="<|user|> $A <|assistant|> $B <|end|>", special_tokens=marks
    )
    return tokenizer


def write_reader(expert: str, out: Path, experts: Path = EXPERTS_FOLDER) -> int:
    """Write an expert's weights with a tokenizer for readers to `out`, to be given to routers and judges as `encoder`.

    A reader gets a new head in place of the expert's language model head, so that it says how likely something is where
    the expert would go on writing.

    Returns:
        How many parameters the expert has.

    Raises:
        ArtifactError: there is no such expert.
    """
    model = load_expert(experts / expert)
    out.mkdir(parents=True, exist_ok=True)
    for name in _WEIGHTS:
        shutil.copyfile(experts / expert / name, out / name)
    reader_tokenizer().save_pretrained(out)
    return int(model.num_parameters())
