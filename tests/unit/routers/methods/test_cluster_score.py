from pathlib import Path

import numpy as np
import pytest

from routers import DataError, NotFittedError, ParameterError, RoutingData, evaluate, load_router, save_router
from routers.learning.cluster_table import ClusterTable
from routers.methods.cluster_score import ClusterScoreRouter

SUM, LETTERS = "What is 1 + 2 + 3 + 4 + 5 + 6 + 7 + 8 ?", "Sort the letters ABCDEFGH in order"
CENTERS = np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32)
QUALITY = np.array([[0.9, 0.5, 0.1], [0.2, 0.6, 0.4]])
COST = np.array([[4.0, 1.0, 2.0], [4.0, 2.0, 1.0]])


def by_hand(**parameters: float) -> ClusterScoreRouter:
    """Two clusters of one prompt each, three experts."""
    router = ClusterScoreRouter(shrinkage=0.0, **parameters)  # type: ignore[arg-type]
    router.experts_ = ("a", "b", "c")
    router.cost_ = COST.mean(axis=0)
    router.fallback_ = "b"
    router.summary_ = {}
    router.centers_ = CENTERS
    router.table_ = ClusterTable.of(np.array([0, 1]), QUALITY, COST, 2)
    router._score()
    return router


@pytest.fixture
def router(data: RoutingData) -> ClusterScoreRouter:
    return ClusterScoreRouter(n_clusters=4).fit(data.select(["letters", "small"]))


def test_scores_by_hand() -> None:
    # Cluster 0: minmax (1, 0.5, 0), 1 - cost / 4 = (0, 0.75, 0.5). Cluster 1: (0, 1, 0.5) and (0, 0.5, 0.75).
    minmax = np.array([[1.0, 0.5, 0.0], [0.0, 1.0, 0.5]])
    saved = np.array([[0.0, 0.75, 0.5], [0.0, 0.5, 0.75]])
    for alpha in (0.0, 0.3, 1.0):
        np.testing.assert_allclose(by_hand(alpha=alpha).score_, alpha * minmax + (1 - alpha) * saved, atol=1e-6)


def test_weights_and_choice_by_hand() -> None:
    # The prompt (0.6, 0.8) is sqrt(0.8) from one centroid and sqrt(0.4) from the other.
    router = by_hand(alpha=0.3, beta=9.0)
    prompt = np.array([[0.6, 0.8]], dtype=np.float32)
    p = np.exp(-9 * np.sqrt([0.8, 0.4]))
    p /= p.sum()
    prediction = router._predict_rows(prompt)
    np.testing.assert_allclose(prediction.quality[0], p @ QUALITY, atol=1e-5)
    assert prediction.choice is not None
    assert prediction.choice[0] == (p @ router.score_).argmax() == 1
    np.testing.assert_allclose(by_hand(beta=0.0)._predict_rows(prompt).quality[0], QUALITY.mean(axis=0), atol=1e-6)


def test_only_the_top_clusters_count() -> None:
    prediction = by_hand(top=1)._predict_rows(np.array([[0.6, 0.8], [0.8, 0.6]], dtype=np.float32))
    np.testing.assert_allclose(prediction.quality, QUALITY[::-1], atol=1e-6)
    assert prediction.choice is not None
    assert prediction.choice.tolist() == [1, 0]


def test_without_weight_on_quality_the_cheapest_is_chosen() -> None:
    prediction = by_hand(alpha=0.0)._predict_rows(CENTERS)
    assert prediction.choice is not None
    assert prediction.choice.tolist() == [1, 2]
    assert prediction.confidence is not None
    assert prediction.confidence.min() > 0.99


def test_equal_experts_have_no_lead() -> None:
    router = by_hand()
    router.table_ = ClusterTable.of(np.array([0, 1]), np.full((2, 3), 0.5), COST, 2)
    router._score()
    prediction = router._predict_rows(CENTERS)
    assert not router.score_.any()
    assert prediction.confidence is not None
    assert not prediction.confidence.any()


def test_confidence_rises_with_the_number_of_prompts() -> None:
    few, many = by_hand(), by_hand()
    many.table_ = ClusterTable.of(np.repeat([0, 1], 100), QUALITY.repeat(100, axis=0), COST.repeat(100, axis=0), 2)
    many._score()
    sure = [router._predict_rows(CENTERS).confidence for router in (few, many)]
    assert sure[0] is not None
    assert sure[1] is not None
    assert (sure[0] < sure[1]).all()
    assert sure[1].min() > 0.98


