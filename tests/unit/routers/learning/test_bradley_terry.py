import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from routers import DataError, RoutingData
from routers.learning.bradley_terry import battle_table, similarity_weights, strengths, win_shares

NAN = np.nan


def by_logistic_regression(battles: np.ndarray, weights: np.ndarray, C: float) -> np.ndarray:
    """Strengths as RouteLLM's code fits them: a row a battle and its copies, so that a tie is a win of each side."""
    n, k, _ = battles.shape
    first, second = np.triu_indices(k, 1)
    x = np.zeros((n * len(first), k))
    for row in range(len(x)):
        x[row, first[row % len(first)]], x[row, second[row % len(first)]] = 1.0, -1.0
    won = battles[:, first, second].reshape(-1)
    # Shares are in quarters here, so four copies with labels 0 and 1 hold every share.
    labels = (np.arange(4) < np.round(won * 4)[:, None]).astype(int)
    weight = np.repeat(weights, 4 * len(first)) / 4
    model = LogisticRegression(C=C, fit_intercept=False, tol=1e-10, max_iter=10_000)
    model.fit(np.repeat(x, 4, axis=0), labels.ravel(), sample_weight=weight)
    return model.coef_[0]


def test_battles_are_all_pairs_of_samples_and_ties_are_halves() -> None:
    # 0.9 against 0.5, 0.9, 0.95: a win, a tie, a loss. 0.1 against them: three losses. So 1.5 of 6.
    assert win_shares([[0.9, 0.1]], [[0.5, 0.9, 0.95]]) == pytest.approx([1.5 / 6])
    assert win_shares([[0.5, 0.9, 0.95]], [[0.9, 0.1]]) == pytest.approx([4.5 / 6])
    assert win_shares([[0.5]], [[0.5]]) == pytest.approx([0.5])
    assert win_shares([[1.0, NAN]], [[0.0, 1.0]]) == pytest.approx([0.75])
    with pytest.raises(DataError, match="no answer"):
        win_shares([[NAN]], [[1.0]])


def test_the_table_holds_a_battle_of_every_two_experts(data: RoutingData) -> None:
    chosen = data.select(["large", "small", "sums"])
    table = battle_table(chosen)
    assert table.shape == (len(data.texts), 3, 3)
    np.testing.assert_allclose(table[:, 0, 1], win_shares(data.samples("large"), data.samples("small")))
    np.testing.assert_allclose(table[:, 2, 1], win_shares(data.samples("sums"), data.samples("small")))
    off = ~np.eye(3, dtype=bool)
    np.testing.assert_allclose((table + table.transpose(0, 2, 1))[:, off], 1.0)
    assert not table[:, ~off].any()


def test_weights_are_gamma_to_one_plus_relative_similarity() -> None:
    similarity = np.array([[0.5, 0.25, 0.0, -0.5], [0.1, 0.1, 0.05, -0.1]], dtype=np.float32)
    expected = [[100.0, 10**1.5, 10.0, 1.0], [100.0, 100.0, 10**1.5, 1.0]]
    np.testing.assert_allclose(similarity_weights(similarity, 10.0), expected, rtol=1e-5)
    np.testing.assert_allclose(similarity_weights(similarity, 2.0)[0], [4.0, 2**1.5, 2.0, 1.0], rtol=1e-5)
    np.testing.assert_allclose(similarity_weights(similarity, 1.0), 1.0)


def test_weights_without_a_similar_prompt_are_all_equal() -> None:
    similarity = np.array([[0.0, 0.0], [-0.5, -0.1]], dtype=np.float32)
    np.testing.assert_allclose(similarity_weights(similarity, 10.0), 10.0, rtol=1e-6)


def test_three_battles_by_hand() -> None:
    # b beats a in battles that weigh 100 and 10, and loses one that weighs 10: odds 110 to 10.
    wins = np.array([[[0.0, 10.0], [110.0, 0.0]]])
    xi = strengths(wins, C=1e6)[0]
    assert xi[1] - xi[0] == pytest.approx(np.log(11), abs=1e-6)
    assert xi.sum() == pytest.approx(0.0, abs=1e-6)


def test_the_penalty_by_hand() -> None:
    # One battle of weight 1, always won: with d the difference, sigmoid(-d) = d / (2 C) at the minimum.
    d = np.ptp(strengths(np.array([[[0.0, 0.0], [1.0, 0.0]]]), C=1.0)[0])
    assert 1 / (1 + np.exp(d)) == pytest.approx(d / 2, abs=1e-9)
    strong, weak = (np.ptp(strengths(np.array([[[0.0, 0.0], [1.0, 0.0]]]), C=C)[0]) for C in (0.1, 100.0))
    assert strong < d < weak < 20


@pytest.mark.parametrize("C", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("k", [2, 5])
def test_equal_to_weighted_logistic_regression_over_all_battles(k: int, C: float) -> None:
    rng = np.random.default_rng(k)
    battles = np.zeros((60, k, k))
    for a, b in zip(*np.triu_indices(k, 1), strict=True):
        won = rng.binomial(4, 1 / (1 + np.exp(a - b)), size=60) / 4
        battles[:, a, b], battles[:, b, a] = won, 1 - won
    weights = similarity_weights(rng.uniform(-1, 1, size=(3, 60)).astype(np.float32), 10.0).astype(float)
    found = strengths(np.einsum("nb,bij->nij", weights, battles), C)
    for row in range(3):
        np.testing.assert_allclose(found[row], by_logistic_regression(battles, weights[row], C), atol=1e-4)


def test_without_a_penalty_to_speak_of_two_experts_have_the_odds_of_their_wins() -> None:
    rng = np.random.default_rng(0)
    wins = rng.uniform(1, 1000, size=(50, 2, 2)) * (1 - np.eye(2))
    xi = strengths(wins, C=1e9)
    np.testing.assert_allclose(xi[:, 1] - xi[:, 0], np.log(wins[:, 1, 0] / wins[:, 0, 1]), atol=1e-6)


@pytest.mark.parametrize("start", [[0.0, 0.0, 0.0], [30.0, -30.0, 5.0], [-100.0, 80.0, 0.0]])
def test_any_start_leads_to_the_minimum(start: list[float]) -> None:
    wins = np.array([[[0.0, 3.0, 1e6], [1.0, 0.0, 1e6], [0.0, 0.0, 0.0]], [[0.0, 1.0, 1.0], [1, 0, 1], [1, 1, 0]]])
    found = strengths(wins, C=10.0, start=start)
    gradient = ((wins + wins.transpose(0, 2, 1)) / (1 + np.exp(found[:, None, :] - found[:, :, None])) - wins).sum(
        axis=2
    ) + found / 10
    assert np.abs(gradient).max() < 1e-4
    np.testing.assert_allclose(found[1], 0.0, atol=1e-9)


def test_a_tie_weighs_half_for_each(frame: pd.DataFrame) -> None:
    tied = battle_table(RoutingData(frame.assign(quality=0.5)).select(["small", "large"]))
    assert np.ptp(strengths(tied.sum(axis=0)[None], C=1.0)[0]) == pytest.approx(0.0, abs=1e-9)
