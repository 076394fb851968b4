import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from routers import ArtifactError, DataError, ParameterError, RoutingData, make_router
from routers.base import RouterState
from routers.features import unit_rows
from routers.learning.labels import relaxed_labels
from routers.methods.routellm_sw import SimilarityWeightedRouter

EASY = ["What is 3 + 4 ?", "Sort the letters QWE in order"]
HARD = ["What is 3 + 4 + 5 + 6 + 7 + 8 + 9 + 1 + 2 ?", "Sort the letters QWERTYUIO in order"]


@pytest.fixture(scope="module")
def router(data: RoutingData) -> SimilarityWeightedRouter:
    return SimilarityWeightedRouter().fit(data)


def omega(router: SimilarityWeightedRouter, data: RoutingData, text: str) -> np.ndarray:
    """Weights of the training prompts, by the formula."""
    rows = router.features_.transform(data.texts).astype(float)
    request = router.features_.transform([text])[0].astype(float)
    similarity = rows @ request / np.linalg.norm(rows, axis=1) / np.linalg.norm(request)
    return router.gamma ** (1 + similarity / similarity.max())


def test_the_score_is_that_of_a_logistic_regression_over_all_battles(
    router: SimilarityWeightedRouter, data: RoutingData
) -> None:
    small, large = data.samples("small"), data.samples("large")
    wins = (1 + relaxed_labels(large, small) - relaxed_labels(small, large)) / 2
    for text in EASY + HARD:
        weights = omega(router, data, text)
        x = np.repeat([[-1.0, 1.0]], 2 * len(wins), axis=0)
        labels = np.repeat([1, 0], len(wins))
        model = LogisticRegression(C=1.0, fit_intercept=False, tol=1e-9, max_iter=1000)
        model.fit(x, labels, sample_weight=np.concatenate([weights * wins, weights * (1 - wins)]))
        expected = 1 / (1 + np.exp(model.coef_[0, 0] - model.coef_[0, 1]))
        assert router.predict_large_needed([text])[0] == pytest.approx(expected, abs=1e-4)


def test_qualities_are_means_under_the_same_weights(router: SimilarityWeightedRouter, data: RoutingData) -> None:
    quality = data.select(["small", "large"]).quality()
    for text in EASY + HARD:
        weights = omega(router, data, text)
        expected = weights @ quality / weights.sum()
        np.testing.assert_allclose(router.predict_quality([text])[0], expected, atol=1e-5)


def test_hard_prompts_score_higher(router: SimilarityWeightedRouter) -> None:
    assert router.predict_large_needed(EASY).max() < router.threshold_ < router.predict_large_needed(HARD).min()


def test_a_prompt_like_no_other_has_the_score_of_all_battles_alike(router: SimilarityWeightedRouter) -> None:
    nothing = SimilarityWeightedRouter._predict_rows(router, np.zeros((1, router.rows_.shape[1]), dtype=np.float32))
    flat = 1 / (1 + np.exp(router.strengths_[0] - router.strengths_[1]))
    assert nothing.large_needed is not None
    assert nothing.large_needed[0] == pytest.approx(flat, abs=1e-5)
    np.testing.assert_allclose(nothing.quality[0], router.quality_.mean(axis=0), atol=1e-5)


def test_gamma_of_one_forgets_similarity_and_a_large_one_sharpens_it(data: RoutingData) -> None:
    flat = SimilarityWeightedRouter(gamma=1.0).fit(data).predict_large_needed(EASY + HARD)
    assert np.ptp(flat) < 1e-6
    spreads = [
        np.ptp(SimilarityWeightedRouter(gamma=gamma).fit(data).predict_large_needed(EASY + HARD))
        for gamma in (3.0, 10.0, 100.0)
    ]
    assert spreads == sorted(spreads)


@pytest.mark.parametrize("share", [0.2, 0.7])
def test_the_threshold_sends_the_share_of_new_prompts_to_the_large_one(
    share: float, data: RoutingData, held_out: RoutingData
) -> None:
    router = SimilarityWeightedRouter(large_share=share).fit(data)
    sent = (router.predict_large_needed(held_out.texts) >= router.threshold_).mean()
    assert sent == pytest.approx(share, abs=0.12)


