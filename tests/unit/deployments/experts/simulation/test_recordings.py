import json

import pandas as pd
import pytest

from deployments.experts.simulation.recordings import read_recordings
from routers import DataError


def jsonl(path, *rows):
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    return path


def test_a_users_own_lines(tmp_path):
    path = jsonl(
        tmp_path / "own.jsonl",
        {"prompt": "a", "response": "one"},
        {"prompt": "a", "response": "two", "output_tokens": 7},
    )
    recorded = read_recordings(path)
    assert recorded.answer("a", 0).text == "one"
    assert recorded.answer("a", 1).tokens == 7


def test_zeroevals_responses_have_their_questions_beside_them(tmp_path):
    path = jsonl(
        tmp_path / "responses_m.jsonl",
        {"dataset": "gsm", "id": "1", "correct": 1, "response": "42"},
        {"dataset": "gsm", "id": "9", "correct": 0, "response": "of a question that is not there"},
    )
    with pytest.raises(DataError, match=r"zeroeval_scores\.csv is missing"):
        read_recordings(path)
    (tmp_path / "zeroeval_scores.csv").write_text('dataset,id,question\ngsm,1,"What, then?"\n')
    recorded = read_recordings(path)
    assert len(recorded) == 1
    assert recorded.answer("What, then?", 0).text == "42"


def test_routing_data_with_responses(tmp_path):
    path = tmp_path / "data.parquet"
    rows = [("a", "small", "s", 3), ("a", "large", "l", 4), ("b", "small", None, 0)]
    frame = pd.DataFrame(rows, columns=["prompt", "expert", "response", "output_tokens"])
    frame.to_parquet(path)
    assert read_recordings(path, "large").answer("a", 0).tokens == 4
    with pytest.raises(DataError, match="answers of large, small: name one"):
        read_recordings(path)
    with pytest.raises(DataError, match="no recorded answer of the expert 'other'"):
        read_recordings(path, "other")
    frame.drop(columns="response").to_parquet(path)
    with pytest.raises(DataError, match="no column 'response'"):
        read_recordings(path, "small")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.jsonl", None, "There is no file"),
        ("bad.jsonl", "{broken", "line 1 is not JSON"),
        ("bad.jsonl", '{"prompt": "a"}', "line 1 is no object with"),
        ("bad.jsonl", "\n", "no recorded answer"),
        ("bad.parquet", "not parquet", "not a Parquet file"),
    ],
)
def test_mistakes_are_named(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message):
        read_recordings(tmp_path / name)
