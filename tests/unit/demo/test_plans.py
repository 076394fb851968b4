"""The committed cascade keeps on the held-out exam what the demo's README says of it."""

from __future__ import annotations

import numpy as np

from demo.export import EXPERTS_FOLDER
from routers import RoutingData, load_judge
from routers.answers import FrugalCascade

_DEMO = EXPERTS_FOLDER.parent
_MOST_COST = 0.6


def test_the_cascade_matches_large_at_three_fifths_of_its_cost() -> None:
    plan = load_judge(_DEMO / "plans" / "frugal")
    assert isinstance(plan, FrugalCascade)
    data = RoutingData.read(_DEMO / "data" / "routes-auto.parquet").select(["small", "large"])
    found, large = plan.replay(data), data.experts.index("large")
    assert plan.experts_ == ("small", "large")
    assert found.cost.mean() < _MOST_COST * data.cost()[:, large].mean()
    lost = data.quality()[:, large] - found.quality
    rng = np.random.default_rng(0)
    means = [lost[rng.integers(len(lost), size=len(lost))].mean() for _ in range(1000)]
    assert np.quantile(means, 0.025) <= 0 <= np.quantile(means, 0.975)
