import numpy as np
import pytest

from routers import DataError, ParameterError, RoutingData, make_router
from routers.learning.labels import find_relaxation
from routers.methods.hybrid import HybridTransRouter


def test_the_pair_is_by_cost_unless_named(data: RoutingData) -> None:
    assert HybridTransRouter().fit(data).experts_ == ("small", "large")
    assert HybridTransRouter(small="sums").fit(data).experts_ == ("sums", "large")
    assert HybridTransRouter(large="sums").fit(data).experts_ == ("small", "sums")
    assert HybridTransRouter(small="large", large="small").fit(data).experts_ == ("large", "small")


def test_equal_costs_are_told_apart_by_quality(data: RoutingData) -> None:
    free = RoutingData(data.frame.assign(cost=0.0)).select(["large", "small"])
    assert HybridTransRouter().fit(free).experts_ == ("small", "large")


def test_pairs_that_cannot_be(data: RoutingData) -> None:
    with pytest.raises(ParameterError, match="large='huge' is not an expert of the data"):
        HybridTransRouter(large="huge").fit(data)
    with pytest.raises(DataError, match="two experts"):
        HybridTransRouter(small="large", large="large").fit(data)
    with pytest.raises(DataError, match="two experts"):
        HybridTransRouter().fit(data.select(["small"]))


def test_t_is_searched_or_given(data: RoutingData) -> None:
    found = HybridTransRouter().fit(data)
    assert found.t_ == find_relaxation(data.samples("small"), data.samples("large"))[0]
    assert HybridTransRouter(t=0.25).fit(data).t_ == 0.25
    assert found.summary_["t"] == found.t_


@pytest.mark.parametrize("head", ["linear", "mlp"])
def test_hard_prompts_score_higher(head: str, data: RoutingData) -> None:
    router = HybridTransRouter(head=head).fit(data)
    easy, hard = (
        ["What is 3 + 4 ?", "Sort the letters QWE in order"],
        [
            "What is 3 + 4 + 5 + 6 + 7 + 8 + 9 + 1 + 2 ?",
            "Sort the letters QWERTYUIO in order",
        ],
    )
    assert router.predict_large_needed(easy).max() < 0.4 < 0.6 < router.predict_large_needed(hard).min()
    quality = router.predict_quality(easy + hard)
    assert quality[:2, 0].min() > quality[2:, 0].max()
    assert np.abs(quality[:, 1] - 0.97).max() < 0.1


def test_score_is_calibrated(data: RoutingData, held_out: RoutingData) -> None:
    router = HybridTransRouter().fit(data)
    needed = 1 - (held_out.samples("small") >= held_out.samples("large")).mean(axis=1)
    assert abs(router.predict_large_needed(held_out.texts).mean() - needed.mean()) < 0.05


def test_wrong_parameters() -> None:
    for wrong in ({"head": "tree"}, {"t": 2.0}, {"C": 0.0}, {"folds": 1}, {"seed": -1}, {"hidden": 2.5}):
        with pytest.raises(ParameterError, match=next(iter(wrong))):
            make_router("hybrid-trans", **wrong)
