"""``pointsman calibrate``: settings that keep a promise on prompts that nobody has seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from routers import ParameterError, Router, RoutingData, TwoModelRouter, load_router, make_router, save_router
from routers.artifact import check_place
from routers.calibration import StudyRow, study
from routers.calibration import calibrate as find_promise
from routers.promises import Promise, PromiseKind, add_promise

__all__ = ["calibrate"]

_DROPS = (0.005, 0.01, 0.02, 0.05)
_STUDY_DROPS = (0.01, 0.02, 0.05)
_WHAT: dict[PromiseKind, str] = {
    "max_drop": "quality drop",
    "max_large": "share to the large expert",
    "max_cost": "cost of 1,000 requests",
}


def calibrate(
    artifact: Annotated[str, typer.Argument(help="Directory of a trained router; with --study also a router's name.")],
    data: Annotated[Path, typer.Argument(help="Labelled data (Parquet) that the router has not learned from.")],
    split: Annotated[str | None, typer.Option(help="Split to calibrate on; 'all' takes every prompt.")] = "calibration",
    max_drop: Annotated[
        list[float] | None,
        typer.Option(min=0, max=1, help="Relative loss of quality to promise; may be repeated [default: a table]."),
    ] = None,
    max_large: Annotated[
        list[float] | None, typer.Option(min=0, max=1, help="Share of prompts to the dearest expert to promise.")
    ] = None,
    max_cost: Annotated[
        list[float] | None, typer.Option(min=0, help="Cost of 1,000 requests to promise, in the data's currency.")
    ] = None,
    confidence: Annotated[float, typer.Option(help="Confidence that a promise is kept, from 0.5 to below 1.")] = 0.95,
    horizon: Annotated[
        int | None,
        typer.Option(min=1, help="Fewest new prompts on which it is to be kept [default: as many as calibrate it]."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Directory for the router with its promises [default: as it is].")
    ] = None,
    even_if_useless: Annotated[
        bool, typer.Option("--even-if-useless", help="Promise a drop also where nothing is kept off the reference.")
    ] = False,
    run_study: Annotated[
        bool, typer.Option("--study", help="Promise nothing: print how often promises are kept over random halves.")
    ] = False,
    splits: Annotated[int, typer.Option(min=1, help="With --study: random halves of the data.")] = 1000,
    experts: Annotated[str | None, typer.Option(help="With --study: experts, separated by commas; else all.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="With --study: seed of everything random.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Choose thresholds or trade-offs that keep a promise, and store them with the router: docs/calibration.md."""
    rows = RoutingData.read(data)
    if run_study:
        if max_large or max_cost or out is not None:
            raise ParameterError("--study looks at quality drops and saves nothing: leave the other options out.")
        chosen = rows if experts is None else rows.select(name.strip() for name in experts.split(","))
        found = _study(artifact, chosen, max_drop or _STUDY_DROPS, splits, confidence, seed)
        _print([asdict(row) for row in found], as_json, lambda: _show_study(artifact, data, found, splits, confidence))
        return
    part = rows if split in (None, "all") else rows.subset(split or "")
    asked = _asked(max_drop, max_large, max_cost)
    options = {"confidence": confidence, "horizon": horizon, "even_if_useless": even_if_useless}
    _store(artifact, Path(artifact) if out is None else out, part, asked, options, as_json=as_json)


def _store(
    artifact: str,
    target: Path,
    data: RoutingData,
    asked: list[tuple[PromiseKind, float]],
    options: dict[str, Any],
    *,
    as_json: bool,
) -> None:
    """Save the router with what it can promise, and print that."""
    router = load_router(artifact)
    check_place(target)
    limits = asked or [("max_drop", drop) for drop in _DROPS]
    promises, refused = _promises(router, data, limits, strict=bool(asked), **options)
    for promise in promises:
        add_promise(router, promise)
    if asked and isinstance(router, TwoModelRouter):
        router.threshold_ = promises[-1].value
    save_router(router, target)
    result: dict[str, Any] = {"router": router.name, "path": str(target), "refused": refused}
    result["promises"] = [promise.model_dump(mode="json") for promise in promises]
    _print(result, as_json, lambda: _show(router, target, promises, refused))


