"""Asking a checkpoint many questions at once, without a server."""

from __future__ import annotations

from collections import defaultdict

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

__all__ = ["MAX_ANSWER_TOKENS", "sample_answers"]

MAX_ANSWER_TOKENS = 10
_BATCH_PROMPTS = 64


@torch.inference_mode()
def sample_answers(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    prompts: list[str],
    samples: int,
    temperature: float,
    seed: int,
) -> list[list[str]]:
    """Return `samples` answers for each of `prompts`; a `temperature` of 0 takes the likeliest token."""
    if not prompts:
        return []
    generator = torch.Generator().manual_seed(seed)
    encoded = tokenizer([f"<|user|>{prompt}<|assistant|>" for prompt in prompts]).input_ids
    by_length: dict[int, list[int]] = defaultdict(list)
    for index, tokens in enumerate(encoded):
        by_length[len(tokens)].append(index)
    answers: list[list[str]] = [[] for _ in prompts]
    for _, members in sorted(by_length.items()):
        for start in range(0, len(members), _BATCH_PROMPTS):
            chunk = members[start : start + _BATCH_PROMPTS]
            rows = _decode(model, torch.tensor([encoded[i] for i in chunk]), samples, temperature, generator)
            texts = tokenizer.batch_decode(_until_end(rows, int(tokenizer.eos_token_id)))
            for place, index in enumerate(chunk):
                answers[index] = texts[place * samples : (place + 1) * samples]
    return answers


def _decode(
    model: LlamaForCausalLM,
    tokens: torch.Tensor,
    samples: int,
    temperature: float,
    generator: torch.Generator,
) -> torch.Tensor:
    output = model(input_ids=tokens, use_cache=True, logits_to_keep=1)
    cache = output.past_key_values
    cache.batch_repeat_interleave(samples)
    logits = output.logits[:, -1].float().repeat_interleave(samples, dim=0)
    chosen = []
    for _ in range(MAX_ANSWER_TOKENS):
        if temperature > 0:
            odds = torch.softmax(logits / temperature, dim=-1)
            token = torch.multinomial(odds, 1, generator=generator)
        else:
            token = logits.argmax(dim=-1, keepdim=True)
        chosen.append(token)
        logits = model(input_ids=token, past_key_values=cache, use_cache=True).logits[:, -1].float()
    return torch.cat(chosen, dim=1)


def _until_end(rows: torch.Tensor, end: int) -> list[list[int]]:
    return [row[: row.index(end)] if end in row else row for row in rows.tolist()]
