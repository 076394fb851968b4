"""Routing data: what each expert answered to each prompt, how good it was and what it cost."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from routers.errors import DataError
from routers.prompt import Prompt, side_values

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COLUMNS", "OPTIONAL_COLUMNS", "RoutingData"]

COLUMNS = {
    "prompt_id": "text",
    "prompt": "text",
    "expert": "text",
    "sample": "whole numbers",
    "quality": "numbers",
    "input_tokens": "whole numbers",
    "output_tokens": "whole numbers",
    "cost": "numbers",
    "latency_s": "numbers",
}
"""Columns that every file has, in this order, with what they hold. One row per (prompt, expert, sample)."""

OPTIONAL_COLUMNS = {
    "response": "text",
    "domain": "text",
    "split": "text",
    "fold": "whole numbers",
    "metadata": "anything",
}
"""Columns that a file may have; their cells may be empty."""

_KEY = ["prompt_id", "expert", "sample"]
_OF_PROMPT = ["prompt", "domain", "split", "fold"]


class RoutingData:
    """Validated rows of routing data, and the wide matrices that routers learn from.

    Prompts come in the order of their first row, experts in alphabetical order unless `select` said
    otherwise; every matrix has prompts down and experts across.

    Args:
        frame: rows with at least the columns of `COLUMNS`; it is copied, not changed. Columns beyond
        `COLUMNS` and
            `OPTIONAL_COLUMNS` are kept.

    Raises:
        DataError: a column is missing or of the wrong type, a value is missing or out of range, a row is
        there
            twice, or a prompt id has two texts.
    """

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame = _validated(frame)

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read a Parquet file.

        Raises:
            DataError: there is no such file, it is not Parquet, or its rows are not valid.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            frame = pq.read_table(path).to_pandas()
        except FileNotFoundError:
            raise DataError(
                f"There is no routing data at {path}: make it with `pointsman label` or `pointsman import`."
            ) from None
        except (pa.ArrowException, OSError) as error:
            reason = str(error).partition("\n")[0]
            raise DataError(f"{path} cannot be read as a Parquet file of routing data: {reason}") from None
        try:
            return cls(frame)
        except DataError as error:
            raise DataError(f"{path}: {error}") from None

    def write(self, path: str | Path) -> None:
        """Write a Parquet file (zstd), replacing one that is there once the new one is whole.

        Raises:
            DataError: the place cannot be written, or Parquet cannot hold a column beyond those of the format.
        """
        import pyarrow as pa

        path = Path(path)
        part = path.with_name(f"{path.name}.part")
        try:
            self._frame.to_parquet(part, index=False, compression="zstd")
            part.replace(path)
        except OSError as error:
            raise DataError(f"{path} cannot be written: {error.strerror or error}.") from None
        except pa.ArrowException as error:
            reason = " ".join(map(str, error.args))
            raise DataError(f"Parquet cannot hold the routing data, so give each column one type: {reason}") from None
        finally:
            part.unlink(missing_ok=True)

    @property
    def frame(self) -> pd.DataFrame:
        """A copy of the rows."""
        return self._frame.copy()

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._frame)

    @cached_property
    def prompts(self) -> pd.DataFrame:
        """One row a prompt: `prompt_id`, `prompt`, and those of the optional columns that describe it."""
        columns = [c for c in ("prompt_id", *_OF_PROMPT, "metadata") if c in self._frame]
        return self._frame.drop_duplicates("prompt_id")[columns].reset_index(drop=True)

    @property
    def texts(self) -> list[str]:
        """Text of each prompt."""
        return self.prompts["prompt"].tolist()

    def inputs(self, side: Sequence[str] | None = None) -> list[str]:
        """What routers read of each prompt: its text, with side information where some is asked for.

        Args:
            side: names of columns, or of keys in `metadata` where that holds objects (as JSON or as they are). The
                first row of a prompt says its values.

        Raises:
            DataError: neither a column nor the metadata of any prompt has one of the names.
        """
        if not side:
            return self.texts
        first = self._frame.drop_duplicates("prompt_id")
        return [Prompt(text, values) for text, values in zip(self.texts, side_values(first, side), strict=True)]

    @cached_property
    def experts(self) -> tuple[str, ...]:
        """Expert ids, in the order of the matrices' columns."""
        return tuple(sorted(self._frame["expert"].unique()))

    def quality(self) -> NDArray[np.float64]:
        """Mean quality over samples, (n_prompts, n_experts) in [0, 1]; NaN where there is no answer."""
        return self.mean("quality")

    def cost(self) -> NDArray[np.float64]:
        """Mean cost of an answer, (n_prompts, n_experts); NaN where there is no answer."""
        return self.mean("cost")

    def mean(self, column: str) -> NDArray[np.float64]:
        """Mean over samples of a numeric column, (n_prompts, n_experts); NaN where there is no answer."""
        places = {expert: place for place, expert in enumerate(self.experts)}
        n_experts = len(places)
        cell = self._prompt_codes * n_experts + self._frame["expert"].map(places).to_numpy(dtype=np.int64)
        shape = (len(self.prompts), n_experts)
        counts = np.bincount(cell, minlength=shape[0] * n_experts)
        values = self._frame[column].to_numpy(dtype=np.float64)
        sums = np.bincount(cell, weights=values, minlength=counts.size)
        means = np.divide(sums, counts, out=np.full(counts.size, np.nan), where=counts > 0)
        matrix: NDArray[np.float64] = means.reshape(shape)
        return matrix

    def samples(self, expert: str) -> NDArray[np.float64]:
        """Quality of each sample of one expert, (n_prompts, most samples), NaN-padded at the right.

        Raises:
            DataError: the data has no such expert.
        """
        self._known([expert])
        mine = self._frame["expert"].to_numpy() == expert
        order = np.argsort(self._frame["sample"].to_numpy()[mine], kind="stable")
        prompt = self._prompt_codes[mine][order]
        by_prompt = np.argsort(prompt, kind="stable")
        counts = np.bincount(prompt, minlength=len(self.prompts))
        place = np.arange(len(prompt)) - np.repeat(np.cumsum(counts) - counts, counts)
        matrix = np.full((len(self.prompts), int(counts.max(initial=0))), np.nan)
        matrix[prompt[by_prompt], place] = self._frame["quality"].to_numpy()[mine][order][by_prompt]
        return matrix

    def subset(self, split: str) -> Self:
        """The rows of one split, experts in the same order.

        Raises:
            DataError: the data has no splits, or not this one.
        """
        if "split" not in self._frame:
            raise DataError(f"The data has no column 'split', so there is no split {split!r}: add the column.")
        rows = self._frame["split"] == split
        if not rows.any():
            there = ", ".join(sorted(map(str, self._frame["split"].dropna().unique())))
            raise DataError(f"The data has no split {split!r}: it has {there or 'none'}.")
        return self._part(rows.to_numpy(dtype=bool))

    def at(self, prompts: NDArray[np.int64] | NDArray[np.bool_]) -> Self:
        """The rows of some prompts, named by their places or by a mask over them, experts in the same order."""
        kept = self._frame["prompt_id"].isin(self.prompts["prompt_id"].to_numpy()[prompts])
        return self._part(kept.to_numpy(dtype=bool))

    def select(self, experts: Iterable[str]) -> Self:
        """The rows of these experts, which become the columns in this order.

        Raises:
            DataError: the data has no such expert, or one is named twice.
        """
        names = tuple(experts)
        self._known(names)
        if len(set(names)) != len(names) or not names:
            raise DataError(f"Select each expert once, and at least one; not {list(names)}.")
        chosen = self._of(self._frame[self._frame["expert"].isin(names)])
        chosen.__dict__["experts"] = names
        return chosen

    def content_hash(self) -> str:
        """SHA-256 of the columns of `COLUMNS`, whatever the order of the rows; hexadecimal."""
        ordered = self._frame.sort_values(_KEY, kind="stable")
        digest = hashlib.sha256()
        for name, kind in COLUMNS.items():
            digest.update(f"{name}\0".encode())
            if kind == "text":
                digest.update("\0".join(ordered[name]).encode(errors="surrogatepass"))
            else:
                dtype = "<i8" if kind == "whole numbers" else "<f8"
                digest.update(ordered[name].to_numpy(dtype=dtype).tobytes())
        return digest.hexdigest()

    @cached_property
    def _prompt_codes(self) -> NDArray[np.int64]:
        import pandas as pd

        return np.asarray(pd.factorize(self._frame["prompt_id"])[0], dtype=np.int64)

    def _known(self, experts: Iterable[str]) -> None:
        there = set(self._frame["expert"].unique())
        for expert in experts:
            if expert not in there:
                raise DataError(f"The data has no expert {expert!r}: it has {', '.join(sorted(there))}.")

    def _part(self, rows: NDArray[np.bool_]) -> Self:
        part = self._of(self._frame[rows])
        if set(part.experts) == set(self.experts):
            part.__dict__["experts"] = self.experts
        return part

    @classmethod
    def _of(cls, frame: pd.DataFrame) -> Self:
        made = cls.__new__(cls)
        made._frame = frame.reset_index(drop=True)  # noqa: SLF001
        return made


