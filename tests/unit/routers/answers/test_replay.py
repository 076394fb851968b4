"""Replays that a person can work out by hand."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from routers import DataError, RoutingData
from routers.answers.replay import Recorded, replay_cascade


def row(prompt: str, expert: str, sample: int, quality: float, cost: float, response: str = "x") -> dict[str, Any]:
    return {
        "prompt_id": prompt,
        "prompt": f"{prompt} ?",
        "expert": expert,
        "sample": sample,
        "quality": quality,
        "input_tokens": 10,
        "output_tokens": int(cost),
        "cost": cost,
        "latency_s": 0.1,
        "response": response,
    }


@pytest.fixture
def data() -> RoutingData:
    rows = [
        row("p", "small", 0, 1.0, 1.0),
        row("p", "small", 1, 0.0, 3.0),
        row("p", "large", 0, 1.0, 20.0),
        row("p", "large", 1, 0.5, 20.0),
        row("q", "small", 0, 0.0, 2.0),
        row("q", "large", 0, 1.0, 30.0),
        row("q", "large", 1, 1.0, 10.0),
    ]
    return RoutingData(pd.DataFrame(rows))


def test_a_cascade_counts_every_attempt(data: RoutingData) -> None:
    """p: the first of two samples is accepted (quality 1), else large at 0.75. q: small is refused."""
    small, large = (Recorded.of(data, expert) for expert in ("small", "large"))
    found = replay_cascade(data.experts, [small, large], [0.5], {"small": np.array([0.9, 0.4, 0.1], np.float32)})
    assert found.experts == ("large", "small")
    np.testing.assert_allclose(found.quality, [0.5 * 1 + 0.5 * 0.75, 1.0])
    np.testing.assert_allclose(found.cost, [2 + 0.5 * 20, 2 + 20])
    np.testing.assert_allclose(found.tokens, [10 + 2 + 0.5 * 30, 12 + 30])
    np.testing.assert_allclose(found.attempts, [1.5, 2.0])
    np.testing.assert_allclose(found.share, [[0.5, 0.5], [1.0, 0.0]])


def test_the_last_always_accepts(data: RoutingData) -> None:
    small, large = (Recorded.of(data, expert) for expert in ("small", "large"))
    scores = {"small": np.zeros(3, np.float32), "large": np.zeros(4, np.float32)}
    alone = replay_cascade(data.experts, [small], [], {})
    np.testing.assert_allclose(alone.quality, [0.5, 0.0])
    np.testing.assert_allclose(alone.cost, [2.0, 2.0])
    np.testing.assert_allclose(alone.attempts, 1.0)
    found = replay_cascade(data.experts, [large, small], [0.5], scores)
    np.testing.assert_allclose(found.share, [[0.0, 1.0], [0.0, 1.0]])
    np.testing.assert_allclose(found.quality, alone.quality)
    np.testing.assert_allclose(found.cost, [22.0, 22.0])


def test_three_steps_multiply_what_is_passed_on() -> None:
    rows = [row("p", "a", i, float(i), 1.0) for i in range(2)]
    rows += [row("p", "b", i, float(i % 2), 2.0) for i in range(4)]
    rows += [row("p", "c", 0, 0.25, 4.0)]
    data = RoutingData(pd.DataFrame(rows))
    order = [Recorded.of(data, expert) for expert in "abc"]
    scores = {"a": np.array([0.0, 1.0], np.float32), "b": np.array([0.2, 0.8, 0.2, 0.2], np.float32)}
    found = replay_cascade(data.experts, order, [1.0, 0.8], scores)
    np.testing.assert_allclose(found.quality, [0.5 * 1 + 0.5 * (0.25 * 1 + 0.75 * 0.25)])
    np.testing.assert_allclose(found.cost, [1 + 0.5 * 2 + 0.5 * 0.75 * 4])
    np.testing.assert_allclose(found.attempts, [1 + 0.5 + 0.375])
    np.testing.assert_allclose(found.share, [[0.5, 0.125, 0.375]])


def test_what_is_recorded_comes_by_prompt_and_sample(data: RoutingData) -> None:
    mixed = RoutingData(data.frame.iloc[[6, 1, 4, 0, 3, 2, 5]])
    found = Recorded.of(mixed, "small")
    assert mixed.prompts["prompt_id"].tolist() == ["q", "p"]
    assert (found.prompt.tolist(), found.sample.tolist()) == ([0, 1, 1], [0, 0, 1])
    assert found.cost.tolist() == [2.0, 1.0, 3.0]
    np.testing.assert_allclose(found.mean(np.array([[1, 2], [3, 4], [5, 8]])), [[1, 2], [4, 6]])


def test_what_cannot_be_replayed(data: RoutingData) -> None:
    with pytest.raises(DataError, match="no expert 'huge'"):
        Recorded.of(data, "huge")
    frame = data.frame
    with pytest.raises(DataError, match="'small' has not answered every prompt"):
        Recorded.of(RoutingData(frame.drop(index=4)), "small")
    with pytest.raises(DataError, match="no column 'response'"):
        Recorded.of(RoutingData(frame.drop(columns="response")), "small")
