"""What each demo expert is: its size, what it practises on, and for how long."""

from __future__ import annotations

from dataclasses import dataclass

from transformers import LlamaConfig

from demo.families import DOMAINS
from demo.tokenizer import SPECIAL_TOKENS, VOCABULARY_TOKENS

__all__ = ["CHECKER", "CLUSTER_EXPERTS", "EXPERTS", "RECIPES", "SEED_MODEL", "Recipe", "llama_config"]

_HEAD_DIM = 32
_CONTEXT_TOKENS = 512


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train one model.

    `batches` are (examples, padded length in tokens) that make up one step; `emphasis` says how much more or
    less of each level the model practises than the exam holds.
    """

    name: str
    hidden: int
    layers: int
    feed_forward: int
    steps: int
    peak_rate: float
    cluster: str | None = None
    parent: str | None = None
    batches: tuple[tuple[int, int], ...] = ((76, 16), (52, 26))
    emphasis: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0, 1.0)
    warmup_steps: int = 100
    seed: int = 0


SEED_MODEL = "seed"
CHECKER = "checker"

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe("small", 32, 3, 96, steps=9000, peak_rate=4e-3, emphasis=(2.4, 1.8, 0.6, 0.15, 0.05)),
        Recipe("large", 192, 6, 512, steps=5000, peak_rate=1.5e-3),
        Recipe(SEED_MODEL, 128, 5, 384, steps=600, peak_rate=2e-3),
        Recipe(CHECKER, 128, 5, 384, steps=2500, peak_rate=2e-3, emphasis=(0.5, 0.8, 1.2, 1.3, 1.2)),
        *(Recipe(name, 128, 5, 384, steps=2000, peak_rate=2e-3, cluster=name, parent=SEED_MODEL) for name in DOMAINS),
    )
}
CLUSTER_EXPERTS = tuple(name for name, recipe in RECIPES.items() if recipe.parent)
EXPERTS = ("small", "large", *CLUSTER_EXPERTS)


def llama_config(recipe: Recipe) -> LlamaConfig:
    """Return the Llama architecture of `recipe`: tied embeddings, 32-wide heads, 512 tokens of context."""
    heads = recipe.hidden // _HEAD_DIM
    return LlamaConfig(
        vocab_size=VOCABULARY_TOKENS,
        hidden_size=recipe.hidden,
        num_hidden_layers=recipe.layers,
        intermediate_size=recipe.feed_forward,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        head_dim=_HEAD_DIM,
        max_position_embeddings=_CONTEXT_TOKENS,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=SPECIAL_TOKENS.index("<|end|>"),
        pad_token_id=SPECIAL_TOKENS.index("<|pad|>"),
    )
