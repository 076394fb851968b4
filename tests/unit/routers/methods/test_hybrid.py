import numpy as np
import pandas as pd
import pytest

from routers import DataError, ParameterError, RoutingData, TwoModelRouter, make_router
from routers.learning.augment import noisy_copies
from routers.learning.labels import find_relaxation
from routers.methods.hybrid import HybridTransRouter
from tests.unit.routers.conftest import make_frame


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


def target_frame(seed: int, n_prompts: int) -> pd.DataFrame:
    """Prompts asked in other words, with a small model that now fails at more than three letters."""
    frame = make_frame(n_prompts, seed=seed)
    worse = (frame["expert"] == "small") & frame["prompt"].str.contains("[A-Z]{4}")
    frame.loc[worse, "quality"] = 0.0
    frame["prompt"] = frame["prompt"].str.replace("What is", "Please work out")
    return frame.assign(prompt_id="t" + frame["prompt_id"])


def log_loss(router: TwoModelRouter, data: RoutingData) -> float:
    p = np.clip(router.predict_large_needed(data.texts), 1e-6, 1 - 1e-6)
    needed = 1 - (data.samples("small") >= data.samples("large")).mean(axis=1)
    return float(-(needed * np.log(p) + (1 - needed) * np.log(1 - p)).mean())


@pytest.mark.parametrize(("head", "n_prompts"), [("linear", 40), ("mlp", 100)])
def test_a_few_target_prompts_beat_the_start_and_beat_themselves_alone(
    head: str, n_prompts: int, data: RoutingData
) -> None:
    parts = RoutingData(target_frame(5, n_prompts)), RoutingData(target_frame(6, n_prompts))
    before, adapted, alone = 0.0, 0.0, 0.0
    for few, others in (parts, parts[::-1]):
        router = HybridTransRouter(head=head, hidden=16).fit(data)
        before += log_loss(router, others) / 2
        adapted += log_loss(router.adapt(few), others) / 2
        alone += log_loss(HybridTransRouter(head=head, hidden=16, t=router.t_).fit(few), others) / 2
    assert adapted < before - 0.3
    assert adapted < alone


def test_adapting_keeps_the_relaxation_and_the_threshold(data: RoutingData) -> None:
    router = HybridTransRouter().fit(data)
    router.threshold_, t = 0.3, router.t_
    router.adapt(RoutingData(target_frame(5, 40)))
    assert (router.threshold_, router.t_) == (0.3, t)
    assert [noted["prompts"] for noted in router.summary_["adapted"]] == [40]


@pytest.mark.parametrize("head", ["linear", "mlp"])
def test_noisy_copies_make_it_steadier(head: str, data: RoutingData, held_out: RoutingData) -> None:
    noisy, source = noisy_copies(held_out.texts, 2, seed=7)
    clean, changed = [], []
    for augment in (0.0, 3.0):
        router = HybridTransRouter(head=head, hidden=16, augment=augment).fit(data)
        score = router.predict_large_needed(held_out.texts)
        clean.append(log_loss(router, held_out))
        changed.append(np.abs(router.predict_large_needed(noisy) - score[source]).mean())
    assert changed[1] < changed[0]
    assert clean[1] < clean[0] + 0.02


def test_features_come_from_the_prompts_as_they_are(data: RoutingData) -> None:
    plain, copied = HybridTransRouter().fit(data), HybridTransRouter(augment=0.001).fit(data)
    np.testing.assert_array_equal(copied.predict_quality(["What is 1 ?"]), plain.predict_quality(["What is 1 ?"]))
    noisy = HybridTransRouter(augment=2).fit(data)
    for name, tensor in plain.features_.tensors().items():
        np.testing.assert_array_equal(noisy.features_.tensors()[name], tensor)
