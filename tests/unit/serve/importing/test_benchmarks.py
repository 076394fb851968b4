from pathlib import Path

import pandas as pd
import pytest

from routers import DataError
from serve.importing.benchmarks import read_mmlu_pro, read_zeroeval

from .conftest import BUILT_IN, CODE, EGGS, change


def test_mmlu_pro(folder: Path) -> None:
    frame, _ = read_mmlu_pro(folder)
    rows = frame.set_index(["prompt_id", "expert"])
    assert rows.index.tolist() == [
        ("mmlu-pro/70", "mathstral-7B"),
        ("mmlu-pro/71", "mathstral-7B"),
        ("mmlu-pro/71", "Yi-6B"),
    ]
    assert rows["quality"].tolist() == [1, 0, 1]
    assert rows["in_mmlu_test"].tolist() == [True, False, False]
    # The file of lengths has the questions in another order: 0, 41 and 40 characters.
    assert rows["output_tokens"].tolist() == [0, 11, 10]
    assert rows["input_tokens"].tolist() == [-(-len(BUILT_IN) // 4), 1, 1]
    assert rows["fold"].unique().tolist() == [8]
    assert rows["split"].unique().tolist() == ["calibration"]
    assert rows["domain"].unique().tolist() == ["computer science"]
    assert rows["source"].unique().tolist() == ["ori_mmlu-cs"]


def test_zeroeval_keeps_the_answers_that_are_there(folder: Path) -> None:
    frame, _ = read_zeroeval(folder)
    small = frame[frame["expert"] == "gpt-4o-mini-2024-07-18"]
    assert small["prompt"].tolist() == [EGGS, CODE]
    assert small["response"].tolist() == ["{5}", "x\u2028y"]
    assert small["in_gsm8k_test"].tolist() == [True, False]
    assert small["split"].tolist() == ["train", "test"]
    others = frame[frame["expert"] != "gpt-4o-mini-2024-07-18"]
    assert others["response"].isna().all()
    assert others[["prompt_id", "expert"]].to_numpy().tolist() == [
        ["zeroeval/gsm/g-#0", "gpt-4o-2024-08-06"],
        ["zeroeval/crux/0", "gpt-4o-2024-08-06"],
        ["zeroeval/crux/0", "grok-2-1212"],
    ]


def test_zeroeval_without_recorded_answers(folder: Path) -> None:
    (folder / "zeroeval" / "responses_gpt-4o-mini-2024-07-18.jsonl").unlink()
    assert "response" not in read_zeroeval(folder).frame


def test_missing_files_and_columns(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no file .*mmlu_pro_scores\.csv: --data must lead to"):
        read_mmlu_pro(tmp_path)
    scores = folder / "mmlu_pro" / "mmlu_pro_scores.csv"
    chars = scores.with_name("mmlu_pro_output_chars.csv")
    pd.read_csv(chars).drop(columns="Yi-6B").to_csv(chars, index=False)
    with pytest.raises(DataError, match=r"output_chars\.csv has no column 'Yi-6B'"):
        read_mmlu_pro(folder)
    frame = pd.read_csv(scores)
    frame.drop(columns="category").to_csv(scores, index=False)
    with pytest.raises(DataError, match=r"mmlu_pro_scores\.csv has no column 'category'"):
        read_mmlu_pro(folder)
    frame.drop(columns=["mathstral-7B", "Yi-6B"]).to_csv(scores, index=False)
    with pytest.raises(DataError, match="no column of a model"):
        read_mmlu_pro(folder)
    chars.unlink()
    with pytest.raises(DataError, match=r"no file .*output_chars\.csv"):
        read_mmlu_pro(folder)


@pytest.mark.parametrize(
    ("file", "column", "value", "message"),
    [
        ("scores", "mathstral-7B", 0.5, r"row 2, column 'mathstral-7B' must hold 0, 1 or nothing, not '0\.5'"),
        ("scores", "Yi-6B", "x", "column 'Yi-6B' must hold a number, not 'x'"),
        ("scores", "fold10", "", "column 'fold10' must hold a number, not ''"),
        ("scores", "in_mmlu_test", 1, "must hold True or False, not '1'"),
        ("scores", "question_id", 70, "question_id 70 twice"),
        ("scores", "question_id", 72, "do not both have question_id 72"),
        ("output_chars", "Unnamed: 0", 72, "do not both have question_id 70"),
        ("output_chars", "mathstral-7B", "", "lacks the length of an answer of 'mathstral-7B'"),
        ("output_chars", "mathstral-7B", -1, "must hold a number, not '-1'"),
    ],
)
def test_changed_cells(folder: Path, file: str, column: str, value: object, message: str) -> None:
    change(folder / "mmlu_pro" / f"mmlu_pro_{file}.csv", column, 1, value)
    with pytest.raises(DataError, match=message):
        read_mmlu_pro(folder)


def test_damaged_files(folder: Path) -> None:
    answers = folder / "zeroeval" / "responses_gpt-4o-mini-2024-07-18.jsonl"
    lines = answers.read_text().strip().split("\n")
    for damaged, message in [
        ([lines[0], lines[1][:-5]], "line 2 is not an object with dataset, id and response"),
        ([lines[0], '{"dataset": "gsm"}'], "line 2 is not an object"),
        ([lines[0]], "do not both have dataset gsm, id g-#0"),
        ([*lines, lines[0]], "dataset crux, id 0 twice"),
    ]:
        answers.write_text("\n".join(damaged))
        with pytest.raises(DataError, match=message):
            read_zeroeval(folder)
    scores = folder / "zeroeval" / "zeroeval_scores.csv"
    text = scores.read_text()
    for content, message in [
        (b"\xff\xfe", r"not UTF-8 text \(byte 0\)"),
        (b"", "cannot be read as CSV"),
        (text.splitlines()[0].encode(), "has no rows"),
        (text.encode() + b"a,b,c,d,e,f,g,h,i,j\n", "cannot be read as CSV"),
        (text.encode() + b"math-l5,1,2\n", r"chars\.csv and .* do not both have dataset math-l5, id 1"),
    ]:
        scores.write_bytes(content)
        with pytest.raises(DataError, match=message):
            read_zeroeval(folder)
    scores.unlink()
    scores.mkdir()
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read_zeroeval(folder)
