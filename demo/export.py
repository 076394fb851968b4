"""Checkpoints on disk: bf16 safetensors in Hugging Face's format, which vLLM serves as they are."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, GenerationConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils.logging import disable_progress_bar

from demo.recipes import Recipe, llama_config
from routers.errors import ArtifactError

__all__ = ["EXPERTS_FOLDER", "export_expert", "load_expert"]

EXPERTS_FOLDER = Path(__file__).parent / "experts"
_TEMPERATURE = 0.7


def export_expert(
    recipe: Recipe, weights: dict[str, torch.Tensor], tokenizer: PreTrainedTokenizerFast, folder: Path
) -> None:
    """Write `weights` as bf16 to `folder`, with the configuration and the tokenizer beside them."""
    model = LlamaForCausalLM(llama_config(recipe))
    model.load_state_dict(weights, strict=False)
    model.to(torch.bfloat16)
    ends = model.config.eos_token_id
    model.generation_config = GenerationConfig(
        do_sample=True, temperature=_TEMPERATURE, eos_token_id=ends, pad_token_id=model.config.pad_token_id
    )
    disable_progress_bar()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def load_expert(folder: Path) -> LlamaForCausalLM:
    """Load an exported checkpoint in fp32 for sampling; `ArtifactError` where there is none."""
    if not (folder / "model.safetensors").exists():
        raise ArtifactError(f"There is no checkpoint in {folder}: run python -m demo train {folder.name}.")
    model: LlamaForCausalLM = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model.eval()
