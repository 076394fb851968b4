"""A folder with the public sets' columns and a few rows of each."""

import json
from pathlib import Path

import pandas as pd
import pytest

EGGS = "How many eggs are 2 eggs and 3 eggs?"
CODE = "def f(x): return x"
BUILT_IN = "Which is a language?\nA. Python\nB. Cobra"


def write(path: Path, rows: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(path, index=False)


def change(path: Path, column: str, row: int, value: object) -> None:
    """Put another value into one cell of a CSV file."""
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    frame.loc[row, column] = str(value)
    frame.to_csv(path, index=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "sets"
    _routellm(root / "routellm")
    _mmlu_pro(root / "mmlu_pro")
    _zeroeval(root / "zeroeval")
    return root


def _routellm(folder: Path) -> None:
    names = ["subject", "prompt", "mixtral_8x7b_instruct_correct", "gpt4_1106_preview_correct", "contaminated"]
    rows = [
        ("high_school_mathematics", "1 + 1?\nAnswer:", True, False, False),
        ("anatomy", "A bone?\nAnswer:", False, True, False),
        ("anatomy", "1 + 1?\nAnswer:", True, True, True),
    ]
    write(folder / "mmlu_mixtral_gpt4.csv", [dict(zip(names, row, strict=True)) for row in rows])
    answers = {"mixtral_8x7b_instruct_response": "It is five.", "gpt4_1106_preview_response": "5"}
    rest = {"mixtral_8x7b_instruct_correct": False, "gpt4_1106_preview_correct": True, "contaminated": False}
    write(folder / "gsm8k_mixtral_gpt4.csv", [{"prompt": EGGS, **rest, "reference_answer": 5, **answers}])
    judged = [(7, 1, 9.0, 10.0), (8, 1, 4.0, 8.0), (8, 2, 5.0, 10.0), (7, 2, 1.0, 8.5)]
    turns = {"contaminated": False, "prompt_turn1": "Write a line.", "prompt_turn2": "Shorter!"}
    names = ["question_id", "turn", "mixtral_8x7b_instruct_score", "gpt4_1106_preview_score"]
    write(
        folder / "mt_bench_scores.csv",
        [{"category": "writing", **dict(zip(names, row, strict=True)), **turns} for row in judged],
    )


def _mmlu_pro(folder: Path) -> None:
    about = {"fold10": 8, "category": "computer science", "src": "ori_mmlu-cs", "answer": "A"}
    scores = [
        {"question_id": 70, **about, "in_mmlu_test": True, "prompt": BUILT_IN, "mathstral-7B": 1, "Yi-6B": ""},
        {"question_id": 71, **about, "in_mmlu_test": False, "prompt": "Why?", "mathstral-7B": 0, "Yi-6B": 1},
    ]
    write(folder / "mmlu_pro_scores.csv", scores)
    # The other order, and no name for the column of the keys, as it was published.
    chars = [{"": 71, "mathstral-7B": 41, "Yi-6B": 40}, {"": 70, "mathstral-7B": 0, "Yi-6B": ""}]
    write(folder / "mmlu_pro_output_chars.csv", chars)


def _zeroeval(folder: Path) -> None:
    small, large = "gpt-4o-mini-2024-07-18", "gpt-4o-2024-08-06"
    scores = [
        {
            "dataset": "gsm",
            "id": "g-#0",
            "fold10": 1,
            "question": EGGS,
            "answer": 5,
            small: 1,
            large: 1,
            "grok-2-1212": "",
        },
        {
            "dataset": "crux",
            "id": "0",
            "fold10": 9,
            "question": CODE,
            "answer": 1,
            small: 0,
            large: 1,
            "grok-2-1212": 1,
        },
    ]
    write(folder / "zeroeval_scores.csv", scores)
    lengths = [{"dataset": row["dataset"], "id": row["id"], small: 9, large: 8, "grok-2-1212": 4} for row in scores]
    lengths[0]["grok-2-1212"] = ""
    write(folder / "zeroeval_output_chars.csv", lengths)
    answers = [("crux", "0", "x\u2028y"), ("gsm", "g-#0", "{5}")]
    lines = [json.dumps({"dataset": d, "id": i, "response": r}, ensure_ascii=False) for d, i, r in answers]
    (folder / f"responses_{small}.jsonl").write_text("\n".join(lines) + "\n")
