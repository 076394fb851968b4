from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pytest

from routers import DataError, ParameterError, Prediction, RoutingData, make_router
from routers.base import Progress
from routers.evaluation import by_domain, by_fold, by_split, predict, predict_unseen, rows_of
from routers.methods.baselines import RandomRouter

from .labels import labelled

COSTS = {"small": 1.0, "large": 3.0}


def alternating(n: int, **columns: list[object]) -> RoutingData:
    quality = {"small": [float(i % 2) for i in range(n)], "large": [1.0] * n}
    return labelled(quality, COSTS, **columns)


class Diary(RandomRouter):
    """The random router, which writes down what it is given."""

    learned: ClassVar[list[set[str]]] = []
    asked: ClassVar[list[set[str]]] = []

    def _fit(self, data: RoutingData, progress: Progress) -> None:
        self.learned.append(set(data.texts))
        super()._fit(data, progress)

    def _predict(self, prompts: Sequence[str]) -> Prediction:
        if len(prompts) > 1:
            self.asked.append(set(prompts))
        return super()._predict(prompts)


def test_folds_follow_the_column() -> None:
    data = alternating(20, fold=[i % 10 for i in range(20)])
    folds = by_fold(data, 5)
    assert [fold.test.tolist() for fold in folds] == [[i, i + 5, i + 10, i + 15] for i in range(5)]
    for fold in folds:
        assert sorted([*fold.train, *fold.test]) == list(range(20))
        assert fold.alike


@pytest.mark.parametrize("columns", [{}, {"fold": [0, 1] * 30}])
def test_folds_follow_the_text_without_enough_in_the_column(columns: dict[str, list[object]]) -> None:
    texts = [f"text {i // 2}" for i in range(60)]
    folds = by_fold(alternating(60, texts=texts, **columns), 3)
    assert sorted(np.concatenate([fold.test for fold in folds])) == list(range(60))
    for fold in folds:
        assert not {texts[i] for i in fold.test} & {texts[i] for i in fold.train}
        assert fold.n_removed == 0


def test_a_text_in_two_folds_is_not_learned_where_it_is_judged() -> None:
    data = alternating(4, texts=["a", "b", "a", "c"], fold=[0, 0, 1, 1])
    first, second = by_fold(data, 2)
    assert (first.train.tolist(), first.test.tolist(), first.n_removed) == ([3], [0, 1], 1)
    assert (second.train.tolist(), second.test.tolist(), second.n_removed) == ([1], [2, 3], 1)


def test_splits() -> None:
    data = alternating(4, texts=["a", "b", "a", "c"], split=["train", "train", "test", "test"])
    (fold,) = by_split(data, "train", "test")
    assert (fold.name, fold.train.tolist(), fold.test.tolist(), fold.n_removed) == ("test", [1], [2, 3], 1)


def test_domains_are_held_out_each_in_turn_or_those_named() -> None:
    data = alternating(5, domain=["x", "y", "x", "z", None])
    assert [(f.name, f.train.tolist(), f.test.tolist()) for f in by_domain(data)] == [
        ("x", [1, 3, 4], [0, 2]),
        ("y", [0, 2, 3, 4], [1]),
        ("z", [0, 1, 2, 4], [3]),
    ]
    assert [fold.name for fold in by_domain(data, ["z", "z"])] == ["z"]
    assert not any(fold.alike for fold in by_domain(data))


def test_what_cannot_be_parted() -> None:
    data = alternating(4, split=["train", "train", "test", "test"], domain=["x"] * 4)
    with pytest.raises(ParameterError, match="2 or more"):
        by_fold(data, 1)
    with pytest.raises(DataError, match="too few different prompts"):
        by_fold(alternating(4, texts=["a"] * 4), 2)
    with pytest.raises(ParameterError, match="'test', which it learns from"):
        by_split(data, "test", "test")
    with pytest.raises(DataError, match="no split 'dev'"):
        by_split(data, "train", "dev")
    with pytest.raises(DataError, match="no domain 'w'"):
        by_domain(data, ["w"])
    with pytest.raises(DataError, match="domain 'x' only"):
        by_domain(data)
    with pytest.raises(DataError, match="no column 'domain'"):
        by_domain(alternating(4))


def test_nothing_that_is_judged_has_been_learned() -> None:
    Diary.learned.clear()
    Diary.asked.clear()
    texts = [f"text {i // 2}" for i in range(40)]
    data = alternating(40, texts=texts, fold=[i % 4 for i in range(40)])
    folds = by_fold(data, 4)
    said: list[tuple[str, float]] = []
    predict_unseen(Diary, data, folds, lambda doing, share: said.append((doing, share)))
    assert len(Diary.learned) == len(Diary.asked) == 4
    for learned, asked in zip(Diary.learned, Diary.asked, strict=True):
        assert learned
        assert not learned & asked
    assert said[0][0].startswith("fold 0: ")
    shares = [share for _, share in said]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_predictions_come_in_the_order_of_the_data() -> None:
    data = alternating(30, fold=[(7 * i) % 5 for i in range(30)])
    predicted = predict_unseen(lambda: make_router("random", seed=3), data, by_fold(data, 5))
    whole = make_router("random", seed=3).fit(data).predict(data.texts)
    assert predicted.score == pytest.approx(whole.large_needed)
    assert predicted.chosen.tolist() == (whole.large_needed >= 0.5).astype(int).tolist()
    assert predicted.part is not None
    assert predicted.part.tolist() == [(7 * i) % 5 for i in range(30)]
    assert predicted.pair == (0, 1)
    assert predicted.train_s is not None
    assert predicted.decisions_per_s is not None
    assert predicted.decisions_per_s > 0


def test_predictions_of_one_part_only() -> None:
    data = alternating(6, split=["test", "train", "train", "test", "train", "train"])
    predicted = predict_unseen(lambda: make_router("constant"), data, by_split(data, "train", "test"))
    assert predicted.quality.shape == (2, 2)
    assert (predicted.score, predicted.pair, predicted.part) == (None, None, None)


def test_experts_are_placed_in_the_columns_of_the_data(data: RoutingData) -> None:
    router = make_router("random", small="sums", large="large").fit(data)
    predicted = predict(router, data)
    assert data.experts == ("large", "letters", "small", "sums")
    assert predicted.pair == (3, 0)
    assert np.isfinite(predicted.quality).all(axis=0).tolist() == [True, False, False, True]
    assert np.isfinite(predicted.cost).tolist() == [True, False, False, True]
    assert set(predicted.chosen.tolist()) == {0, 3}
    with pytest.raises(DataError, match="knows the expert 'sums'"):
        predict(router, data.select(["large", "small"]))


def test_nothing_to_learn_from() -> None:
    data = alternating(4, texts=["a", "b", "a", "b"], split=["train", "train", "test", "test"])
    with pytest.raises(DataError, match="no prompt to learn from"):
        predict_unseen(lambda: make_router("constant"), data, by_split(data, "train", "test"))


def test_rows_keep_prompts_and_experts_in_order() -> None:
    data = alternating(5).select(["large", "small"])
    part = rows_of(data, np.array([3, 1]))
    assert part.prompts["prompt_id"].tolist() == ["p1", "p3"]
    assert part.experts == ("large", "small")
