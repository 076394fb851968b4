import hashlib
import json
from pathlib import Path

import pytest

from routers import DataError, RoutingData
from serve.importing.own import read_own_csv, read_own_jsonl

MINIMAL = "prompt,expert,quality,cost\nHow?,a,1,0.5\nHow?,b,0.25,2\n"


def csv_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "own.csv"
    path.write_text(text)
    return path


def jsonl_file(tmp_path: Path, *rows: object) -> Path:
    path = tmp_path / "own.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def test_defaults(tmp_path: Path) -> None:
    frame, notes = read_own_csv(csv_file(tmp_path, MINIMAL))
    rows = RoutingData(frame).frame
    assert rows["prompt_id"].tolist() == [hashlib.sha256(b"How?").hexdigest()[:16]] * 2
    assert rows["quality"].tolist() == [1, 0.25]
    assert rows["cost"].tolist() == [0.5, 2]
    for name, value in {"sample": 0, "input_tokens": 1, "output_tokens": 0, "latency_s": 0}.items():
        assert rows[name].tolist() == [value] * 2
    fold = int(hashlib.sha256(b"How?").hexdigest(), 16) % 10
    assert rows["fold"].tolist() == [fold] * 2
    assert rows["split"].tolist() == [{8: "calibration", 9: "test"}.get(fold, "train")] * 2
    assert notes == ("input_tokens: 4 characters a token", "output_tokens: 0", "latency_s: 0")


def test_everything_given_is_kept(tmp_path: Path) -> None:
    whole = {
        "prompt_id": "p1",
        "prompt": "How?",
        "expert": "a",
        "sample": 3,
        "quality": True,
        "input_tokens": 7,
        "output_tokens": 9,
        "cost": 0.5,
        "latency_s": 1.5,
        "response": "",
        "domain": "maths",
        "split": "dev",
        "fold": 42,
        "metadata": {"answer": [1]},
        "seen": False,
        "weight": 0.5,
        "tags": ["x"],
    }
    frame, notes = read_own_jsonl(
        jsonl_file(tmp_path, whole, "", {**whole, "sample": 4, "tags": "y", "domain": "maths"})
    )
    data = RoutingData(frame)
    data.write(tmp_path / "data.parquet")
    first, second = RoutingData.read(tmp_path / "data.parquet").frame.to_dict("records")
    assert first == {**whole, "quality": 1.0, "metadata": '{"answer":[1]}', "tags": '["x"]'}
    assert second == {**first, "sample": 4, "tags": "y"}
    assert notes == ()


def test_optional_cells_may_be_empty(tmp_path: Path) -> None:
    row = {"prompt": "a", "expert": "x", "quality": 1, "cost": 1}
    rich = {**row, "prompt": "b", "fold": 3, "split": "dev", "domain": "d", "response": "r", "note": 1.5, "seen": True}
    frame, _ = read_own_jsonl(jsonl_file(tmp_path, row, rich))
    RoutingData(frame).write(tmp_path / "data.parquet")
    back = RoutingData.read(tmp_path / "data.parquet").frame
    assert back.loc[0, ["fold", "split", "domain", "response", "note", "seen"]].isna().all()
    assert back.loc[1, ["fold", "split", "domain", "response", "note"]].tolist() == [3, "dev", "d", "r", 1.5]
    assert back.loc[1, "seen"] == "true"


def test_output_tokens_come_from_the_answers(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "prompt,expert,quality,response\nHow?,gpt-4-0314,true,12345\nWhy?,gpt-4-0314,FALSE,1\n")
    frame, notes = read_own_csv(path)
    assert frame["quality"].tolist() == [1, 0]
    assert frame["output_tokens"].tolist() == [2, 1]
    assert "cost" not in frame
    assert "output_tokens: 4 characters a token" in notes


