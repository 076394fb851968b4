"""Routing data that is easy to learn from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from routers import RoutingData

__all__ = ["answered", "synthetic_data"]


def synthetic_data(small: str, large: str) -> RoutingData:
    """Prompts with the word "hard" need the large expert, those with "easy" do not."""
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for index in range(120):
        hard = index % 2 == 0
        words = " ".join(rng.choice(["red", "green", "blue", "tall", "flat"], size=4))
        for expert, quality in ((small, 0.0 if hard else 1.0), (large, 1.0)):
            rows += [
                {
                    "prompt_id": f"p{index}",
                    "prompt": f"{'hard' if hard else 'easy'} {words}",
                    "expert": expert,
                    "sample": sample,
                    "quality": quality,
                    "input_tokens": 6,
                    "output_tokens": 2,
                    "cost": 1e-6 if expert == small else 1e-5,
                    "latency_s": 0.1,
                }
                for sample in range(3)
            ]
    return RoutingData(pd.DataFrame(rows))


def answered(data: RoutingData) -> RoutingData:
    """The same with answers whose words say who gave them, as experts with the template "EXPERT says {prompt}" do."""
    frame = data.frame
    return RoutingData(frame.assign(response=frame["expert"] + " says " + frame["prompt"]))
