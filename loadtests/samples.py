"""What was seen of each request: small enough to keep all of them, and to send them between processes."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["NOTHING", "ClientTick", "Sample", "Samples"]

NOTHING = -1.0


class Sample(NamedTuple):
    """One request. Times are seconds since the epoch; `NOTHING` stands for what did not happen or is not known.

    Attributes:
        started_s: when it was sent.
        first_token_s: when the first byte of its text came.
        ended_s: when its answer was complete, or had failed.
        late_s: how much later it was sent than planned.
        prompt_tokens: as the endpoint counts them.
        output_tokens: likewise.
        expert: who answered, by the header ``x-pointsman-expert``.
        failure: what kind of failure it was; empty for a good answer.
    """

    started_s: float
    first_token_s: float
    ended_s: float
    late_s: float
    prompt_tokens: float
    output_tokens: float
    expert: str
    failure: str

    @property
    def latency_s(self) -> float:
        """From sending to the end of the answer."""
        return self.ended_s - self.started_s

    @property
    def token_interval_s(self) -> float | None:
        """From a token to the next one, on average; None where it cannot be told."""
        if self.first_token_s == NOTHING or self.output_tokens < 2 or self.first_token_s >= self.ended_s:
            return None
        return (self.ended_s - self.first_token_s) / (self.output_tokens - 1)


class ClientTick(NamedTuple):
    """How one load process fares: its share of a processor, and how late its event loop was, over half a second."""

    at_s: float
    process: int
    cpu: float
    lag_s: float


class Samples:
    """All requests of a load test, a column each, in the order in which they were added."""

    def __init__(self) -> None:
        self._numbers = tuple(array("d") for _ in Sample._fields[:-2])
        self._codes = (array("l"), array("l"))
        self._names: tuple[dict[str, int], dict[str, int]] = ({}, {})
        self.ticks: list[ClientTick] = []
        self.messages: dict[str, str] = {}
        self.simulated: set[str] = set()
        self.failures = 0

    def __len__(self) -> int:
        return len(self._codes[0])

    def add(self, sample: Sequence[Any]) -> None:
        """Keep one request."""
        for column, value in zip(self._numbers, sample, strict=False):
            column.append(value)
        for codes, names, name in zip(self._codes, self._names, sample[-2:], strict=True):
            codes.append(names.setdefault(name, len(names)))
        self.failures += bool(sample[-1])

    def add_report(self, report: dict[str, Any]) -> None:
        """Keep what a process reported, as `drain` gives it."""
        for sample in report["samples"]:
            self.add(sample)
        self.ticks.extend(ClientTick(*tick) for tick in report["ticks"])
        for kind, message in report["messages"].items():
            self.messages.setdefault(kind, message)
        self.simulated.update(report["simulated"])

    def column(self, name: str) -> NDArray[np.float64]:
        """One of the numbers of every request, (n,)."""
        return np.array(self._numbers[Sample._fields.index(name)])

    def texts(self, name: str) -> NDArray[np.str_]:
        """`expert` or `failure` of every request, (n,)."""
        place = ("expert", "failure").index(name)
        names = np.array([*self._names[place], ""], dtype=str)
        return np.asarray(names[np.array(self._codes[place], dtype=np.int64)], dtype=str)

    def save(self, path: Path) -> None:
        """Write everything to one file."""
        ticks = np.array(self.ticks, dtype=np.float64).reshape(-1, len(ClientTick._fields))
        messages = np.array([part for pair in self.messages.items() for part in pair], dtype=str)
        simulated = np.array(sorted(self.simulated), dtype=str)
        columns: dict[str, Any] = {name: self.column(name) for name in Sample._fields[:-2]}
        columns |= {name: self.texts(name) for name in Sample._fields[-2:]}
        with path.open("wb") as file:
            np.savez_compressed(file, ticks=ticks, messages=messages, simulated=simulated, **columns)

    @classmethod
    def load(cls, path: Path) -> Samples:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as stored:
            rows: Iterable[Any] = zip(*(stored[name].tolist() for name in Sample._fields), strict=True)
            messages = stored["messages"].tolist()
            report = {
                "samples": rows,
                "ticks": stored["ticks"].tolist(),
                "messages": dict(zip(messages[::2], messages[1::2], strict=True)),
                "simulated": stored["simulated"].tolist(),
            }
            samples = cls()
            samples.add_report(report)
            return samples