def test_csv_as_spreadsheets_write_it(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_bytes(
        b'\xef\xbb\xbfprompt,expert,quality,cost,seen,note\r\n"a ""b"",\r\nc",x,1,0,TRUE,007\r\n\r\nd,x,0,0,false,\r\n'
    )
    frame, _ = read_own_csv(path)
    assert frame["prompt"].tolist() == ['a "b",\r\nc', "d"]
    assert frame["seen"].tolist() == [True, False]
    assert frame["note"][0] == "007"
    assert frame["note"].isna().tolist() == [False, True]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no column 'prompt' .*it has none"),
        ("prompt,expert,grade\n", r"no column 'quality' \(it has prompt, expert, grade\)"),
        ("prompt,expert,quality,cost\n", "has no rows"),
        ("prompt,prompt,quality,cost\n", "a column twice"),
        (MINIMAL + 'x,"y', "line 4 has 2 cells, but the header has 4"),
        (MINIMAL + "x,y,1,2,3", "line 4 has 5 cells"),
        (MINIMAL + '"x\ny",a,1.5,1', r"line 4, column 'quality': must be between 0 and 1 .*, not '1\.5'"),
        (MINIMAL + '"x\ny",a,1,1\nz,a,good,1', "line 6, column 'quality': must be between"),
        (MINIMAL + "x,,1,1", "line 4, column 'expert': the cell is empty; fill it, or leave the row out"),
        (MINIMAL + "x,a,1,", "line 4, column 'cost': the cell is empty; fill it, or leave the whole column out"),
        (MINIMAL + "x,a,1,-1", "line 4, column 'cost': must be a number that is 0 or more, not '-1'"),
        (MINIMAL + "x,a,1,inf", "column 'cost'"),
        ("prompt,expert,quality,cost,sample\nx,a,1,1,1e30\n", "'sample': must be a whole number, at most 2"),
        (MINIMAL + "How?,a,0,1", "line 4 repeats line 2 .*expert 'a' and sample 0.*column 'sample'"),
        ("prompt,expert,quality\nx,a,1\n", "does not tell what its answers cost"),
        ("prompt,expert,quality,response\nx,a,1,yes\ny,a,1,\n", "does not tell what its answers cost"),
    ],
)
def test_wrong_csv(tmp_path: Path, text: str, message: str) -> None:
    path = csv_file(tmp_path, text)
    with pytest.raises(DataError, match=rf"own\.csv.*{message}"):
        read_own_csv(path)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", "line 2 is not JSON"),
        ("[1]", "line 2 is not an object"),
        ({"prompt": "x", "expert": "a", "cost": 1}, "line 2, column 'quality': the cell is empty"),
        ({"prompt": ["x"], "expert": "a", "quality": 1, "cost": 1}, r"column 'prompt': must be text, not \['x'\]"),
        ({"prompt": "", "expert": "a", "quality": 1, "cost": 1}, "column 'prompt': the cell is empty"),
        ({"prompt": "x", "expert": "a", "quality": 1, "cost": True}, "column 'cost': must be a number"),
        ({"prompt": "x", "expert": "a", "quality": None, "cost": 1}, "column 'quality': the cell is empty"),
        (
            {"prompt": "x", "expert": "a", "quality": 1, "cost": 1, "fold": 0.5},
            "column 'fold': must be a whole number, .* not 0.5",
        ),
    ],
)
def test_wrong_jsonl(tmp_path: Path, row: object, message: str) -> None:
    path = jsonl_file(tmp_path, {"prompt": "y", "expert": "a", "quality": 1, "cost": 1}, row)
    with pytest.raises(DataError, match=rf"own\.jsonl.*{message}"):
        read_own_jsonl(path)


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no file .*: --data must lead to a file of your own data"):
        read_own_csv(tmp_path / "none.csv")
    with pytest.raises(DataError, match="Is a directory"):
        read_own_jsonl(tmp_path)
    (tmp_path / "latin.csv").write_bytes("prompt,expert,quality\né,a,1".encode("latin-1"))
    with pytest.raises(DataError, match="not UTF-8"):
        read_own_csv(tmp_path / "latin.csv")
