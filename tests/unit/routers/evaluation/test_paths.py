from itertools import pairwise

import numpy as np
import pytest

from routers.evaluation.paths import one_step_path, score_path, trade_off_path

from .labels import once

SMALL, LARGE = [1.0, 0.0, 1.0, 0.0], [1.0, 1.0, 0.0, 1.0]
QUALITY = np.column_stack([SMALL, LARGE])


def test_the_highest_score_goes_to_the_large_expert_first() -> None:
    path = score_path(np.array([0.1, 0.9, 0.8, 0.3]), 0, 1)
    assert path.keys.tolist() == [0.9, 0.8, 0.3, 0.1]
    assert path.along(QUALITY, once(4)) == pytest.approx(np.array([[0.5, 0.75, 0.5, 0.75, 0.75]]))


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1, 0, 2], [2, 3, 1, 0]])
def test_equal_scores_move_together_whatever_their_order(order: list[int]) -> None:
    path = score_path(np.array([0.5, 0.5, 0.5, 0.2])[order], 0, 1)
    assert path.keys.tolist() == [0.5, 0.2]
    assert path.along(QUALITY[order], once(4)) == pytest.approx(np.array([[0.5, 0.5, 0.75]]))


def test_a_coin_is_one_step() -> None:
    path = one_step_path(4, 0, 1)
    assert path.along(QUALITY, once(4)) == pytest.approx(np.array([[0.5, 0.75]]))


def test_weights_count_a_prompt_as_often_as_it_was_drawn() -> None:
    score, drawn = np.array([0.1, 0.9, 0.8, 0.3]), [0, 0, 2, 3]
    weights = np.array([[2.0, 0.0, 1.0, 1.0]])
    repeated = score_path(score[drawn], 0, 1).along(QUALITY[drawn], once(4))[0]
    # The prompt that was not drawn leaves a step on which nothing changes; the one drawn twice is one step of two.
    assert score_path(score, 0, 1).along(QUALITY, weights)[0, 1:] == pytest.approx(repeated)


def test_trade_off_visits_the_upper_envelope() -> None:
    quality = np.array([[0.25, 0.75, 1.0], [0.5, 0.25, 0.875], [0.875, 0.5, 0.5]])
    path = trade_off_path(quality, np.array([1.0, 2.0, 4.0]))
    assert path.start.tolist() == [0, 0, 0]
    assert path.keys.tolist() == [0.5, 0.125]
    assert path.ends.tolist() == [1, 3]
    moves = set(zip(path.prompt.tolist(), path.old.tolist(), path.new.tolist(), strict=True))
    assert moves == {(0, 0, 1), (0, 1, 2), (1, 0, 2)}


def test_trade_off_is_the_argmax_at_every_lambda() -> None:
    rng = np.random.default_rng(0)
    quality, cost = rng.random((50, 4)), np.array([1.0, 1.5, 2.0, 5.0])
    path = trade_off_path(quality, cost)
    predicted = path.along(quality, once(50))[0]
    paid = path.along(np.tile(cost, (50, 1)), once(50))[0]
    limits = [np.inf, *path.keys, 0.0]
    for place, (above, below) in enumerate(pairwise(limits)):
        between = (min(above, 2.0) + below) / 2
        chosen = (quality - between * cost).argmax(axis=1)
        assert predicted[place] == pytest.approx(quality[np.arange(50), chosen].mean())
        assert paid[place] == pytest.approx(cost[chosen].mean())


def test_trade_off_of_equal_costs_and_unknown_experts() -> None:
    same = trade_off_path(np.array([[0.25, 0.5], [0.75, 0.5]]), np.array([1.0, 1.0]))
    assert (same.start.tolist(), len(same.prompt)) == ([1, 0], 0)
    unknown = trade_off_path(np.array([[np.nan, 0.25, 0.5]]), np.array([np.nan, 1.0, 2.0]))
    assert (unknown.start.tolist(), unknown.new.tolist()) == ([1], [2])
