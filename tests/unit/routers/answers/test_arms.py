from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest

from routers import AnswerScorer, DataError, NotFittedError, ParameterError, RoutingData
from routers.answers import PairRanker, parse_arms, replay_arm, with_arms
from routers.base import Progress, RouterState

PRICES = {"small": (1e-6, 4e-6), "large": (5e-6, 2e-5)}


class Longest(AnswerScorer):
    """Likes long answers."""

    name = "longest"

    def _fit(self, data: RoutingData, progress: Progress) -> None: ...

    def _score(self, prompts: Sequence[str], answers: Sequence[str]) -> np.ndarray:
        return np.array([len(answer) / 100 for answer in answers], dtype=np.float32)

    def state(self) -> RouterState:
        return RouterState({}, {}, {})

    def restore(self, state: RouterState) -> None: ...


LENGTHS = (1, 5, 2, 4, 3)
"""Of the five answers, in tokens; the longest is good, and the next to longest half so."""


def recorded(n_prompts: int = 3) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for number in range(n_prompts):
        for expert, (price_in, price_out) in PRICES.items():
            for sample, length in enumerate(LENGTHS):
                tokens_in = 10 + number
                rows.append(
                    {
                        "prompt_id": f"p{number}",
                        "prompt": f"question {number} ?",
                        "expert": expert,
                        "sample": sample,
                        "quality": {5: 1.0, 4: 0.5}.get(length, 0.0),
                        "input_tokens": tokens_in,
                        "output_tokens": length,
                        "cost": tokens_in * price_in + length * price_out,
                        "latency_s": length / 10,
                        "response": ("x" if expert == "small" else "y") * length,
                        "split": "train",
                    }
                )
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def data() -> RoutingData:
    return RoutingData(recorded())


@pytest.fixture(scope="module")
def longest(data: RoutingData) -> Longest:
    return Longest().fit(data)


def rows_of(data: RoutingData, arm: str) -> pd.DataFrame:
    frame = data.frame
    return frame[frame["expert"] == arm]


def test_best_of_n_over_all_subsets_by_hand(data: RoutingData, longest: Longest) -> None:
    derived = with_arms(data, {"small-x3": {"small": 3}}, longest, draws=10)
    assert derived.experts == ("large", "small", "small-x3")
    arm = rows_of(derived, "small-x3")
    assert len(arm) == 3 * 10
    # Of 10 subsets 6 hold the longest answer; of the other 4, three hold the next to longest.
    np.testing.assert_allclose(derived.quality()[:, 2], (6 * 1.0 + 3 * 0.5) / 10)
    subsets = [sum(lengths) for lengths in combinations(LENGTHS, 3)]
    assert arm["output_tokens"].tolist() == subsets * 3
    assert arm["input_tokens"].tolist() == [10] * 10 + [11] * 10 + [12] * 10
    np.testing.assert_allclose(arm["cost"], arm["input_tokens"] * 1e-6 + arm["output_tokens"] * 4e-6)
    assert arm["sample"].tolist() == [*range(10)] * 3
    assert set(arm["response"].str.len()) == {5, 4, 3}
    np.testing.assert_allclose(arm["latency_s"], [max(lengths) / 10 for lengths in combinations(LENGTHS, 3)] * 3)
    assert set(arm["split"]) == {"train"}


def test_a_blend_pays_for_every_member(data: RoutingData, longest: Longest) -> None:
    derived = with_arms(data, {"blend": {"small": 1, "large": 1}}, longest, draws=25)
    arm = rows_of(derived, "blend")
    assert len(arm) == 3 * 25
    assert arm["input_tokens"].tolist() == [20] * 25 + [22] * 25 + [24] * 25
    # Of 25 pairs of lengths 9 have a 5, and of the others 7 have a 4.
    np.testing.assert_allclose(derived.quality()[:, 2], (9 + 7 * 0.5) / 25)
    both = data.cost().sum(axis=1)
    np.testing.assert_allclose(derived.cost()[:, 2], both)
    first = arm.iloc[0]
    assert (first["response"], first["output_tokens"]) == ("x", 2)


def test_draws_are_different_and_follow_from_seed_and_prompt(data: RoutingData, longest: Longest) -> None:
    arms = {"small-x2": {"small": 2}}
    some = with_arms(data, arms, longest, draws=4)
    assert len(rows_of(some, "small-x2")) == 12
    exact = with_arms(data, arms, longest, draws=10).quality()[:, 2]
    assert np.abs(some.quality()[:, 2] - exact).max() < 0.6
    pd.testing.assert_frame_equal(some.frame, with_arms(data, arms, longest, draws=4).frame)
    other = with_arms(data, arms, longest, draws=4, seed=1)
    assert not rows_of(some, "small-x2").equals(rows_of(other, "small-x2"))
    shuffled = RoutingData(recorded().sample(frac=1, random_state=0).query("prompt_id != 'p0'"))
    mine = rows_of(with_arms(shuffled, arms, longest, draws=4), "small-x2").sort_values(["prompt_id", "sample"])
    there = rows_of(some, "small-x2").query("prompt_id != 'p0'")
    pd.testing.assert_frame_equal(mine.reset_index(drop=True), there.reset_index(drop=True))


def test_many_draws_come_near_the_expectation(longest: Longest) -> None:
    derived = with_arms(RoutingData(recorded(300)), {"two": {"small": 2}}, longest, draws=3)
    # Of 10 pairs 4 hold the longest answer, and of the others 3 the next to longest.
    assert abs(derived.quality()[:, 2].mean() - (4 + 3 * 0.5) / 10) < 0.03


