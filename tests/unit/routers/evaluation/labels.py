"""Routing data from small tables, for cases computed by hand."""

import numpy as np
import pandas as pd

from routers import RoutingData

NAMES = ["prompt_id", "prompt", "expert", "sample", "quality", "input_tokens", "output_tokens", "cost", "latency_s"]


def labelled(quality: dict[str, list[float]], cost: dict[str, float], **columns: list[object]) -> RoutingData:
    """One sample of each expert for every prompt; further columns have a value a prompt, `texts` the prompts."""
    n = len(next(iter(quality.values())))
    texts = columns.pop("texts", [f"prompt {i}" for i in range(n)])
    rows = [
        (f"p{i}", texts[i], expert, 0, values[i], 1, 1, cost[expert], 0.0)
        for i in range(n)
        for expert, values in quality.items()
    ]
    frame = pd.DataFrame(rows, columns=NAMES)
    for name, values in columns.items():
        frame[name] = np.repeat(np.array(values, dtype=object), len(quality))
        if name == "fold":
            frame[name] = frame[name].astype("int64")
    return RoutingData(frame).select(quality)


def once(n: int) -> np.ndarray:
    """Every prompt once."""
    return np.ones((1, n))
