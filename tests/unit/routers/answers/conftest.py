"""Recorded answers whose wording gives their quality away, and a scorer that is trained in a second."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from routers import RoutingData

PRICES = {"small": 0.1, "middle": 0.3, "large": 1.0}


def answer_frame(
    n_prompts: int = 60, *, n_samples: int = 2, seed: int = 0, constant: float | None = None
) -> pd.DataFrame:
    """`small` is right on low levels; a right answer says that it is sure, a wrong one that it guesses, mostly."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for number in range(n_prompts):
        level = int(rng.integers(1, 9))
        text = f"What is {' + '.join(map(str, rng.integers(10, size=level + 1)))} ?"
        for expert, cost in PRICES.items():
            right = {"small": level <= 4, "middle": level <= 6, "large": True}[expert]
            for sample in range(n_samples):
                good = bool(right) if rng.random() < 0.95 else not right
                word = "surely" if good == (rng.random() < 0.95) else "perhaps"
                quality = float(good) if constant is None else constant
                answer = f"{word} {rng.integers(20)}"
                rows.append(
                    {
                        "prompt_id": f"p{number}",
                        "prompt": text,
                        "expert": expert,
                        "sample": sample,
                        "quality": quality,
                        "input_tokens": 10,
                        "output_tokens": 5,
                        "cost": cost,
                        "latency_s": 0.1,
                        "response": answer,
                        "split": ("train", "train", "calibration")[number % 3],
                    }
                )
    return pd.DataFrame(rows)


@pytest.fixture(scope="session")
def answered() -> RoutingData:
    return RoutingData(answer_frame(160))


@pytest.fixture(scope="session")
def answered_later() -> RoutingData:
    return RoutingData(answer_frame(80, seed=1))