@pytest.mark.parametrize("change", [{"input_tokens": 10, "output_tokens": 5}, {"cost": 7.0}, {"cost": "random"}])
def test_where_the_price_cannot_be_told_every_answer_is_paid_in_full(longest: Longest, change: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    frame = recorded()
    frame = frame.assign(**{key: rng.random(len(frame)) if of == "random" else of for key, of in change.items()})
    arm = rows_of(with_arms(RoutingData(frame), {"all": {"small": 5}}, longest), "all")
    expected = frame[frame["expert"] == "small"].groupby("prompt_id")["cost"].sum()
    np.testing.assert_allclose(arm["cost"], expected)


def test_a_ranker_picks_too(answered: RoutingData, answered_later: RoutingData) -> None:
    ranker = PairRanker(head="linear", folds=2).fit(answered)
    shares: list[float] = []
    arms = {"pair": {"small": 2}, "blend": {"small": 1, "middle": 1, "large": 1}}
    derived = with_arms(answered_later, arms, ranker, progress=lambda doing, share: shares.append(share))
    means = dict(zip(derived.experts, derived.quality().mean(axis=0), strict=True))
    assert means["pair"] > means["small"]
    assert means["blend"] > means["middle"]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_too_few_samples_and_missing_answers(data: RoutingData, longest: Longest) -> None:
    with pytest.raises(DataError, match=r"'p0' has 5 samples of expert 'small', but the arm 'small-x6' asks for 6"):
        with_arms(data, {"small-x6": {"small": 6}}, longest)
    frame = recorded()
    gap = RoutingData(frame[(frame["prompt_id"] != "p1") | (frame["expert"] != "large")])
    with pytest.raises(DataError, match=r"'p1' has 0 samples of expert 'large'"):
        with_arms(gap, {"blend": {"small": 1, "large": 1}}, longest)
    with pytest.raises(DataError, match="no column 'response'"):
        with_arms(RoutingData(frame.drop(columns="response")), {"two": {"small": 2}}, longest)
    with pytest.raises(DataError, match="asks 'huge', which the data does not have"):
        with_arms(data, {"two": {"huge": 2}}, longest)


def test_arms_that_make_no_sense(data: RoutingData, longest: Longest) -> None:
    with pytest.raises(ParameterError, match="name of an expert"):
        with_arms(data, {"small": {"large": 2}}, longest)
    for asks in ({"small": 1}, {"small": 2, "large": 0}, {}):
        with pytest.raises(ParameterError, match="nothing to pick from"):
            with_arms(data, {"few": asks}, longest)
    with pytest.raises(ParameterError, match="0 draws"):
        with_arms(data, {"two": {"small": 2}}, longest, draws=0)
    with pytest.raises(NotFittedError):
        with_arms(data, {"two": {"small": 2}}, PairRanker())


def test_reading_arms() -> None:
    assert parse_arms(["small-x4=small:4", " blend = letters, large "]) == {
        "small-x4": {"small": 4},
        "blend": {"letters": 1, "large": 1},
    }
    assert parse_arms(["m=org/model:7b:2"]) == {"m": {"org/model:7b": 2}}
    for wrong in ("small:4", "=small:4", "a=", "a=small:x", "a=:4", "a=small:0", "a=small,small", "a=b,,c"):
        with pytest.raises(ParameterError, match="not of the form"):
            parse_arms([wrong])
    with pytest.raises(ParameterError, match="given twice"):
        parse_arms(["a=small:2", "a=small:3"])


def test_equal_answers_are_scored_once(longest: Longest, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    plain = longest._score
    monkeypatch.setattr(longest, "_score", lambda prompts, answers: (seen.extend(answers), plain(prompts, answers))[1])
    scores = longest.rank(["a ?", "a ?"], [["x", "yy", "x"], ["yy"]])
    assert sorted(seen) == ["x", "yy"]
    assert [score.tolist() for score in scores] == [pytest.approx([0.01, 0.02, 0.01]), pytest.approx([0.02])]


def test_a_frame_with_equal_prompts_keeps_them_apart(longest: Longest) -> None:
    frame = recorded().assign(prompt="the same ?")
    derived = with_arms(RoutingData(frame), {"two": {"small": 2}}, longest)
    assert rows_of(derived, "two")["prompt_id"].value_counts().to_dict() == {"p0": 10, "p1": 10, "p2": 10}


def test_a_replay_says_what_the_rows_say(data: RoutingData, longest: Longest) -> None:
    asks = {"small": 2, "large": 1}
    replayed = replay_arm(data, "mix", asks, longest, draws=50)
    derived = with_arms(data, {"mix": asks}, longest, draws=50)
    np.testing.assert_allclose(replayed.quality, derived.quality()[:, 2])
    np.testing.assert_allclose(replayed.cost, derived.cost()[:, 2])
    rows = rows_of(derived, "mix")
    tokens = (rows["input_tokens"] + rows["output_tokens"]).groupby(rows["prompt_id"]).mean()
    np.testing.assert_allclose(replayed.tokens, tokens)
    assert replayed.experts == ("large", "small")
    # Equally long answers tie, and the first of them, that of small, is given; large's is longer than both of small's
    # where small has drawn less: in 0 + 0 + 1 + 3 + 6 of 50 ways, by the rank of large's answer.
    np.testing.assert_allclose(replayed.share, [[0.2, 0.8]] * 3)
    assert replayed.attempts.tolist() == [3.0] * 3
    with pytest.raises(DataError, match="the arm 'six' asks for 6"):
        replay_arm(data, "six", {"small": 6}, longest)
