"""CSV files of the public sets, read as text and checked cell by cell, so that a changed file is noticed and named."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from routers.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pandas as pd

__all__ = ["aligned", "flags", "numbers", "read_csv", "readable", "scores", "whole_numbers"]

_SEE = "compare it with docs/data.md, or get the folder anew"


@contextmanager
def readable(path: Path, what: str) -> Iterator[None]:
    """Turn what can go wrong while reading a text file into one sentence.

    Raises:
        DataError: the file is missing, unreadable, or not text of this kind.
    """
    import pandas as pd

    try:
        yield
    except FileNotFoundError:
        raise DataError(f"There is no file {path}: --data must lead to {what}, see docs/data.md.") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text (byte {error.start}): save it as UTF-8.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as CSV ({' '.join(str(error).split())}): {_SEE}.") from None


def read_csv(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read a CSV file as text, "" where a cell is empty; columns beyond the expected ones are kept.

    Raises:
        DataError: the file cannot be read, lacks one of the columns, or has no rows.
    """
    import pandas as pd

    with readable(path, "the folder that holds routellm/, mmlu_pro/ and zeroeval/"):
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    missing = [name for name in columns if name not in frame]
    if missing:
        raise DataError(f"{path} has no column {missing[0]!r}: {_SEE}.")
    if frame.empty:
        raise DataError(f"{path} has no rows: {_SEE}.")
    return frame


def flags(path: Path, frame: pd.DataFrame, name: str) -> NDArray[np.bool_]:
    """A column of True and False.

    Raises:
        DataError: a cell holds something else.
    """
    true, false = ((frame[name] == word).to_numpy(dtype=bool) for word in ("True", "False"))
    _refuse(path, frame[[name]], ~(true | false)[:, None], "True or False")
    return true


def numbers(
    path: Path, frame: pd.DataFrame, names: Sequence[str], *, most: float = np.inf, filled: bool = False
) -> NDArray[np.float64]:
    """Numbers from 0 to `most` of some columns, (n_rows, n_names); NaN where a cell is empty, unless all are `filled`.

    Raises:
        DataError: a cell holds something else.
    """
    import pandas as pd

    table = np.column_stack([pd.to_numeric(frame[name], errors="coerce").to_numpy(dtype=float) for name in names])
    empty = (frame[list(names)] == "").to_numpy(dtype=bool)
    wrong = (filled | ~empty) & ~((table >= 0) & (table <= most) & np.isfinite(table))
    _refuse(path, frame[list(names)], wrong, f"a number from 0 to {most:g}" if np.isfinite(most) else "a number")
    return np.asarray(table, dtype=np.float64)


def whole_numbers(path: Path, frame: pd.DataFrame, name: str) -> NDArray[np.int64]:
    """A column of whole numbers that are 0 or more.

    Raises:
        DataError: a cell holds something else.
    """
    values = numbers(path, frame, [name], filled=True)
    _refuse(path, frame[[name]], ~(values % 1 == 0), "a whole number")
    return values[:, 0].astype(np.int64)


def scores(path: Path, frame: pd.DataFrame, experts: Sequence[str]) -> NDArray[np.float64]:
    """Correctness of each model, (n_rows, n_experts), 0 or 1; NaN where a cell is empty.

    Raises:
        DataError: a cell holds something else.
    """
    table = numbers(path, frame, experts)
    _refuse(path, frame[list(experts)], ~(np.isnan(table) | (table == 0) | (table == 1)), "0, 1 or nothing")
    return table


def aligned(path: Path, frame: pd.DataFrame, keys: Sequence[str], like: pd.DataFrame) -> pd.DataFrame:
    """The rows of a second file in the order of the first, which are found by their keys.

    Raises:
        DataError: a key is there twice, or in one of the files only.
    """
    import pandas as pd

    wanted, there = (pd.MultiIndex.from_frame(table[list(keys)]) for table in (like, frame))
    if there.has_duplicates or wanted.has_duplicates:
        twice = there[there.duplicated()] if there.has_duplicates else wanted[wanted.duplicated()]
        raise DataError(f"{path} or the file of scores beside it has {_named(keys, twice[0])} twice: {_SEE}.")
    for some, others in ((wanted, there), (there, wanted)):
        lacking = ~some.isin(others)
        if lacking.any():
            lone = _named(keys, some[lacking][0])
            raise DataError(f"{path} and the file of scores beside it do not both have {lone}: {_SEE}.")
    return frame.iloc[there.get_indexer(wanted)].reset_index(drop=True)


def _named(keys: Iterable[str], values: Iterable[object]) -> str:
    return ", ".join(f"{key} {value}" for key, value in zip(keys, values, strict=True))


def _refuse(path: Path, frame: pd.DataFrame, wrong: NDArray[np.bool_], wanted: str) -> None:
    """Name the first wrong cell; rows count from 1, the one below the header."""
    if not wrong.any():
        return
    row, column = np.unravel_index(int(wrong.argmax()), wrong.shape)
    held = str(frame.iloc[int(row), int(column)])
    raise DataError(
        f"{path}, row {int(row) + 1}, column {frame.columns[int(column)]!r} must hold {wanted}, not {held!r}: {_SEE}."
    )
