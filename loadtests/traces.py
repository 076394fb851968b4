"""When requests arrive, and how long they are: published traces of production, and a day's rates compressed."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from loadtests.errors import LoadTestError

__all__ = ["TRACES", "Arrivals", "arrivals", "gaps_s"]

TRACES = ("azure-conv", "azure-code", "servegen")

_AZURE_FILES = {"azure-conv": "AzureLLMInferenceTrace_conv.csv", "azure-code": "AzureLLMInferenceTrace_code.csv"}
_SERVEGEN_MODEL = "m-small"
_DAY_S = 86_400


@dataclass(frozen=True)
class Arrivals:
    """Requests of an open loop.

    Attributes:
        times_s: (n,) when each is sent, ascending, from the start.
        prompt_tokens: (n,) of each prompt; 0 where the trace has none and the prompt mix decides.
        output_tokens: (n,) of each answer; 0 likewise.
    """

    times_s: NDArray[np.float64]
    prompt_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.times_s)

    def share(self, place: int, of: int) -> Arrivals:
        """What one of several processes sends: every `of`-th request."""
        part = slice(place, None, of)
        return Arrivals(self.times_s[part], self.prompt_tokens[part], self.output_tokens[part])


def arrivals(name: str, folder: Path, *, seconds: float, rate: float | None, seed: int = 0) -> Arrivals:
    """The arrivals of a trace.

    Azure's traces (Patel et al., Splitwise, ISCA 2024) are replayed from their start, at the recorded gaps, or all of
    them stretched or compressed to a mean rate. Of ServeGen (Xiang et al., 2025) the first day's rates of its small
    models are compressed into the time and scaled so that the busiest ten minutes have the rate; arrivals are a Poisson
    process.

    Args:
        name: one of `TRACES`.
        folder: holds `azure_traces/` and `servegen_rates/`.
        seconds: how long to send.
        rate: requests a second: an Azure trace's mean [its own], ServeGen's peak [10].
        seed: of the Poisson process.

    Raises:
        LoadTestError: there is no such trace, or its file is missing or not as published.
    """
    if name in _AZURE_FILES:
        return _azure(folder / "azure_traces" / _AZURE_FILES[name], seconds, rate)
    if name == "servegen":
        return _servegen(folder / "servegen_rates" / "rates_per_window.csv", seconds, rate or 10.0, seed)
    raise LoadTestError(f"There is no trace {name!r}: use one of {', '.join(TRACES)}.")


def gaps_s(folder: Path) -> NDArray[np.float64]:
    """Gaps between arrivals of Azure's conversations, (n,), scaled to a mean of 1: a shape for think times."""
    times_s = _azure_rows(folder / "azure_traces" / _AZURE_FILES["azure-conv"])[0]
    gaps = np.diff(times_s)
    scaled: NDArray[np.float64] = gaps / gaps.mean()
    return scaled


def _azure(path: Path, seconds: float, rate: float | None) -> Arrivals:
    times_s, prompt_tokens, output_tokens = _azure_rows(path)
    if rate is not None:
        times_s = times_s * ((len(times_s) - 1) / times_s[-1] / rate)
    kept = times_s < seconds
    return Arrivals(times_s[kept], np.maximum(1, prompt_tokens[kept]), np.maximum(1, output_tokens[kept]))


def _azure_rows(path: Path) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    rows = _rows(path, ("TIMESTAMP", "ContextTokens", "GeneratedTokens"))
    try:
        stamps = [datetime.fromisoformat(row[0][:26]).replace(tzinfo=UTC).timestamp() for row in rows]
        tokens = np.array([[int(row[1]), int(row[2])] for row in rows])
    except ValueError as error:
        raise LoadTestError(f"{path} is not as it was published ({error}): get it anew, see docs/data.md.") from None
    times_s = np.array(stamps)
    return times_s - times_s[0], tokens[:, 0], tokens[:, 1]


def _servegen(path: Path, seconds: float, rate: float, seed: int) -> Arrivals:
    rows = _rows(path, ("t_seconds", _SERVEGEN_MODEL))
    try:
        day = [float(row[1]) for row in rows if float(row[0]) < _DAY_S]
    except ValueError as error:
        raise LoadTestError(f"{path} is not as it was published ({error}): get it anew, see docs/data.md.") from None
    relative = np.array(day) / max(day)
    # Thinning: a process at the peak's rate, of which each arrival is kept with its moment's share of the peak.
    chooser = np.random.default_rng(seed)
    times_s = np.sort(chooser.uniform(0, seconds, chooser.poisson(rate * seconds)))
    window = np.minimum((times_s / seconds * len(relative)).astype(int), len(relative) - 1)
    kept = times_s[chooser.uniform(size=len(times_s)) < relative[window]]
    nothing = np.zeros(len(kept), dtype=np.int64)
    return Arrivals(kept, nothing, nothing)


def _rows(path: Path, columns: tuple[str, ...]) -> list[list[str]]:
    """The wanted columns of a CSV file."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines)
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            rows = [] if missing else [[row[name] or "" for name in columns] for row in reader]
    except OSError as error:
        raise LoadTestError(
            f"{path} cannot be read ({error.strerror}): name the folder that holds it with --data, see docs/data.md."
        ) from None
    if len(rows) < 2:
        raise LoadTestError(f"{path} has no rows of {', '.join(columns)}: get it anew, see docs/data.md.")
    return rows
