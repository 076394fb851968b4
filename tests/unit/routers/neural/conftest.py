"""Texts of which one word decides, and a tokenizer that reads bytes."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from routers.neural.training import Tuning

WORDS = ("sum", "sort")
FAST = Tuning(epochs=6, batch_size=8, learning_rate=5e-3, weight_decay=0.01, patience=6)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny matrices are slower on many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def tokenizer(tiny_encoder_path: str) -> Tokenizer:
    return Tokenizer.from_file(f"{tiny_encoder_path}/tokenizer.json")


def keyword_texts(n: int = 80, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Texts (n,), and 1.0 where the text says "sum"."""
    rng = np.random.default_rng(seed)
    which = np.arange(n) % 2
    texts = [f"{WORDS[one]} {rng.integers(1000)}" for one in which]
    return texts, 1.0 - which
