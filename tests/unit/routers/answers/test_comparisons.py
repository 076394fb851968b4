import numpy as np
import pandas as pd

from routers import RoutingData
from routers.answers.comparisons import Comparisons
from routers.answers.pairs import Pairs

from .conftest import answer_frame


def pairs_of(answers: list[tuple[str, str, float]]) -> Pairs:
    frame = answer_frame(len(answers), n_samples=1).drop_duplicates("prompt_id").reset_index(drop=True)
    frame[["prompt", "response", "quality"]] = pd.DataFrame(answers)
    return Pairs.of(RoutingData(frame))


QUESTION = [("q ?", "good", 1.0), ("q ?", "bad", 0.0), ("q ?", "worse", 0.0), ("r ?", "fine", 0.4), ("r ?", "so", 0.6)]


def seen(compared: Comparisons) -> list[tuple[str, str, str, float]]:
    return list(zip(compared.prompts, compared.first, compared.second, compared.better.tolist(), strict=True))


def test_every_pair_and_one_tie() -> None:
    compared = Comparisons.of(pairs_of(QUESTION), most=10, ties=0.1, seed=0)
    assert seen(compared) == [
        ("q ?", "good", "bad", 1.0),
        ("q ?", "good", "worse", 1.0),
        ("r ?", "fine", "so", 0.0),
        ("q ?", "bad", "worse", 0.5),
    ]
    assert compared.text.tolist() == [0, 0, 1, 0]
    assert 0.5 not in Comparisons.of(pairs_of(QUESTION), most=10, ties=0.0, seed=0).better


def test_both_orders_turn_the_label() -> None:
    compared = Comparisons.of(pairs_of(QUESTION), most=10, ties=0.1, seed=0).both_orders()
    assert seen(compared)[:2] == [("q ?", "good", "bad", 1.0), ("q ?", "bad", "good", 0.0)]
    assert seen(compared)[-1] == ("q ?", "worse", "bad", 0.5)
    assert compared.text.tolist() == [0, 0, 0, 0, 1, 1, 0, 0]
    part = compared.part(np.array([False] * 4 + [True] * 2 + [False] * 2))
    assert (part.text.tolist(), part.prompts) == ([0, 0], ["r ?"] * 2)


def test_answers_that_are_given_often_are_drawn_often() -> None:
    often = [("q ?", "good", 1.0)] + [("q ?", "bad", 0.0)] * 50 + [("q ?", f"odd {i}", 0.0) for i in range(5)]
    drawn = [Comparisons.of(pairs_of(often), most=1, ties=0.0, seed=seed) for seed in range(40)]
    assert all(len(compared) == 1 for compared in drawn)
    assert sum(compared.second == ["bad"] for compared in drawn) > 28


def test_equal_answers_are_not_compared() -> None:
    assert len(Comparisons.of(pairs_of([("q ?", "a", 1.0), ("q ?", "a", 0.0)]), most=5, ties=1.0, seed=0)) == 0


def test_the_draws_follow_from_the_seed(answered: RoutingData) -> None:
    pairs = Pairs.of(answered)
    one, again, other = (seen(Comparisons.of(pairs, 2, 0.1, seed)) for seed in (0, 0, 1))
    assert one == again != other
