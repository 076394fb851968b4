"""How good each setup's answers are, as the demo measured them through its running endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from demo.routes import RouteReport, report
from routers import RoutingData
from serve.study.setups import LARGE, SMALL

__all__ = ["Quality", "read_quality"]

# Where each setup was asked with the most samples of every question, and as what.
_MEASURED = {
    "all-large": ("routes-auto.parquet", LARGE),
    "all-small": ("routes-auto.parquet", SMALL),
    "auto": ("routes-auto.parquet", "auto"),
    "expert": ("routes-expert.parquet", "expert"),
    "frugal": ("routes-plans.parquet", "frugal"),
}


@dataclass(frozen=True, slots=True)
class Quality:
    """What the demo measured of a setup.

    Attributes:
        report: quality, and drop against the large expert asked in the same run.
        file: the records that it follows from.
    """

    report: RouteReport
    file: str

    def as_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {**asdict(self.report), "file": self.file}


def read_quality(folder: Path) -> Mapping[str, Quality]:
    """The quality of each kind of setup, as far as its records are there.

    Args:
        folder: holds the demo's `routes-….parquet`.

    Raises:
        DataError: a file is no complete routing data.
    """
    found: dict[str, Quality] = {}
    for name in sorted({file for file, _ in _MEASURED.values()}):
        if not (folder / name).is_file():
            continue
        rows = {row.asked: row for row in report(RoutingData.read(folder / name), LARGE)}
        for kind, (file, asked) in _MEASURED.items():
            if file == name and asked in rows:
                found[kind] = Quality(rows[asked], file)
    return found
