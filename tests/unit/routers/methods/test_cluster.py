from pathlib import Path

import numpy as np
import pytest

from routers import BalancedKMeans, ClusterFeatures, ParameterError, RoutingData, load_router, save_router
from routers.methods.cluster import ClusterRouter

SUM, LETTERS, FAR = "What is 1 + 2 ?", "Sort the letters ABC in order", "zebra quagga"


@pytest.fixture(scope="module")
def router(data: RoutingData) -> ClusterRouter:
    return ClusterRouter(fallback="large", n_clusters=2).fit(data.select(["sums", "letters", "large"]))


def test_each_cluster_goes_to_its_best_expert_but_the_fallback(router: ClusterRouter) -> None:
    choice = router.predict([SUM, LETTERS]).choice
    assert choice is not None
    assert [router.experts_[i] for i in choice] == ["sums", "letters"]
    assert router.fallback_ == "large"


def test_quality_by_cluster_is_the_mean_over_its_prompts(router: ClusterRouter, data: RoutingData) -> None:
    domains = data.prompts["domain"].to_numpy()
    quality = data.select(router.experts_).quality()
    nearest = router.predict([SUM]).choice
    assert nearest is not None
    cluster = list(router.choice_).index(nearest[0])
    np.testing.assert_allclose(router.quality_[cluster], quality[domains == "sums"].mean(axis=0), atol=1e-6)


def test_clusters_are_those_of_the_paper_recipe(router: ClusterRouter, data: RoutingData) -> None:
    x = ClusterFeatures().fit(data.texts).transform(data.texts)
    kmeans = BalancedKMeans(2).fit(x)
    np.testing.assert_allclose(router.centers_, kmeans.cluster_centers_, atol=1e-5)
    assert router.summary_["cluster_sizes"] == [120, 120]


def test_weights_are_the_softmax_of_squared_distances(router: ClusterRouter) -> None:
    text = "What is the sum of the letters ?"
    distance = router._distances(router.features_.transform([text]))[0].astype(float)
    weight = np.exp(-(distance**2) / 0.1)
    expected = (weight / weight.sum()) @ router.quality_
    np.testing.assert_allclose(router.predict_quality([text])[0], expected, atol=1e-5)


def test_confidence_is_the_weight_of_the_clusters_that_agree(data: RoutingData) -> None:
    pool = data.select(["sums", "letters", "large"])
    router = ClusterRouter(fallback="large", n_clusters=4).fit(pool)
    for text in (SUM, LETTERS, "What is the sum of the letters ?"):
        prediction = router.predict([text])
        distance = router._distances(router.features_.transform([text]))[0].astype(float)
        weight = np.exp(-(distance**2) / 0.1)
        agreed = weight[router.choice_ == router.choice_[distance.argmin()]].sum() / weight.sum()
        assert prediction.confidence is not None
        assert prediction.confidence[0] == pytest.approx(agreed, abs=1e-5)


def test_adapting_a_loaded_router_joins_the_means(router: ClusterRouter, data: RoutingData, tmp_path: Path) -> None:
    save_router(router, tmp_path / "router")
    loaded = load_router(tmp_path / "router")
    assert isinstance(loaded, ClusterRouter)
    loaded.adapt(RoutingData(data.select(router.experts_).frame.assign(quality=1.0)))
    np.testing.assert_array_equal(loaded.count_, 2 * router.count_)
    np.testing.assert_allclose(loaded.quality_, (router.quality_ + 1) / 2, atol=1e-6)
    assert {loaded.experts_[i] for i in loaded.choice_} == {router.experts_[i] for i in router.choice_}


def test_novelty_is_one_at_the_learned_quantile(router: ClusterRouter, data: RoutingData) -> None:
    novelty = router.novelty(data.texts)
    assert novelty is not None
    assert np.quantile(novelty, 0.99) == pytest.approx(1.0, abs=1e-4)
    far = router.novelty([FAR, ""])
    assert far is not None
    assert far.min() > 1.5


def test_without_a_fallback_all_experts_compete(data: RoutingData) -> None:
    router = ClusterRouter(n_clusters=2).fit(data.select(["sums", "letters", "large"]))
    assert router.fallback_ == "large"
    assert {router.experts_[i] for i in router.choice_} == {"large"}
    assert len(ClusterRouter().fit(data).centers_) == 4
    assert len(ClusterRouter(fallback="large").fit(data).centers_) == 3


def test_clusters_of_weak_experts_go_to_the_fallback(data: RoutingData) -> None:
    pair = data.select(["sums", "large"])
    strict = ClusterRouter(fallback="large", n_clusters=2, max_drop=0.1).fit(pair)
    choice = strict.predict([SUM, LETTERS]).choice
    assert choice is not None
    assert [strict.experts_[i] for i in choice] == ["sums", "large"]
    free = ClusterRouter(fallback="large", n_clusters=2).fit(pair)
    assert {free.experts_[i] for i in free.choice_} == {"sums"}


def test_of_equal_experts_the_cheaper_is_chosen(data: RoutingData) -> None:
    same = RoutingData(data.frame.assign(quality=1.0))
    router = ClusterRouter(fallback="large", n_clusters=2).fit(same)
    assert {router.experts_[i] for i in router.choice_} == {"small"}


def test_unknown_fallback(data: RoutingData) -> None:
    with pytest.raises(ParameterError, match="fallback='huge' is not an expert of the data"):
        ClusterRouter(fallback="huge").fit(data)
