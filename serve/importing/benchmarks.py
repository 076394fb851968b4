"""MMLU-Pro's and ZeroEval's records: which of many models answered which question correctly."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from numpy.typing import NDArray

from routers.errors import DataError
from serve.importing.answers import LATENCY_NOTE, TOKENS_NOTE, Rows, long_form, tokens_of, tokens_of_chars
from serve.importing.tables import aligned, flags, numbers, read_csv, readable, scores, whole_numbers

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_mmlu_pro", "read_zeroeval"]

_MMLU_PRO = ["question_id", "fold10", "category", "src", "answer", "in_mmlu_test", "prompt"]
_ZEROEVAL = ["dataset", "id", "fold10", "question", "answer"]
_GSM8K = "gsm"
_NOTES = (f"input_tokens and output_tokens: {TOKENS_NOTE}", LATENCY_NOTE)
_RESPONSES = re.compile(r"responses_(.+)\.jsonl")


def read_mmlu_pro(folder: Path) -> Rows:
    """12,032 questions and 29 models; the domain is the category.

    `in_mmlu_test` marks the questions that RouteLLM's MMLU has too.

    Raises:
        DataError: a file is missing, or is not as it was published.
    """
    path = folder / "mmlu_pro" / "mmlu_pro_scores.csv"
    table = read_csv(path, _MMLU_PRO)
    chars_path = path.with_name("mmlu_pro_output_chars.csv")
    chars = read_csv(chars_path, [])
    # The column of the keys came without a name.
    chars = chars.rename(columns={chars.columns[0]: "question_id"})
    prompts = _prompts(
        prompt_id="mmlu-pro/" + table["question_id"],
        prompt=table["prompt"],
        domain=table["category"],
        fold=whole_numbers(path, table, "fold10"),
        in_mmlu_test=flags(path, table, "in_mmlu_test"),
        source=table["src"],
        reference_answer=table["answer"],
    )
    experts = _models(path, table, _MMLU_PRO)
    correct = scores(path, table, experts)
    rows = aligned(chars_path, chars, ["question_id"], table)
    return Rows(long_form(prompts, experts, correct, _lengths(chars_path, rows, experts, correct)), _NOTES)


def read_zeroeval(folder: Path) -> Rows:
    """2,840 questions of GSM8K, CRUXEval and MATH level 5, and 53 models; the domain is the dataset.

    `in_gsm8k_test` marks the questions that RouteLLM's GSM8K has too, which are all of that dataset. Answers are
    kept of the models that `responses_<model>.jsonl` is there for.

    Raises:
        DataError: a file is missing, or is not as it was published.
    """
    path = folder / "zeroeval" / "zeroeval_scores.csv"
    table = read_csv(path, _ZEROEVAL)
    chars_path = path.with_name("zeroeval_output_chars.csv")
    chars = read_csv(chars_path, ["dataset", "id"])
    prompts = _prompts(
        prompt_id="zeroeval/" + table["dataset"] + "/" + table["id"],
        prompt=table["question"],
        domain=table["dataset"],
        fold=whole_numbers(path, table, "fold10"),
        in_gsm8k_test=(table["dataset"] == _GSM8K).to_numpy(dtype=bool),
        reference_answer=table["answer"],
    )
    experts = _models(path, table, _ZEROEVAL)
    correct = scores(path, table, experts)
    rows = aligned(chars_path, chars, ["dataset", "id"], table)
    lengths = _lengths(chars_path, rows, experts, correct)
    responses = {
        found[1]: _responses(file, table)
        for file in sorted(path.parent.glob("responses_*.jsonl"))
        if (found := _RESPONSES.fullmatch(file.name)) and found[1] in experts
    }
    return Rows(long_form(prompts, experts, correct, lengths, responses), _NOTES)


def _prompts(**columns: Any) -> pd.DataFrame:
    import pandas as pd

    prompts = pd.DataFrame(columns)
    prompts["input_tokens"] = tokens_of(prompts["prompt"])
    return prompts


def _models(path: Path, table: pd.DataFrame, others: Sequence[str]) -> list[str]:
    models = [name for name in table.columns if name not in others]
    if not models:
        raise DataError(f"{path} has no column of a model: get the folder anew, see docs/data.md.")
    return models


def _lengths(path: Path, rows: pd.DataFrame, experts: Sequence[str], correct: NDArray[np.float64]) -> NDArray[np.int64]:
    """Estimated tokens of each answer, (n_prompts, n_experts)."""
    missing = [name for name in experts if name not in rows]
    if missing:
        raise DataError(f"{path} has no column {missing[0]!r}, but the file of scores beside it has: get both anew.")
    chars = numbers(path, rows, experts)
    lacking = np.isnan(chars) & ~np.isnan(correct)
    if lacking.any():
        name = experts[int(lacking.any(axis=0).argmax())]
        raise DataError(f"{path} lacks the length of an answer of {name!r} that has a score: get both files anew.")
    return tokens_of_chars(chars)


def _responses(path: Path, table: pd.DataFrame) -> list[str]:
    """One model's answers in the order of the questions."""
    import pandas as pd

    records = []
    with readable(path, "the folder of the recorded answers"):
        lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    for number, line in enumerate(lines, start=1):
        try:
            record = orjson.loads(line)
            records.append({name: str(record[name]) for name in ("dataset", "id", "response")})
        except (orjson.JSONDecodeError, KeyError, TypeError):
            raise DataError(f"{path}, line {number} is not an object with dataset, id and response.") from None
    found = aligned(path, pd.DataFrame(records, columns=["dataset", "id", "response"]), ["dataset", "id"], table)
    responses: list[str] = found["response"].tolist()
    return responses
