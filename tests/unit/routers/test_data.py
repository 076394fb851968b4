from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from routers import DataError, RoutingData
from routers.data import COLUMNS


def rows(*triples: tuple[str, str, int, float], **columns: object) -> pd.DataFrame:
    """Rows from (prompt id, expert, sample, quality)."""
    made = pd.DataFrame(triples, columns=["prompt_id", "expert", "sample", "quality"])
    made["prompt"] = "text of " + made["prompt_id"]
    fixed = {"input_tokens": 3, "output_tokens": 2, "cost": 0.5, "latency_s": 0.1}
    return made.assign(**{**fixed, **columns})


@pytest.fixture
def small() -> pd.DataFrame:
    return rows(
        ("b", "x", 0, 1.0),
        ("b", "x", 1, 0.0),
        ("b", "a", 0, 0.5),
        ("a", "x", 1, 0.25),
        ("a", "x", 0, 0.75),
        ("c", "a", 0, 1.0),
        cost=[1.0, 3.0, 5.0, 2.0, 2.0, 7.0],
    )


def test_matrices_by_hand(small: pd.DataFrame) -> None:
    data = RoutingData(small)
    assert data.experts == ("a", "x")
    assert data.prompts["prompt_id"].tolist() == ["b", "a", "c"]
    assert data.texts == ["text of b", "text of a", "text of c"]
    np.testing.assert_array_equal(data.quality(), [[0.5, 0.5], [np.nan, 0.5], [1.0, np.nan]])
    np.testing.assert_array_equal(data.cost(), [[5.0, 2.0], [np.nan, 2.0], [7.0, np.nan]])
    np.testing.assert_array_equal(data.samples("x"), [[1.0, 0.0], [0.75, 0.25], [np.nan, np.nan]])
    np.testing.assert_array_equal(data.samples("a"), [[0.5], [np.nan], [1.0]])


def test_select_orders_the_experts(small: pd.DataFrame) -> None:
    data = RoutingData(small).select(["x", "a"])
    assert data.experts == ("x", "a")
    np.testing.assert_array_equal(data.quality()[0], [0.5, 0.5])
    assert RoutingData(small).select(["a"]).prompts["prompt_id"].tolist() == ["b", "c"]


def test_input_stays_as_it_is(small: pd.DataFrame) -> None:
    before = small.copy()
    data = RoutingData(small)
    rows_of_data = data.frame
    rows_of_data.loc[0, "quality"] = 0.1
    pd.testing.assert_frame_equal(small, before)
    assert data.samples("x")[0, 0] == 1.0


def test_write_and_read_back(small: pd.DataFrame, tmp_path: Path) -> None:
    small = small.assign(domain="d", fold=0, metadata=[{"level": 1}] * 6, more="kept")
    data = RoutingData(small)
    data.write(tmp_path / "data.parquet")
    back = RoutingData.read(tmp_path / "data.parquet")
    pd.testing.assert_frame_equal(back.frame, data.frame)
    assert back.content_hash() == data.content_hash()
    assert list(back.frame.columns)[: len(COLUMNS)] == list(COLUMNS)


def test_hash_follows_content_not_row_order(small: pd.DataFrame) -> None:
    data = RoutingData(small)
    assert RoutingData(small[::-1]).content_hash() == data.content_hash()
    assert RoutingData(small.assign(response="r")).content_hash() == data.content_hash()
    assert RoutingData(small.assign(quality=0.5)).content_hash() != data.content_hash()
    assert RoutingData(small.replace({"expert": {"a": "z"}})).content_hash() != data.content_hash()


def test_splits(small: pd.DataFrame) -> None:
    data = RoutingData(small.assign(split=["train"] * 3 + ["test"] * 2 + [None]))
    assert data.subset("test").prompts["prompt_id"].tolist() == ["a"]
    with pytest.raises(DataError, match="no split 'dev': it has test, train"):
        data.subset("dev")
    with pytest.raises(DataError, match="no column 'split'"):
        RoutingData(small).subset("train")


@pytest.mark.parametrize("column", list(COLUMNS))
def test_missing_column(small: pd.DataFrame, column: str) -> None:
    with pytest.raises(DataError, match=f"needs the column '{column}'"):
        RoutingData(small.drop(columns=column))