def _asked(
    max_drop: list[float] | None, max_large: list[float] | None, max_cost: list[float] | None
) -> list[tuple[PromiseKind, float]]:
    kinds: list[tuple[PromiseKind, list[float] | None]] = [
        ("max_drop", max_drop),
        ("max_large", max_large),
        ("max_cost", max_cost),
    ]
    asked = [(kind, limits) for kind, limits in kinds if limits]
    if len(asked) > 1:
        raise ParameterError("Promise one thing at a time: choose among --max-drop, --max-large and --max-cost.")
    return [(kind, limit) for kind, limits in asked for limit in limits]


def _promises(
    router: Router, data: RoutingData, asked: Sequence[tuple[PromiseKind, float]], *, strict: bool, **options: Any
) -> tuple[list[Promise], list[str]]:
    """What can be promised, and why the rest cannot; the first refusal is an error where it was asked for."""
    promises, refused = [], []
    for kind, limit in asked:
        try:
            promises.append(find_promise(router, data, kind, limit, **options))
        except ParameterError as error:
            if strict:
                raise
            refused.append(str(error))
    if not promises:
        raise ParameterError(refused[-1])
    return promises, refused


def _study(
    name: str, data: RoutingData, limits: Sequence[float], splits: int, confidence: float, seed: int
) -> list[StudyRow]:
    def make() -> Router:
        if not Path(name).is_dir():
            return make_router(name)
        saved = load_router(name)
        return make_router(saved.name, **saved.get_params())

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(escape(name), total=1.0)
        return study(
            make,
            data,
            limits,
            n_splits=splits,
            confidence=confidence,
            seed=seed,
            progress=lambda doing, share: bar.update(task, description=escape(doing), completed=share),
        )


def _print(result: Any, as_json: bool, show: Callable[[], None]) -> None:
    if as_json:
        typer.echo(orjson.dumps(result, option=orjson.OPT_INDENT_2).decode())
    else:
        show()


def _show(router: Router, path: Path, promises: Sequence[Promise], refused: Sequence[str]) -> None:
    console, first = Console(), promises[0]
    title = f"{router.name}, saved at {path}: {first.n_prompts:,} prompts, {first.confidence:.0%} confidence"
    headings = (f"{_WHAT[first.kind]} at most", first.setting, "measured", "bound", f"kept off {first.reference}")
    table = Table(*map(escape, headings), "without margin", "mean quality", "mean cost", title=escape(title))
    form = "{:.4g}" if first.kind == "max_cost" else "{:.2%}"
    for promise in promises:
        shown = [form.format(value) for value in (promise.limit, promise.measured, promise.bound)]
        table.add_row(
            shown[0],
            f"{promise.value:g}",
            *shown[1:],
            f"{promise.cost_advantage:.1%}",
            f"{promise.without_margin:.1%}",
            f"{promise.quality:.4f}",
            f"{promise.cost:.3g}",
        )
    console.print(table)
    for line in refused:
        console.print(f"Refused: {line}", markup=False, highlight=False, soft_wrap=True)


def _show_study(name: str, data: Path, rows: Sequence[StudyRow], splits: int, confidence: float) -> None:
    first = rows[0]
    table = Table(
        title=escape(
            f"{name} on {data.name}: {splits} random halves, {first.n_calibration:,} prompts to calibrate and "
            f"{first.n_unseen:,} unseen, {confidence:.0%} confidence"
        )
    )
    for heading in ("promised drop", "kept", "something off", "kept off", "kept, no margin", "kept off, no margin"):
        table.add_column(heading, justify="right")
    for row in rows:
        shares = (row.kept, row.useful, row.cost_advantage, row.kept_without, row.cost_advantage_without)
        table.add_row(f"{row.limit:.1%}", *(f"{share:.1%}" for share in shares))
    Console().print(table)
