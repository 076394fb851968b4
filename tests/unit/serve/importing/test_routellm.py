from collections.abc import Callable
from pathlib import Path

import pytest

from routers import DataError
from serve.importing.answers import Rows
from serve.importing.routellm import read_gsm8k, read_mmlu, read_mtbench

from .conftest import EGGS, change

SMALL, LARGE = "Mixtral-8x7B-Instruct-v0.1", "gpt-4-1106-preview"


def test_mmlu(folder: Path) -> None:
    frame, notes = read_mmlu(folder)
    assert frame["expert"].tolist() == [SMALL, LARGE] * 3
    assert frame["quality"].tolist() == [1, 0, 0, 1, 1, 1]
    assert frame["prompt_id"].tolist()[::2] == [
        "mmlu/high_school_mathematics/0",
        "mmlu/anatomy/0",
        "mmlu/anatomy/1",
    ]
    assert frame["domain"].tolist()[::2] == ["high_school_mathematics", "anatomy", "anatomy"]
    assert frame["suspect"].tolist()[::2] == [True, False, False]
    assert frame["contaminated"].tolist()[::2] == [False, False, True]
    # "1 + 1?\nAnswer:" has 14 characters, "A bone?\nAnswer:" 15: both are 4 tokens.
    assert frame["input_tokens"].tolist() == [4] * 6
    assert frame["output_tokens"].tolist() == [1] * 6
    assert frame["fold"][0] == frame["fold"][4]
    assert any("output_tokens: 1" in note for note in notes)


def test_gsm8k_keeps_both_answers(folder: Path) -> None:
    frame, _ = read_gsm8k(folder)
    assert frame["prompt"].tolist() == [EGGS, EGGS]
    assert frame["quality"].tolist() == [0, 1]
    assert frame["response"].tolist() == ["It is five.", "5"]
    assert frame["output_tokens"].tolist() == [3, 1]
    assert frame["reference_answer"].tolist() == ["5", "5"]


def test_mtbench_is_routed_by_the_first_turn_and_judged_by_both(folder: Path) -> None:
    frame, _ = read_mtbench(folder)
    assert frame["prompt_id"].tolist() == ["mt-bench/7", "mt-bench/7", "mt-bench/8", "mt-bench/8"]
    assert frame["prompt"].unique().tolist() == ["Write a line."]
    assert frame["quality"].tolist() == pytest.approx([(9 + 1) / 20, (10 + 8.5) / 20, (4 + 5) / 20, (8 + 10) / 20])
    # Turn one reads 13 characters, so 4 tokens; turn two reads them again, the answer, and 8 characters.
    assert frame["input_tokens"].unique().tolist() == [4 + (4 + 264 + 2)]
    assert frame["output_tokens"].unique().tolist() == [2 * 264]


@pytest.mark.parametrize(
    ("read", "file", "column", "value", "message"),
    [
        (
            read_mmlu,
            "mmlu_mixtral_gpt4",
            "contaminated",
            "no",
            "row 2, column 'contaminated' must hold True or False, not 'no'",
        ),
        (read_mmlu, "mmlu_mixtral_gpt4", "gpt4_1106_preview_correct", "", "must hold True or False, not ''"),
        (
            read_mtbench,
            "mt_bench_scores",
            "mixtral_8x7b_instruct_score",
            11,
            "must hold a number from 0 to 10, not '11'",
        ),
        (read_mtbench, "mt_bench_scores", "gpt4_1106_preview_score", "", "row 2, .* must hold a number from 0 to 10"),
        (read_mtbench, "mt_bench_scores", "turn", 2.5, "'turn' must hold a whole number, not '2.5'"),
        (read_mtbench, "mt_bench_scores", "turn", 2, "question_id 8 twice"),
        (read_mtbench, "mt_bench_scores", "question_id", 9, "do not both have question_id 9"),
    ],
)
def test_changed_cells(
    folder: Path, read: Callable[[Path], Rows], file: str, column: str, value: object, message: str
) -> None:
    change(folder / "routellm" / f"{file}.csv", column, 1, value)
    with pytest.raises(DataError, match=message):
        read(folder)
