from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

from routers import RoutingData
from routers.answers import AnswerScorer, outcome_of
from routers.base import Progress, RouterState


class Longest(AnswerScorer):
    """Likes what is long: an answer of n letters scores n / 10."""

    name = "longest"

    def _fit(self, data: RoutingData, progress: Progress) -> None: ...

    def _score(self, prompts: Sequence[str], answers: Sequence[str]) -> np.ndarray:
        return np.array([len(answer) / 10 for answer in answers], dtype=np.float32)

    def state(self) -> RouterState:
        return RouterState({}, {}, {})

    def restore(self, state: RouterState) -> None: ...


def test_a_scorer_by_hand() -> None:
    answers = {"p": [("aaaa", 1.0), ("aa", 0.0)], "q": [("aaaaaa", 0.0), ("aaaaaaaa", 1.0), ("aaaaaaaa", 0.0)]}
    rows = [
        (prompt, f"{prompt} ?", "small", sample, quality, 1, 1, 1.0, 0.1, text)
        for prompt, given in answers.items()
        for sample, (text, quality) in enumerate(given)
    ]
    names = ["prompt_id", "prompt", "expert", "sample", "quality", "input_tokens", "output_tokens", "cost", "latency_s"]
    data = RoutingData(pd.DataFrame(rows, columns=[*names, "response"]))
    found = outcome_of(Longest().fit(data), data)
    assert (found["n_prompts"], found["n_answers"]) == (2, 4)
    assert found["picked"] == pytest.approx((1.0 + 0.5) / 2)
    assert found["picked_blindly"] == pytest.approx((0.5 + 0.25) / 2)
    assert found["picked_best"] == pytest.approx((1.0 + 0.5) / 2)
    # Good: 0.4. Not good: 0.2, 0.6, and 0.8 twice, of which half are right.
    assert found["auc"] == pytest.approx(1 / 4)
    assert found["calibration_error"] == pytest.approx((0.2 + 0.6 + 0.6 + 0.3 + 0.3) / 5)