@pytest.mark.parametrize("column", list(COLUMNS))
def test_empty_cell(small: pd.DataFrame, column: str) -> None:
    broken = small.astype({column: object})
    broken.loc[2, column] = None
    with pytest.raises(DataError, match=f"'{column}' is empty in row 2"):
        RoutingData(broken)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("quality", 1.5, "'quality' must be between 0 and 1, but row 3 holds 1.5"),
        ("quality", -0.1, "between 0 and 1"),
        ("cost", -1.0, "'cost' must be finite and 0 or more, but row 3"),
        ("cost", np.inf, "finite"),
        ("latency_s", -1.0, "'latency_s'"),
        ("output_tokens", -1, "'output_tokens'"),
        ("sample", 0.5, "'sample' must hold whole numbers, but row 3 holds 0.5"),
    ],
)
def test_value_out_of_range(small: pd.DataFrame, column: str, value: float, message: str) -> None:
    values = small[column].astype(float).tolist()
    values[3] = value
    with pytest.raises(DataError, match=message):
        RoutingData(small.assign(**{column: values}))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("prompt", 3),
        ("expert", 1.0),
        ("quality", "good"),
        ("sample", "0"),
        ("cost", True),
        ("fold", "x"),
        ("split", 2),
    ],
)
def test_wrong_type(small: pd.DataFrame, column: str, value: object) -> None:
    with pytest.raises(DataError, match=f"'{column}' must hold"):
        RoutingData(small.assign(**{column: value}))


def test_repeated_row_and_two_texts(small: pd.DataFrame) -> None:
    with pytest.raises(DataError, match=r"Row 6 repeats an earlier one .*b, expert x, sample 1"):
        RoutingData(pd.concat([small, small.iloc[[1]]]))
    with pytest.raises(DataError, match="Prompt id 'b' has two values of 'prompt'"):
        RoutingData(small.assign(prompt=list("uvwxyz")))
    with pytest.raises(DataError, match="two values of 'domain'"):
        RoutingData(small.assign(domain=list("uvwxyz")))


def test_unknown_or_repeated_expert(small: pd.DataFrame) -> None:
    data = RoutingData(small)
    for refused in (lambda: data.samples("q"), lambda: data.select(["a", "q"])):
        with pytest.raises(DataError, match="no expert 'q': it has a, x"):
            refused()
    with pytest.raises(DataError, match="once"):
        data.select(["a", "a"])


def test_unreadable_files(small: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no routing data at .*pointsman label"):
        RoutingData.read(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("prompt_id,prompt")
    with pytest.raises(DataError, match="cannot be read as a Parquet"):
        RoutingData.read(tmp_path / "text.parquet")
    small.drop(columns="cost").to_parquet(tmp_path / "lacking.parquet")
    with pytest.raises(DataError, match=r"lacking\.parquet: .*'cost'"):
        RoutingData.read(tmp_path / "lacking.parquet")
    with pytest.raises(DataError, match="no rows"):
        RoutingData(small[:0])


def test_unwritable_place_and_column_leave_the_old_file(small: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    RoutingData(small).write(path)
    with pytest.raises(DataError, match=r"one type: .*extra"):
        RoutingData(small.assign(extra=[1, "a", None, {}, [], 2.0])).write(path)
    with pytest.raises(DataError, match=r"none/data\.parquet cannot be written"):
        RoutingData(small).write(tmp_path / "none" / "data.parquet")
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match="folder cannot be written"):
        RoutingData(small).write(tmp_path / "folder")
    assert len(RoutingData.read(path)) == len(small)
    assert sorted(found.name for found in tmp_path.iterdir()) == ["data.parquet", "folder"]


@pytest.mark.parametrize("dtype", [object, "string", "category"])
def test_text_of_every_kind_is_text(small: pd.DataFrame, dtype: object) -> None:
    data = RoutingData(small.astype({"prompt": dtype, "expert": dtype}))
    assert data.texts == RoutingData(small).texts
    np.testing.assert_array_equal(data.quality(), RoutingData(small).quality())


def test_a_subset_keeps_the_chosen_order_of_experts(data: RoutingData) -> None:
    assert data.select(("small", "large")).subset("train").experts == ("small", "large")


def test_some_prompts_by_their_places_or_by_a_mask(data: RoutingData) -> None:
    chosen = data.select(["large", "small"])
    places = np.array([5, 2])
    mask = np.isin(np.arange(len(chosen.texts)), places)
    for part in (chosen.at(places), chosen.at(mask)):
        assert part.experts == ("large", "small")
        assert part.texts == [chosen.texts[2], chosen.texts[5]]
        np.testing.assert_array_equal(part.quality(), chosen.quality()[[2, 5]])
