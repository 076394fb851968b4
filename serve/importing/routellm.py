"""RouteLLM's evaluation sets: Mixtral-8x7B and GPT-4 on MMLU, GSM8K and MT-Bench (Ong et al. 2024)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serve.importing.answers import LATENCY_NOTE, TOKENS_NOTE, Rows, fold_of, long_form, tokens_of
from serve.importing.tables import aligned, flags, numbers, read_csv, whole_numbers

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["EXPERTS", "read_gsm8k", "read_mmlu", "read_mtbench"]

EXPERTS = ("Mixtral-8x7B-Instruct-v0.1", "gpt-4-1106-preview")
_COLUMNS = ("mixtral_8x7b_instruct", "gpt4_1106_preview")
_CORRECT = [f"{name}_correct" for name in _COLUMNS]
# GPT-4 is right in 3 % of this subject, so its answers were most likely not found in what it wrote.
_SUSPECT_SUBJECT = "high_school_mathematics"
_MMLU_OUTPUT_TOKENS = 1
# The mean length of an answer that RouteLLM's authors use for their costs.
_TURN_OUTPUT_TOKENS = 264
_BEST_SCORE = 10
_INPUT_NOTE = f"input_tokens: {TOKENS_NOTE}"


def read_mmlu(folder: Path) -> Rows:
    """14,042 questions; the domain is the subject, and `suspect` marks the one with doubtful scores of GPT-4.

    The answers were not published: each is taken to be one token, the letter.

    Raises:
        DataError: the file is missing, or is not as it was published.
    """
    path = folder / "routellm" / "mmlu_mixtral_gpt4.csv"
    table = read_csv(path, ["subject", "prompt", *_CORRECT, "contaminated"])
    within = table.groupby("subject").cumcount().astype(str)
    prompts = _prompts(
        prompt_id="mmlu/" + table["subject"] + "/" + within,
        prompt=table["prompt"],
        domain=table["subject"],
        contaminated=flags(path, table, "contaminated"),
        suspect=(table["subject"] == _SUSPECT_SUBJECT).to_numpy(dtype=bool),
    )
    correct = _correct(path, table)
    frame = long_form(prompts, EXPERTS, correct, np.full(correct.shape, _MMLU_OUTPUT_TOKENS))
    return Rows(frame, (_INPUT_NOTE, "output_tokens: 1, the letter of the answer", LATENCY_NOTE))


def read_gsm8k(folder: Path) -> Rows:
    """1,319 questions with both models' answers.

    Raises:
        DataError: the file is missing, or is not as it was published.
    """
    path = folder / "routellm" / "gsm8k_mixtral_gpt4.csv"
    answers = [f"{name}_response" for name in _COLUMNS]
    table = read_csv(path, ["prompt", *_CORRECT, "contaminated", "reference_answer", *answers])
    prompts = _prompts(
        prompt_id=[f"gsm8k/{number}" for number in range(len(table))],
        prompt=table["prompt"],
        domain="gsm8k",
        contaminated=flags(path, table, "contaminated"),
        reference_answer=table["reference_answer"],
    )
    responses = {expert: table[name].tolist() for expert, name in zip(EXPERTS, answers, strict=True)}
    lengths = np.column_stack([tokens_of(texts) for texts in responses.values()])
    frame = long_form(prompts, EXPERTS, _correct(path, table), lengths, responses)
    return Rows(frame, (_INPUT_NOTE, f"output_tokens: {TOKENS_NOTE}", LATENCY_NOTE))


def read_mtbench(folder: Path) -> Rows:
    """80 questions of two turns; the prompt is the first turn, as only it is routed by in RouteLLM's evaluation.

    Quality is the judge's mean score of both turns divided by 10, which keeps the ratios between scores. The answers
    were not published: each turn's is taken to be 264 tokens long, the mean in the appendix on costs of RouteLLM's
    paper, and the second turn is taken to read the first one and its answer again.

    Raises:
        DataError: the file is missing, or is not as it was published.
    """
    path = folder / "routellm" / "mt_bench_scores.csv"
    judged = [f"{name}_score" for name in _COLUMNS]
    texts = ["prompt_turn1", "prompt_turn2"]
    table = read_csv(path, ["question_id", "category", "turn", *judged, "contaminated", *texts])
    table[judged] = numbers(path, table, judged, most=_BEST_SCORE, filled=True)
    table["contaminated"] = flags(path, table, "contaminated")
    is_first = whole_numbers(path, table, "turn") == 1
    first = table[is_first].reset_index(drop=True)
    second = aligned(path, table[~is_first], ["question_id"], first)
    prompts = _prompts(
        prompt_id="mt-bench/" + first["question_id"],
        prompt=first["prompt_turn1"],
        domain=first["category"],
        contaminated=first["contaminated"].to_numpy(dtype=bool),
        prompt_turn2=first["prompt_turn2"],
    )
    prompts["input_tokens"] += prompts["input_tokens"] + _TURN_OUTPUT_TOKENS + tokens_of(first["prompt_turn2"])
    quality = (first[judged].to_numpy(dtype=float) + second[judged].to_numpy(dtype=float)) / 2 / _BEST_SCORE
    frame = long_form(prompts, EXPERTS, quality, np.full(quality.shape, 2 * _TURN_OUTPUT_TOKENS))
    return Rows(frame, (_INPUT_NOTE, f"output_tokens: {_TURN_OUTPUT_TOKENS} a turn", LATENCY_NOTE))


def _correct(path: Path, table: pd.DataFrame) -> NDArray[np.float64]:
    return np.column_stack([flags(path, table, name) for name in _CORRECT]).astype(np.float64)


def _prompts(**columns: Any) -> pd.DataFrame:
    """One row per prompt, with its fold and the tokens of its text."""
    import pandas as pd

    prompts = pd.DataFrame(columns)
    prompts["fold"] = [fold_of(text) for text in prompts["prompt"]]
    prompts["input_tokens"] = tokens_of(prompts["prompt"])
    return prompts
