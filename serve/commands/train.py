"""``pointsman train``: a router from routing data."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from routers import (
    ParameterError,
    Router,
    RoutingData,
    TwoModelRouter,
    choose_threshold,
    evaluate,
    make_router,
    save_router,
    sweep_thresholds,
)
from routers.artifact import check_place

__all__ = ["train"]


def train(
    name: Annotated[str, typer.Argument(help="Which router: see `pointsman routers`.")],
    data: Annotated[Path, typer.Argument(help="Routing data (Parquet), as `pointsman label` writes it.")],
    out: Annotated[Path, typer.Option(help="Directory for the trained router; a router there is replaced.")],
    param: Annotated[
        list[str] | None, typer.Option(help="A parameter of the router as key=value; may be repeated.")
    ] = None,
    experts: Annotated[
        str | None, typer.Option(help="Experts to learn, separated by commas; all of the data otherwise.")
    ] = None,
    train_split: Annotated[str, typer.Option(help="Split to learn from.")] = "train",
    calibration_split: Annotated[
        str, typer.Option(help="Split to choose the threshold and to report on.")
    ] = "calibration",
    max_drop: Annotated[
        float, typer.Option(min=0, max=1, help="Relative loss of quality the threshold may cost.")
    ] = 0.01,
    confidence: Annotated[float, typer.Option(help="Confidence, between 0 and 1, that it does not cost more.")] = 0.95,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of everything random.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the training summary as JSON.")] = False,
) -> None:
    """Train a router, choose its threshold, and save it."""
    check_place(out)
    router = make_router(name, **_parameters(param or [], seed))
    rows = RoutingData.read(data)
    if experts is not None:
        rows = rows.select(expert.strip() for expert in experts.split(","))
    training, calibration = rows.subset(train_split), rows.subset(calibration_split)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("Training", total=1.0)
        router.fit(training, lambda doing, share: bar.update(task, description=doing, completed=share))
        bar.update(task, description="calibration", completed=1.0)
        _calibrate(router, calibration, max_drop, confidence)
    save_router(router, out)
    if as_json:
        summary = {"router": router.name, "path": str(out), **router.summary_}
        typer.echo(orjson.dumps(summary, option=orjson.OPT_INDENT_2).decode())
    else:
        _show(router, out)


def _parameters(given: list[str], seed: int | None) -> dict[str, Any]:
    """Router parameters from key=value texts; values are JSON where they can be, else text."""
    parameters: dict[str, Any] = {} if seed is None else {"seed": seed}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ParameterError(f"--param {text!r} is not of the form key=value.")
        try:
            parameters[key] = orjson.loads(value)
        except orjson.JSONDecodeError:
            parameters[key] = value
    return parameters


def _calibrate(router: Router, data: RoutingData, max_drop: float, confidence: float) -> None:
    """Set the threshold of a two-model router, and note in its summary how it does on the data."""
    noted: dict[str, Any] = {}
    if isinstance(router, TwoModelRouter):
        point = choose_threshold(sweep_thresholds(router, data, confidence=confidence), max_drop)
        router.threshold_ = point.threshold
        noted = {"max_drop": max_drop, "confidence": confidence, **asdict(point)}
    router.summary_["calibration"] = {**noted, **asdict(evaluate(router, data))}


def _show(router: Router, out: Path) -> None:
    noted = router.summary_["calibration"]
    reference = escape(noted["reference"])
    table = Table("On the calibration split", "", title=escape(f"{router.name}, saved at {out}"))
    table.add_row("prompts", str(noted["n_prompts"]))
    if "threshold" in noted:
        table.add_row("threshold", f"{noted['threshold']:g}")
    table.add_row("quality", f"{noted['quality']:.4f}")
    table.add_row(f"quality drop against {reference}", f"{noted['quality_drop']:.2%}")
    if "quality_drop_bound" in noted:
        table.add_row(f"… at most, with {noted['confidence']:.0%} confidence", f"{noted['quality_drop_bound']:.2%}")
    table.add_row(f"kept off {reference}", f"{noted['cost_advantage']:.1%}")
    table.add_row("mean cost of an answer", f"{noted['cost']:.3g}")
    for expert, share in noted["shares"].items():
        table.add_row(f"to {escape(expert)}", f"{share:.1%}")
    Console().print(table)
