import orjson
import pandas as pd
import pytest

from demo.routes import report, table
from routers import DataError, RoutingData


def data(skip: str | None = None) -> RoutingData:
    """Ten prompts: small is right on the first five, large on all; auto asks small for the first four."""
    rows = []
    for index in range(10):
        right = {"small": index < 5, "large": True}
        for asked in ("small", "large", "auto"):
            by = asked if asked != "auto" else ("small" if index < 4 else "large")
            if (asked, index) == (skip, 9):
                continue
            rows += [
                {
                    "prompt_id": f"p{index}",
                    "prompt": f"prompt {index}",
                    "expert": asked,
                    "sample": sample,
                    "quality": float(right[by]),
                    "input_tokens": 1,
                    "output_tokens": 1,
                    "cost": 1.0 if by == "small" else 10.0,
                    "latency_s": 0.1,
                    "metadata": orjson.dumps({"answered_by": by}).decode(),
                }
                for sample in range(2)
            ]
    return RoutingData(pd.DataFrame(rows))


def test_routes_beside_experts_and_random() -> None:
    rows = {row.asked: row for row in report(data())}
    assert set(rows) == {"small", "large", "auto", "random, as auto"}
    assert rows["large"].drop == 0
    assert rows["large"].off_reference == 0
    assert rows["small"].quality == 0.5
    assert rows["small"].drop == pytest.approx(0.5)
    assert rows["auto"].quality == 1
    assert rows["auto"].off_reference == pytest.approx(0.4)
    assert rows["auto"].cost_per_1000 == pytest.approx(1000 * (0.4 * 1 + 0.6 * 10))
    assert rows["random, as auto"].quality == pytest.approx(0.4 * 0.5 + 0.6)
    assert rows["random, as auto"].cost_per_1000 == pytest.approx(rows["auto"].cost_per_1000)
    low, high = rows["small"].quality_ci95
    assert low < 0.5 < high
    assert table(list(rows.values())).row_count == 4


def test_gaps_and_unknown_references_are_refused() -> None:
    with pytest.raises(DataError, match="not asked"):
        report(data(), reference="huge")
    with pytest.raises(DataError, match="every prompt"):
        report(data(skip="auto"))
