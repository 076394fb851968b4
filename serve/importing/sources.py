"""The sources that data comes from, and what is done with the rows of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from routers.data import RoutingData
from routers.errors import DataError, ParameterError
from serve.config import PriceSettings
from serve.importing.answers import Rows, costs
from serve.importing.benchmarks import read_mmlu_pro, read_zeroeval
from serve.importing.own import read_own_csv, read_own_jsonl
from serve.importing.prices import prices_for
from serve.importing.routellm import read_gsm8k, read_mmlu, read_mtbench

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SOURCES", "Choice", "Imported", "import_data"]


class _Source(NamedTuple):
    """A reader of rows, and whether experts that some prompts have no answer of are left out unless asked for."""

    read: Callable[[Path], Rows]
    only_complete: bool = False


SOURCES: Mapping[str, _Source] = {
    "routellm-mmlu": _Source(read_mmlu),
    "routellm-gsm8k": _Source(read_gsm8k),
    "routellm-mtbench": _Source(read_mtbench),
    "mmlu-pro": _Source(read_mmlu_pro, only_complete=True),
    "zeroeval": _Source(read_zeroeval, only_complete=True),
    "csv": _Source(read_own_csv),
    "jsonl": _Source(read_own_jsonl),
}
"""What `pointsman import` knows, by name."""


@dataclass(frozen=True)
class Choice:
    """What to take of a source.

    Attributes:
        experts: the experts to take, None for all.
        incomplete: whether to take experts that some prompts have no answer of.
        drop: names of columns of true and false; rows where one is true are left out.
        prices: prices that go before the list prices, by expert.
    """

    experts: tuple[str, ...] | None = None
    incomplete: bool = False
    drop: tuple[str, ...] = ()
    prices: Mapping[str, PriceSettings] = field(default_factory=dict)


@dataclass(frozen=True)
class Imported:
    """Routing data, and what was done to get it.

    Attributes:
        data: the rows.
        dropped: how many prompts each column of `Choice.drop` took away.
        left_out: experts that were left out, and how many prompts each had no answer to.
        notes: what the rows hold that nobody measured.
    """

    data: RoutingData
    dropped: dict[str, int]
    left_out: dict[str, int]
    notes: tuple[str, ...]


def import_data(source: str, path: Path, choice: Choice | None = None) -> Imported:
    """Read a source and take what is chosen.

    Args:
        source: one of `SOURCES`.
        path: the file of `csv` and `jsonl`; the folder that holds `routellm/`, `mmlu_pro/` and `zeroeval/` otherwise.
        choice: what to take; everything that is complete by default.

    Raises:
        ParameterError: there is no such source.
        DataError: a file is missing or not of its form, or there is no such expert, column or price.
    """
    choice = choice or Choice()
    if source not in SOURCES:
        raise ParameterError(f"There is no source {source!r}: use one of {', '.join(SOURCES)}.")
    known = SOURCES[source]
    frame, notes = known.read(path)
    frame, dropped = _drop(frame, choice.drop)
    only_complete = known.only_complete and not choice.incomplete
    frame, left_out = _take_experts(frame, choice.experts, only_complete=only_complete)
    if "cost" not in frame:
        frame["cost"] = costs(frame, prices_for(frame["expert"].unique(), choice.prices))
        notes = (*notes, "cost: these tokens at list prices, or those given")
    return Imported(RoutingData(frame), dropped, left_out, notes)


def _drop(frame: pd.DataFrame, columns: tuple[str, ...]) -> tuple[pd.DataFrame, dict[str, int]]:
    """The rows where none of these columns is true, and how many prompts each column takes away."""
    from pandas.api.types import is_bool_dtype

    fitting = [name for name in frame if is_bool_dtype(frame[name])]
    dropped = {}
    for name in columns:
        if name not in fitting:
            there = ", ".join(map(str, fitting)) or "none"
            raise DataError(f"--drop {name}: the data has no such column of true and false, but {there}.")
        unwanted = frame[name].to_numpy(dtype=bool)
        dropped[name] = int(frame.loc[unwanted, "prompt_id"].nunique())
        frame = frame[~unwanted]
    if frame.empty:
        raise DataError(f"--drop {' --drop '.join(columns)} leaves no row: drop less.")
    return frame.reset_index(drop=True), dropped


def _take_experts(
    frame: pd.DataFrame, chosen: tuple[str, ...] | None, *, only_complete: bool
) -> tuple[pd.DataFrame, dict[str, int]]:
    """The rows of the chosen experts, and which experts were left out for how many missing answers."""
    n_prompts = frame["prompt_id"].nunique()
    answered: Any = frame.drop_duplicates(["prompt_id", "expert"])["expert"].value_counts()
    missing = {expert: n_prompts - int(count) for expert, count in answered.items() if count < n_prompts}
    for expert in chosen or ():
        if expert not in answered:
            raise DataError(f"The data has no expert {expert!r}: it has {', '.join(sorted(answered.index))}.")
        if only_complete and expert in missing:
            raise DataError(
                f"Expert {expert!r} has no answer to {missing[expert]:,} of {n_prompts:,} prompts: add --incomplete to "
                "take it all the same."
            )
    left_out = missing if only_complete and chosen is None else {}
    wanted = set(answered.index if chosen is None else chosen) - set(left_out)
    if not wanted:
        raise DataError("No expert has answered every prompt: add --incomplete to take them all the same.")
    rows = frame["expert"].isin(wanted)
    return frame[rows].reset_index(drop=True), left_out
