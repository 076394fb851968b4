"""Prompts: strings that carry side information, and where it comes from."""

import copy
import pickle

import pandas as pd
import pytest

from routers import DataError, Prompt, RoutingData
from routers.prompt import side_of, side_values

from .conftest import make_frame


def test_a_prompt_is_its_text() -> None:
    prompt = Prompt("What is 2 + 2?", {"domain": "sums"})
    assert isinstance(prompt, str)
    assert prompt == "What is 2 + 2?"
    assert hash(prompt) == hash("What is 2 + 2?")
    assert side_of(prompt) == {"domain": "sums"}


def test_a_plain_string_has_no_side_information() -> None:
    assert side_of("text") == {}
    assert side_of(Prompt("text")) == {}
    assert side_of(Prompt("text", {"a": 1}).strip()) == {}


def test_later_changes_of_the_mapping_do_not_reach_the_prompt() -> None:
    side = {"domain": "sums"}
    prompt = Prompt("x", side)
    side["domain"] = "letters"
    assert side_of(prompt) == {"domain": "sums"}


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_it_travels_between_processes(protocol: int) -> None:
    prompt = Prompt("x", {"images": 2, "language": None})
    for again in (pickle.loads(pickle.dumps(prompt, protocol)), copy.deepcopy(prompt)):
        assert isinstance(again, Prompt)
        assert (again, side_of(again)) == ("x", {"images": 2, "language": None})


def test_a_column_goes_before_a_key_of_the_metadata() -> None:
    frame = pd.DataFrame({"domain": ["a", None], "metadata": [{"domain": "x", "images": 1}, {"domain": "y"}]})
    assert side_values(frame, ["domain", "images"]) == [{"domain": "a", "images": 1}, {"domain": None, "images": None}]


def test_metadata_may_be_json_and_odd_metadata_has_no_keys() -> None:
    metadata = ['{"hard": true, "level": 3, "name": "x"}', "not json", None, 7, '["hard"]', {"hard": [1], "level": 2.5}]
    found = side_values(pd.DataFrame({"metadata": metadata}), ["hard", "level"])
    assert found[0] == {"hard": True, "level": 3}
    assert found[1:5] == [{"hard": None, "level": None}] * 4
    assert found[5] == {"hard": None, "level": 2.5}


def test_values_are_pythons_own() -> None:
    frame = pd.DataFrame(
        {
            "whole": pd.array([1, 2], dtype="int64"),
            "part": [0.5, float("nan")],
            "flag": [True, False],
            "maybe": pd.array([1, None], dtype="Int64"),
            "kind": pd.Categorical(["a", None]),
            "day": pd.to_datetime(["2020-01-01", None]),
        }
    )
    first, second = side_values(frame, ["whole", "part", "flag", "maybe", "kind"])
    assert (first, second) == (
        {"whole": 1, "part": 0.5, "flag": True, "maybe": 1, "kind": "a"},
        {"whole": 2, "part": None, "flag": False, "maybe": None, "kind": None},
    )
    assert all(type(value) in (int, float, bool, str) for value in first.values())
    with pytest.raises(DataError, match="no side information 'day'"):
        side_values(frame, ["day"])


def test_a_name_that_nothing_has_is_refused() -> None:
    frame = pd.DataFrame({"prompt": ["x"], "metadata": [{}]})
    with pytest.raises(DataError, match="no side information 'language' in the data: its columns are prompt, metadata"):
        side_values(frame, ["language"])


def test_the_first_row_of_a_prompt_says_its_values() -> None:
    frame = make_frame(4, n_samples=1)
    frame["level"] = range(len(frame))
    inputs = RoutingData(frame).inputs(["domain", "level"])
    # Four experts answer each prompt, so its first row is every fourth.
    assert [side_of(prompt) for prompt in inputs] == [
        {"domain": domain, "level": level}
        for domain, level in zip(["sums", "letters"] * 2, range(0, 16, 4), strict=True)
    ]
    assert RoutingData(frame).inputs() == inputs
    assert not isinstance(RoutingData(frame).inputs()[0], Prompt)
