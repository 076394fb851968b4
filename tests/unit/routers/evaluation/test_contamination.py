import pytest

from routers import DataError, ParameterError, RoutingData, make_router
from routers.evaluation import by_split, check_unseen, rows_of

from .labels import labelled


def of(split: list[object], **more: list[object]) -> RoutingData:
    n = len(split)
    quality = {"small": [0.0] * n, "large": [1.0] * n, "other": [0.5] * n}
    return labelled(quality, {"small": 1.0, "large": 3.0, "other": 2.0}, split=split, **more)


def test_training_on_another_split_is_known_to_be_clean() -> None:
    data = of(["train", "train", "test", "test"])
    for name in ("random", "constant"):
        router = make_router(name).fit(data.subset("train"))
        assert check_unseen(router, data, data.subset("test")) is None


def test_training_on_the_rest_is_known_to_be_clean() -> None:
    data = of(["a", "b", "test", "test"])
    (fold,) = by_split(data, "a", "test")
    rest = rows_of(data, fold.train)
    assert check_unseen(make_router("constant").fit(rest), data, data.subset("test")) is None
    whole = make_router("constant").fit(RoutingData(data.frame.query("split != 'test'")))
    assert check_unseen(whole, data, data.subset("test")) is None


@pytest.mark.parametrize("part", ["everything", "train", "test"])
def test_training_on_what_is_judged_is_refused(part: str) -> None:
    data = of(["train", "train", "test", "test"], texts=["a", "b", "a", "c"])
    router = make_router("constant").fit(data if part == "everything" else data.subset(part))
    with pytest.raises(ParameterError, match=r"has learned from .*--test-split"):
        check_unseen(router, data, data.subset("test"))


def test_adapting_counts_as_training() -> None:
    data = of(["train", "train", "test", "test"])
    router = make_router("constant").fit(data.subset("train"))
    assert check_unseen(router.adapt(data.subset("train")), data, data.subset("test")) is None
    with pytest.raises(ParameterError, match="has learned from the judged prompts"):
        check_unseen(router.adapt(data.subset("test")), data, data.subset("test"))


def test_unknown_training_data_is_a_warning() -> None:
    data = of(["train", "test"])
    router = make_router("constant").fit(of(["train"], texts=["elsewhere"]))
    said = check_unseen(router, data, data.subset("test"))
    assert said is not None
    assert "no part of this data" in said
    with pytest.raises(DataError, match="no expert 'other'"):
        check_unseen(router, data.select(["small", "large"]), data.subset("test").select(["small", "large"]))