def test_better_than_the_best_single_expert(data: RoutingData, held_out: RoutingData) -> None:
    pool = ["letters", "small", "sums"]
    router = ClusterScoreRouter().fit(data.select(pool))
    best = held_out.select(pool).quality().mean(axis=0).max()
    assert evaluate(router, held_out).quality > best + 0.15
    assert len(router.centers_) == round((240 / 2) ** 0.5)


def test_a_new_expert_is_used_where_it_is_good(
    router: ClusterScoreRouter, data: RoutingData, held_out: RoutingData, tmp_path: Path
) -> None:
    before = router.quality_.copy()
    alone = evaluate(router, held_out).quality
    frame = data.frame
    some = frame[(frame["expert"] == "sums") & frame["prompt_id"].isin([f"p{i}" for i in range(100)])]
    assert router.add_expert(RoutingData(some), "sums") is router
    assert router.experts_ == ("letters", "small", "sums")
    np.testing.assert_array_equal(router.quality_[:, :2], before)
    assert router.cost_.tolist() == pytest.approx([0.3, 0.1, 0.3])
    assert router.summary_["added"][0]["expert"] == "sums"
    assert router.summary_["added"][0]["prompts"] == 100
    choice = router.predict([SUM, LETTERS]).choice
    assert choice is not None
    assert [router.experts_[i] for i in choice] == ["sums", "letters"]
    assert evaluate(router, held_out).quality > alone + 0.15
    save_router(router, tmp_path / "router")
    loaded = load_router(tmp_path / "router")
    assert loaded.experts_ == router.experts_
    assert loaded.summary_ == router.summary_
    np.testing.assert_array_equal(loaded.predict_quality([SUM, LETTERS]), router.predict_quality([SUM, LETTERS]))


def test_a_new_expert_without_prompts_in_a_cluster_is_not_taken_for_good_there(
    router: ClusterScoreRouter, data: RoutingData
) -> None:
    frame = data.frame
    sums = frame[(frame["expert"] == "sums") & (frame["domain"] == "sums")].assign(quality=0.5)
    router.add_expert(RoutingData(sums), "sums")
    unseen = router.table_.count[:, 2] == 0
    ease = router.table_.ease
    share = router.table_.count[:, 2] / router.table_.count[:, 2].sum()
    assert unseen.any()
    np.testing.assert_allclose(router.quality_[unseen, 2], np.clip(0.5 + ease - ease @ share, 0, 1)[unseen], atol=1e-6)


def test_removing_an_expert(router: ClusterScoreRouter, data: RoutingData) -> None:
    before = router.quality_.copy()
    router.add_expert(data, "large")
    router.fallback_ = "large"
    assert router.remove_expert("large") is router
    assert router.experts_ == ("letters", "small")
    np.testing.assert_array_equal(router.quality_, before)
    assert router.fallback_ in router.experts_
    assert router.summary_["removed"] == ["large"]
    router.remove_expert("letters")
    assert router.predict([SUM]).confidence is not None
    with pytest.raises(ParameterError, match="must keep one"):
        router.remove_expert("small")
    with pytest.raises(ParameterError, match="cannot be removed"):
        router.remove_expert("letters")


def test_experts_that_cannot_be_added(router: ClusterScoreRouter, data: RoutingData) -> None:
    with pytest.raises(ParameterError, match="already"):
        router.add_expert(data, "letters")
    with pytest.raises(DataError, match="no expert 'huge'"):
        router.add_expert(data, "huge")
    with pytest.raises(NotFittedError, match="not trained"):
        ClusterScoreRouter().add_expert(data, "large")
    assert router.experts_ == ("letters", "small")


def test_adapting_a_loaded_router_joins_the_means(
    router: ClusterScoreRouter, data: RoutingData, tmp_path: Path
) -> None:
    save_router(router, tmp_path / "router")
    loaded = load_router(tmp_path / "router")
    assert isinstance(loaded, ClusterScoreRouter)
    loaded.adapt(RoutingData(data.select(router.experts_).frame.assign(quality=1.0)))
    np.testing.assert_array_equal(loaded.table_.count, 2 * router.table_.count)
    np.testing.assert_allclose(loaded.table_.quality, (router.table_.quality + 1) / 2)