def _validated(frame: pd.DataFrame) -> pd.DataFrame:
    missing = [name for name in COLUMNS if name not in frame]
    if missing:
        there = ", ".join(map(str, frame.columns)) or "none"
        raise DataError(f"Routing data needs the column {missing[0]!r}: it has {there}.")
    if frame.empty:
        raise DataError("The routing data has no rows: give at least one answer.")
    extra = [name for name in frame.columns if name not in COLUMNS]
    frame = frame[[*COLUMNS, *extra]].reset_index(drop=True)
    for name, kind in COLUMNS.items():
        frame[name] = _column(frame[name], kind, required=True)
    for name, kind in OPTIONAL_COLUMNS.items():
        if name in frame:
            frame[name] = _column(frame[name], kind, required=False)
    _check_ranges(frame)
    _check_rows(frame)
    return frame


def _column(values: pd.Series, kind: str, *, required: bool) -> pd.Series:
    """The column in its one type: str, int64 or float64 (nullable where it is optional)."""
    name, empty = values.name, values.isna()
    if required and empty.any():
        raise DataError(
            f"Column {name!r} is empty in row {int(empty.to_numpy().argmax())}: fill it or leave the row out."
        )
    if kind == "anything" or empty.all():
        return values
    if kind == "text":
        wrong, typed = ~empty & ~_is_text(values), values
    else:
        from pandas.api.types import is_bool_dtype, is_numeric_dtype

        numeric = is_numeric_dtype(values) and not is_bool_dtype(values)
        wrong = ~empty & (values % 1 != 0 if numeric and kind == "whole numbers" else not numeric)
        typed = values if wrong.any() else _numeric(values, kind, required=required)
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        held = values.iloc[row]
        shown = repr(held) if isinstance(held, str) else held
        raise DataError(f"Column {name!r} must hold {kind}, but row {row} holds {shown}.")
    return typed


