"""Reading recorded answers: routing data with responses, a user's own JSON lines, ZeroEval's files of responses."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from deployments.experts.simulation.answers import Answer, Recorded
from routers.errors import DataError

__all__ = ["read_recordings"]

_ZEROEVAL_QUESTIONS = "zeroeval_scores.csv"
_QUESTION_BYTES = 10_000_000


class _Record(NamedTuple):
    prompt: str
    answer: Answer


def read_recordings(path: Path, expert: str | None = None) -> Recorded:
    """Read a file of recorded answers.

    Args:
        path: Parquet: routing data with the column `response`. JSON lines: objects with `prompt` and `response`, and
            `output_tokens` and `expert` where they are known. ZeroEval's `responses_<model>.jsonl`: objects with
            `dataset`, `id` and `response`; the questions are those of `zeroeval_scores.csv` beside it.
        expert: whose answers to take; needed where the file has those of several.

    Raises:
        DataError: the file is missing, not of these forms, has no answers, or those of several experts.
    """
    if not path.is_file():
        raise DataError(
            f"There is no file {path} (relative paths start at {Path.cwd()}): name one with recorded answers."
        )
    records = _of_parquet(path, expert) if path.suffix == ".parquet" else _of_jsonl(path, expert)
    answers: dict[str, list[Answer]] = {}
    for record in records:
        answers.setdefault(record.prompt, []).append(record.answer)
    if not answers:
        whose = "" if expert is None else f" of the expert {expert!r}"
        raise DataError(f"{path} has no recorded answer{whose}: name another file, or an expert that it has.")
    return Recorded(answers)


def _of_parquet(path: Path, expert: str | None) -> Iterator[_Record]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        names = set(pq.read_schema(path).names)
        if not {"prompt", "expert", "response"} <= names:
            raise DataError(f"{path} has no column 'response' beside 'prompt' and 'expert': label with responses kept.")
        columns = ["prompt", "expert", "response", *({"output_tokens"} & names)]
        rows = pq.read_table(path, columns=columns).to_pylist()
    except pa.ArrowInvalid as error:
        raise DataError(f"{path} is not a Parquet file ({error}): name routing data.") from error
    yield from _of_one_expert(path, [row for row in rows if row["response"] is not None], expert)


def _of_jsonl(path: Path, expert: str | None) -> Iterator[_Record]:
    rows = list(_objects(path))
    if rows and "prompt" not in rows[0] and {"dataset", "id"} <= rows[0].keys():
        questions = _zeroeval_questions(path.with_name(_ZEROEVAL_QUESTIONS))
        rows = [{**row, "prompt": questions.get((str(row["dataset"]), str(row["id"])))} for row in rows]
        rows = [row for row in rows if row["prompt"] is not None]
    yield from _of_one_expert(path, rows, expert)


def _objects(path: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise DataError(f"{path}, line {number} is not JSON ({error}): write one object a line.") from None
        fits = isinstance(row, dict) and isinstance(row.get("response"), str)
        if not fits or not ("prompt" in row or {"dataset", "id"} <= row.keys()):
            raise DataError(f"{path}, line {number} is no object with 'prompt' and 'response', both texts: mend it.")
        yield row


def _of_one_expert(path: Path, rows: list[dict[str, Any]], expert: str | None) -> Iterator[_Record]:
    if expert is None:
        experts = sorted({str(row["expert"]) for row in rows if row.get("expert") is not None})
        if len(experts) > 1:
            raise DataError(f"{path} has answers of {', '.join(experts)}: name one of them as the expert.")
    for row in rows:
        if expert is None or row.get("expert", expert) == expert:
            tokens = row.get("output_tokens")
            yield _Record(str(row["prompt"]), Answer.of(row["response"], tokens if isinstance(tokens, int) else None))


def _zeroeval_questions(path: Path) -> dict[tuple[str, str], str]:
    if not path.is_file():
        raise DataError(f"{path} is missing: ZeroEval's answers need the questions beside them, see docs/data.md.")
    csv.field_size_limit(_QUESTION_BYTES)
    with path.open(encoding="utf-8", newline="") as lines:
        return {(row["dataset"], row["id"]): row["question"] for row in csv.DictReader(lines)}