def test_left_out_scores_do_not_know_the_prompts_own_battle(data: RoutingData) -> None:
    few = RoutingData(data.frame[:96])
    router = SimilarityWeightedRouter().fit(few)
    scores = router._left_out_scores()
    order = np.random.default_rng(0).permutation(len(few.texts))
    for place in (0, 3):
        others = few.frame[few.frame["prompt_id"] != f"p{order[place]}"]
        without = SimilarityWeightedRouter().fit(RoutingData(others))
        without.rows_ = np.delete(router.rows_, order[place], axis=0)
        predicted = without._predict_rows(router.rows_[[order[place]]])
        assert predicted.large_needed is not None
        assert scores[place] == pytest.approx(predicted.large_needed[0], abs=1e-4)


def test_all_experts_fight_when_asked_to(data: RoutingData, held_out: RoutingData) -> None:
    pair, every = SimilarityWeightedRouter().fit(data), SimilarityWeightedRouter(battles="all").fit(data)
    assert (pair.contenders_, pair.battles_.shape[1:]) == (("small", "large"), (2, 2))
    assert (every.contenders_, every.battles_.shape[1:]) == (("small", "large", "letters", "sums"), (4, 4))
    assert every.experts_ == ("small", "large")
    assert every.cost_.shape == (2,)
    assert every.predict_quality(["x"]).shape == (1, 2)
    scores = [router.predict_large_needed(held_out.texts) for router in (pair, every)]
    assert 0.5 < np.corrcoef(scores)[0, 1] < 0.999


def test_a_gap_of_a_third_expert_matters_only_if_it_fights(data: RoutingData) -> None:
    frame = data.frame
    gap = RoutingData(frame[~((frame["prompt_id"] == "p7") & (frame["expert"] == "sums"))])
    SimilarityWeightedRouter().fit(gap)
    with pytest.raises(DataError, match="'p7' has no answer of expert 'sums'"):
        SimilarityWeightedRouter(battles="all").fit(gap)


@pytest.mark.parametrize("battles", ["pair", "all"])
def test_adapting_adds_the_new_battles(battles: str, data: RoutingData, held_out: RoutingData) -> None:
    frame = held_out.frame
    frame.loc[frame["expert"] == "small", "quality"] = np.where(frame["domain"] == "sums", 1.0, 0.0)[
        frame["expert"] == "small"
    ]
    router = SimilarityWeightedRouter(battles=battles).fit(data)
    before, threshold = router.predict_large_needed(EASY + HARD), router.threshold_
    router.adapt(RoutingData(frame))
    after = router.predict_large_needed(EASY + HARD)
    assert len(router.rows_) == len(router.battles_) == len(router.quality_) == len(data.texts) + len(held_out.texts)
    assert after[0] < before[0]
    assert after[1] > before[1]
    assert router.threshold_ == threshold


def test_any_dense_features_do_and_sparse_ones_do_not(data: RoutingData) -> None:
    router = SimilarityWeightedRouter(features="c-btm", side=["domain"]).fit(data)
    np.testing.assert_allclose(np.linalg.norm(router.rows_, axis=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(unit_rows(router.rows_), router.rows_, atol=1e-6)
    with pytest.raises(ParameterError, match="'tfidf' do not do"):
        SimilarityWeightedRouter(features="tfidf").fit(data)


def test_wrong_parameters() -> None:
    for wrong in ({"gamma": 0.5}, {"C": 0.0}, {"battles": "some"}, {"large_share": 1.5}):
        with pytest.raises(ParameterError, match=next(iter(wrong))):
            make_router("routellm-sw", **wrong)


def test_damaged_states_are_refused(router: SimilarityWeightedRouter) -> None:
    state = router.state()
    wrong = SimilarityWeightedRouter()
    wrong.experts_ = router.experts_
    for calibration, tensors, match in (
        ({}, state.tensors, "contenders"),
        ({"contenders": ["large", "small"]}, state.tensors, "contenders"),
        (state.calibration, {**state.tensors, "battles": state.tensors["battles"] * 3}, "not shares"),
        (state.calibration, {**state.tensors, "rows": state.tensors["rows"][1:]}, "train and save"),
    ):
        with pytest.raises(ArtifactError, match=match):
            wrong.restore(RouterState(state.features, calibration, tensors))
