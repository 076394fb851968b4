"""Synthetic routing data in which routing matters and can be learned."""

import numpy as np
import pandas as pd
import pytest

from routers import RoutingData

from .checkpoints import tiny_causal, tiny_encoder

WORDS = {
    "sums": ("What is {} ?", "0123456789", " + "),
    "letters": ("Sort the letters {} in order", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", ""),
}


def _prompt(domain: str, level: int, rng: np.random.Generator) -> str:
    template, alphabet, glue = WORDS[domain]
    return template.format(glue.join(rng.choice(list(alphabet), size=level + 2)))


def make_frame(
    n_prompts: int = 240, *, n_samples: int = 4, seed: int = 0, constant: float | None = None
) -> pd.DataFrame:
    """Two domains of eight levels: small does low levels, large most, a domain expert its own domain."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n_prompts):
        domain, level = ("sums", "letters")[i % 2], int(rng.integers(1, 9))
        right = {
            "small": 0.95 if level <= 4 else 0.1,
            "large": 0.97,
            "sums": 0.95 if domain == "sums" else 0.05,
            "letters": 0.95 if domain == "letters" else 0.05,
        }
        text = _prompt(domain, level, rng)
        for expert, cost in (("small", 0.1), ("large", 1.0), ("sums", 0.3), ("letters", 0.3)):
            for sample in range(n_samples):
                quality = float(rng.random() < right[expert]) if constant is None else constant
                split = ("train", "train", "train", "calibration")[i % 4 if i % 8 < 4 else (i + 1) % 4]
                rows.append((f"p{i}", text, expert, sample, quality, 10, 5, cost, 0.1, domain, split))
    names = ["prompt_id", "prompt", "expert", "sample", "quality", "input_tokens", "output_tokens", "cost"]
    return pd.DataFrame(rows, columns=[*names, "latency_s", "domain", "split"])


@pytest.fixture(scope="session")
def frame() -> pd.DataFrame:
    return make_frame()


@pytest.fixture(scope="session")
def data(frame: pd.DataFrame) -> RoutingData:
    return RoutingData(frame)


@pytest.fixture(scope="session")
def held_out() -> RoutingData:
    return RoutingData(make_frame(200, seed=1))


@pytest.fixture(scope="session")
def tiny_encoder_path() -> str:
    """Folder of a tiny BERT with random weights."""
    return tiny_encoder()


@pytest.fixture(scope="session")
def tiny_causal_path() -> str:
    """Folder of a tiny Llama with random weights."""
    return tiny_causal()