def _is_text(values: pd.Series) -> NDArray[np.bool_]:
    """Which cells hold text; where all do, no cell is looked at in Python."""
    import pandas as pd

    if isinstance(values.dtype, pd.StringDtype) or pd.api.types.infer_dtype(values, skipna=True) == "string":
        return np.ones(len(values), dtype=np.bool_)
    return np.fromiter((isinstance(value, str) for value in values), dtype=np.bool_, count=len(values))


def _numeric(values: pd.Series, kind: str, *, required: bool) -> pd.Series:
    if kind == "numbers":
        return values.astype("float64")
    return values.astype("int64") if required else values.astype("Int64")


def _check_ranges(frame: pd.DataFrame) -> None:
    for name, kind in COLUMNS.items():
        if kind == "text":
            continue
        values = frame[name].to_numpy(dtype=np.float64)
        most = 1.0 if name == "quality" else np.inf
        wrong = ~((values >= 0) & (values <= most) & np.isfinite(values))
        if wrong.any():
            row = int(wrong.argmax())
            limits = "between 0 and 1" if name == "quality" else "finite and 0 or more"
            raise DataError(f"Column {name!r} must be {limits}, but row {row} holds {values[row]}.")


def _check_rows(frame: pd.DataFrame) -> None:
    twice = frame.duplicated(_KEY).to_numpy()
    if twice.any():
        row = int(twice.argmax())
        key = ", ".join(f"{name} {frame[name].iloc[row]}" for name in _KEY)
        raise DataError(f"Row {row} repeats an earlier one ({key}): number the samples of a pair or drop one.")
    for name in _OF_PROMPT:
        if name not in frame:
            continue
        kinds: Any = frame.drop_duplicates(["prompt_id", name])["prompt_id"]
        if kinds.duplicated().any():
            prompt_id = kinds[kinds.duplicated()].iloc[0]
            raise DataError(f"Prompt id {prompt_id!r} has two values of {name!r}: give each prompt its own id.")
