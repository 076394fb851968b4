"""What the demo's routes keep and save: quality, share and cost beside every single expert and random routing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import orjson
from numpy.typing import NDArray
from rich.table import Table

from routers import DataError, RoutingData

__all__ = ["RouteReport", "answered_by", "report", "table"]

_RESAMPLES = 2_000


@dataclass(frozen=True, slots=True)
class RouteReport:
    """One row of the table.

    Attributes:
        asked: the route or expert that was asked for, or "random" beside a route.
        quality: mean quality over prompts and samples, with a 95 % bootstrap interval over prompts.
        drop: relative loss of quality against the reference, with its interval; negative where it is better.
        off_reference: share of the prompts that the reference did not answer.
        cost_per_1000: mean cost of 1,000 answers.
    """

    asked: str
    quality: float
    quality_ci95: tuple[float, float]
    drop: float
    drop_ci95: tuple[float, float]
    off_reference: float
    cost_per_1000: float


def report(data: RoutingData, reference: str = "large", seed: int = 0) -> list[RouteReport]:
    """Compare everything that was asked with the reference, and each route with random routing at the same shares.

    Args:
        data: answers of routes and experts through the running endpoint, as `pointsman label` writes them.
        reference: the expert that all-large means.
        seed: of the bootstrap.

    Raises:
        DataError: the reference was not asked, or not everybody was asked every prompt.
    """
    if reference not in data.experts:
        raise DataError(f"{reference!r} was not asked: label it too, or name another reference.")
    quality, cost = data.quality(), data.cost()
    if np.isnan(quality).any():
        raise DataError("Not every model was asked every prompt: let `pointsman label` finish.")
    names = list(data.experts)
    answered = answered_by(data)
    draws = np.random.default_rng(seed).integers(len(quality), size=(_RESAMPLES, len(quality)))
    base = quality[:, names.index(reference)]
    rows = []
    for column, name in enumerate(names):
        shares = {expert: float(np.mean(answered[name] == expert)) for expert in set(answered[name])}
        off = 1.0 - shares.get(reference, 0.0)
        rows.append(_row(name, quality[:, column], cost[:, column], base, off, draws))
        if set(shares) != {name} and set(shares) <= set(names):
            weights = np.array([shares.get(expert, 0.0) for expert in names])
            rows.append(_row(f"random, as {name}", quality @ weights, cost @ weights, base, off, draws))
    return rows


def table(rows: list[RouteReport], reference: str = "large") -> Table:
    """The rows as people read them."""
    shown = Table(title=f"Through the running endpoint, against all-{reference}")
    for heading in ("asked", "quality %", "95 %", "drop %", "95 %", f"off {reference} %", "cost per 1,000"):
        shown.add_column(heading, justify="left" if heading == "asked" else "right")
    for row in rows:
        shown.add_row(
            row.asked,
            f"{100 * row.quality:.1f}",
            f"{100 * row.quality_ci95[0]:.1f} to {100 * row.quality_ci95[1]:.1f}",
            f"{100 * row.drop:.2f}",
            f"{100 * row.drop_ci95[0]:.2f} to {100 * row.drop_ci95[1]:.2f}",
            f"{100 * row.off_reference:.1f}",
            f"{row.cost_per_1000:.5f}",
        )
    return shown


def answered_by(data: RoutingData) -> dict[str, NDArray[np.object_]]:
    """Who answered each prompt, by who was asked, in the order of the data's prompts."""
    first = data.frame[data.frame["sample"] == 0]
    order = data.prompts["prompt_id"]
    answered = {}
    for name, rows in first.groupby("expert"):
        by_prompt = rows.set_index("prompt_id")["metadata"].map(lambda text: orjson.loads(text)["answered_by"])
        answered[str(name)] = by_prompt.loc[order].to_numpy(dtype=object)
    return answered


def _row(
    name: str,
    quality: NDArray[np.float64],
    cost: NDArray[np.float64],
    base: NDArray[np.float64],
    off_reference: float,
    draws: NDArray[np.int64],
) -> RouteReport:
    resampled, base_resampled = quality[draws].mean(axis=1), base[draws].mean(axis=1)
    drops = 1.0 - resampled / base_resampled
    low, high = np.quantile(resampled, [0.025, 0.975])
    drop_low, drop_high = np.quantile(drops, [0.025, 0.975])
    return RouteReport(
        name,
        float(quality.mean()),
        (float(low), float(high)),
        float(1.0 - quality.mean() / base.mean()),
        (float(drop_low), float(drop_high)),
        off_reference,
        float(1000 * cost.mean()),
    )
