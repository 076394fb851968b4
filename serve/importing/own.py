"""A user's own data: CSV or JSON lines with one answer a row, and defaults for what a user will not have."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from routers.data import COLUMNS, OPTIONAL_COLUMNS
from routers.errors import DataError
from serve.importing.answers import LATENCY_NOTE, TOKENS_NOTE, Rows, fold_of, split_of, tokens_of
from serve.importing.tables import readable

__all__ = ["read_own_csv", "read_own_jsonl"]

_REQUIRED = ("prompt", "expert", "quality")
_KINDS = COLUMNS | OPTIONAL_COLUMNS
_WHAT = "a file of your own data"
_WORDS = {"true": 1.0, "false": 0.0}
_LONGEST_CELL_CHARS = 2**31 - 1
_LARGEST_WHOLE = 2**53
_ID_DIGITS = 16


@dataclass(frozen=True)
class _Table:
    """Cells by column, None where one is empty, and the line of the file that each row starts at."""

    path: Path
    columns: dict[str, list[Any]]
    lines: list[int]

    def wrong(self, row: int, column: str, what: str) -> DataError:
        return DataError(f"{self.path}, line {self.lines[row]}, column {column!r}: {what}.")


def read_own_csv(path: Path) -> Rows:
    """Rows of a CSV file with a header; see docs/data.md for the columns and their defaults.

    Raises:
        DataError: the file cannot be read, or a row or column is not as it must be.
    """
    return _frame(_read_csv(path))


def read_own_jsonl(path: Path) -> Rows:
    """Rows of a file with one JSON object a line; see docs/data.md for the columns and their defaults.

    Raises:
        DataError: the file cannot be read, or a row or column is not as it must be.
    """
    return _frame(_read_jsonl(path))


def _read_csv(path: Path) -> _Table:
    csv.field_size_limit(_LONGEST_CELL_CHARS)
    rows, lines = [], []
    with readable(path, _WHAT), path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        header = next(reader, [])
        before = reader.line_num
        for cells in reader:
            start, before = before + 1, reader.line_num
            if cells:
                rows.append(cells)
                lines.append(start)
    if len(set(header)) != len(header):
        raise DataError(f"{path} has a column twice: give each column of the header its own name.")
    for cells, line in zip(rows, lines, strict=True):
        if len(cells) != len(header):
            raise DataError(
                f"{path}, line {line} has {len(cells)} cells, but the header has {len(header)}: quote cells "
                "that hold commas or line ends."
            )
    return _Table(path, {name: [row[i] or None for row in rows] for i, name in enumerate(header)}, lines)


def _read_jsonl(path: Path) -> _Table:
    rows, lines = [], []
    with readable(path, _WHAT), path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise DataError(f"{path}, line {number} is not JSON ({error}): write one object a line.") from None
            if not isinstance(row, dict):
                raise DataError(f'{path}, line {number} is not an object: write {{"prompt": …, "expert": …}}.')
            rows.append(row)
            lines.append(number)
    names = {name: None for row in rows for name in row}
    return _Table(path, {name: [_cell(row, name) for row in rows] for name in names}, lines)


def _cell(row: dict[str, Any], name: str) -> Any:
    """A value; an empty text is none, but for an answer, which may be empty."""
    value = row.get(name)
    return None if value == "" and name != "response" else value


def _frame(table: _Table) -> Rows:
    import pandas as pd

    for name in _REQUIRED:
        if name not in table.columns:
            there = ", ".join(table.columns) or "none"
            raise DataError(
                f"{table.path} has no column {name!r} (it has {there}): {', '.join(_REQUIRED)} are needed, "
                "see docs/data.md."
            )
    if not table.lines:
        raise DataError(f"{table.path} has no rows: give one answer a row.")
    columns = {name: _typed(table, name) if name in _KINDS else _loose(table, name) for name in table.columns}
    notes = _fill(table, columns)
    _check_keys(table, columns)
    return Rows(pd.DataFrame(columns), notes)


def _typed(table: _Table, name: str) -> Any:
    """A column of the format in its type."""
    kind, cells = _KINDS[name], table.columns[name]
    if name in COLUMNS and None in cells:
        remedy = "fill it, or leave the row out" if name in _REQUIRED else "fill it, or leave the whole column out"
        raise table.wrong(cells.index(None), name, f"the cell is empty; {remedy}")
    if kind == "anything":
        return [None if cell is None else cell if isinstance(cell, str) else _as_text(cell) for cell in cells]
    convert: dict[str, Callable[[Any], Any]] = {"text": _text, "numbers": _number, "whole numbers": _whole}
    values = []
    for row, cell in enumerate(cells):
        try:
            value = None if cell is None else _quality(cell) if name == "quality" else convert[kind](cell)
        except ValueError as error:
            raise table.wrong(row, name, f"{error}, not {cell!r}") from None
        values.append(value)
    return _array(values, kind)


def _array(values: list[Any], kind: str) -> Any:
    import pandas as pd

    if kind == "text":
        return pd.array(values, dtype=object)
    return pd.array(values, dtype="Int64" if kind == "whole numbers" else "Float64")


def _text(cell: Any) -> str:
    if isinstance(cell, bool) or not isinstance(cell, str | int):
        raise ValueError("must be text")  # noqa: TRY004
    return str(cell)


def _number(cell: Any) -> float:
    try:
        value = float("nan") if isinstance(cell, bool) else float(cell)
    except (TypeError, ValueError):
        value = float("nan")
    if not 0 <= value < float("inf"):
        raise ValueError("must be a number that is 0 or more")
    return value


def _whole(cell: Any) -> int:
    value = _number(cell)
    if value % 1 or value > _LARGEST_WHOLE:
        raise ValueError("must be a whole number, at most 2^53")
    return int(value)


def _quality(cell: Any) -> float:
    known = _WORDS.get(str(cell).strip().lower())
    try:
        value = _number(cell) if known is None else known
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise ValueError("must be between 0 and 1 (divide the scores by the best one), or true or false")
    return value


def _loose(table: _Table, name: str) -> Any:
    """A column beyond the format: all true or false, all JSON numbers, or else text."""
    import pandas as pd

    cells = table.columns[name]
    if all(str(cell).lower() in _WORDS for cell in cells):
        return [str(cell).lower() == "true" for cell in cells]
    if all(cell is None or (isinstance(cell, float | int) and not isinstance(cell, bool)) for cell in cells):
        return pd.array(cells, dtype="Float64")
    return pd.array([None if cell is None else _as_text(cell) for cell in cells], dtype=object)


def _as_text(cell: Any) -> str:
    return cell if isinstance(cell, str) else orjson.dumps(cell).decode()


def _fill(table: _Table, columns: dict[str, Any]) -> tuple[str, ...]:
    """Add what is not there, and say what of it stands for a measurement; docs/data.md lists these defaults."""
    n_rows, prompts, notes = len(table.lines), columns["prompt"], []
    if "prompt_id" not in columns:
        columns["prompt_id"] = [hashlib.sha256(text.encode()).hexdigest()[:_ID_DIGITS] for text in prompts]
    columns.setdefault("sample", np.zeros(n_rows, dtype=np.int64))
    if "input_tokens" not in columns:
        columns["input_tokens"] = tokens_of(prompts)
        notes.append(f"input_tokens: {TOKENS_NOTE}")
    if "output_tokens" not in columns:
        columns["output_tokens"], note = _output_tokens(table, columns)
        notes.append(note)
    if "latency_s" not in columns:
        columns["latency_s"] = np.zeros(n_rows)
        notes.append(LATENCY_NOTE)
    folds = [fold_of(text) for text in prompts]
    columns.setdefault("fold", folds)
    columns.setdefault("split", split_of(np.asarray(folds)))
    return tuple(notes)


def _output_tokens(table: _Table, columns: dict[str, Any]) -> tuple[Any, str]:
    responses = table.columns.get("response", [None])
    if None not in responses:
        return tokens_of(columns["response"]), f"output_tokens: {TOKENS_NOTE}"
    if "cost" in columns:
        return np.zeros(len(table.lines), dtype=np.int64), "output_tokens: 0"
    raise DataError(
        f"{table.path} does not tell what its answers cost: give a column 'cost', or 'output_tokens', or a 'response' "
        "in every row."
    )


def _check_keys(table: _Table, columns: dict[str, Any]) -> None:
    first: dict[tuple[Any, ...], int] = {}
    keys: Iterator[tuple[Any, ...]] = zip(columns["prompt_id"], columns["expert"], columns["sample"], strict=True)
    for key, line in zip(keys, table.lines, strict=True):
        if key in first:
            raise DataError(
                f"{table.path}, line {line} repeats line {first[key]} (the same prompt, expert {key[1]!r} and sample "
                f"{key[2]}): number the samples in a column 'sample', or drop one."
            )
        first[key] = line
