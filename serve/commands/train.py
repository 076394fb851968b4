"""``pointsman train``: a router, a plan or a judge of answers from routing data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Protocol, runtime_checkable

import orjson
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from routers import (
    AnswerJudge,
    ParameterError,
    Router,
    RoutingData,
    TwoModelRouter,
    evaluate,
    list_judges,
    load_router,
    make_judge,
    make_router,
    save_router,
)
from routers.answers import JUDGE_FILES
from routers.artifact import check_place
from routers.calibration import calibrate
from routers.calibration.bounds import required_deviate
from routers.promises import add_promise
from serve.commands.arms import ArmOption, DrawsOption, RankerOption, data_with_arms, ranker_for
from serve.commands.train_judge import learn_judge, show_judge

__all__ = ["train"]


@runtime_checkable
class _Extensible(Protocol):
    """A router that can take in an expert which its training data lacked."""

    def add_expert(self, data: RoutingData, expert: str) -> Any: ...


def train(
    name_and_data: Annotated[
        list[str],
        typer.Argument(
            metavar="[NAME] DATA",
            help="Which router, plan or judge (see `pointsman routers`; not needed with --adapt-from), and routing "
            "data (Parquet), as `pointsman label` writes it.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Directory for what is trained; one of its kind there is replaced.")],
    param: Annotated[
        list[str] | None,
        typer.Option(help="A parameter as key=value, the value as JSON or text; may be repeated."),
    ] = None,
    experts: Annotated[str | None, typer.Option(help="Experts to learn, separated by commas; else all.")] = None,
    arm: ArmOption = None,
    ranker: RankerOption = None,
    draws: DrawsOption = 10,
    adapt_from: Annotated[
        Path | None, typer.Option(help="A trained router to go on from, instead of starting anew.")
    ] = None,
    add_expert: Annotated[
        list[str] | None,
        typer.Option(help="Expert of the data that the --adapt-from router takes in, the others staying as they are."),
    ] = None,
    train_split: Annotated[str, typer.Option(help="Split to learn from.")] = "train",
    calibration_split: Annotated[str, typer.Option(help="Split for the threshold and to report on.")] = "calibration",
    max_drop: Annotated[float, typer.Option(min=0, max=1, help="Relative loss that the threshold may cost.")] = 0.01,
    confidence: Annotated[float, typer.Option(help="Confidence, from 0.5 on, that it does not cost more.")] = 0.95,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of everything random.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the training summary as JSON.")] = False,
) -> None:
    """Train a router and choose its threshold, or a plan or judge of answers, and save it."""
    required_deviate(confidence, 1)
    name, data = _name_and_data(name_and_data, adapt_from)
    judge_of_arms, splits = ranker_for(arm or [], ranker), (train_split, calibration_split)
    parameters = _parameters(param or [], seed)
    if name in {info.name for info in list_judges()}:
        if adapt_from is not None or add_expert:
            raise ParameterError(f"A {name!r} is always trained anew: leave --adapt-from and --add-expert out.")
        JUDGE_FILES.check_place(out)
        make_judge(name, **parameters)
        with _progress() as bar:
            report = _reporter(bar)
            rows = data_with_arms(data, arm, judge_of_arms, draws, experts, report)
            training, calibration = map(rows.subset, splits)
            judge = learn_judge(name, parameters, training, calibration, out, report)
        _say(judge, out, lambda: show_judge(judge, out), as_json=as_json)
        return
    check_place(out)
    router = _start(name, parameters, adapt_from, experts)
    with _progress() as bar:
        report = _reporter(bar)
        rows = data_with_arms(data, arm, judge_of_arms, draws, experts, report)
        training, calibration = map(rows.subset, splits)
        _learn(router, training, report, adapt=adapt_from is not None, new_experts=add_expert or [])
        report("calibration", 1.0)
        _calibrate(router, calibration, max_drop, confidence)
    save_router(router, out)
    _say(router, out, lambda: _show(router, out), as_json=as_json)


def _reporter(bar: Progress) -> Callable[[str, float], None]:
    task = bar.add_task("training", total=1.0)
    return lambda doing, share: bar.update(task, description=escape(doing), completed=share)


def _say(trained: Router | AnswerJudge, out: Path, show: Callable[[], None], *, as_json: bool) -> None:
    """Print what was trained, as JSON or for people."""
    if not as_json:
        show()
        return
    kind = trained.kind if isinstance(trained, AnswerJudge) else "router"
    summary = {kind: trained.name, "path": str(out), **trained.summary_}
    typer.echo(orjson.dumps(summary, option=orjson.OPT_INDENT_2).decode())


def _name_and_data(given: list[str], adapt_from: Path | None) -> tuple[str, Path]:
    """The router's name, empty where it is not given, and where the data is."""
    if len(given) > 2:
        raise ParameterError(f"Give a router's name and one file of routing data, not {len(given)} arguments.")
    if len(given) == 1 and adapt_from is None:
        raise ParameterError("Name the router to train before the data: `pointsman routers` lists them.")
    return (given[0] if len(given) == 2 else ""), Path(given[-1])


def _start(name: str, parameters: dict[str, Any], adapt_from: Path | None, experts: str | None) -> Router:
    """An untrained router, or the trained one to go on from."""
    if adapt_from is None:
        return make_router(name, **parameters)
    if parameters or experts is not None:
        raise ParameterError(
            "With --adapt-from parameters and experts stay as they are: leave --param, --seed and --experts out."
        )
    router = load_router(adapt_from)
    if name not in ("", router.name):
        raise ParameterError(f"{adapt_from} holds a {router.name!r}, not a {name!r}: leave the name out.")
    return router


def _learn(
    router: Router, data: RoutingData, report: Callable[[str, float], None], *, adapt: bool, new_experts: list[str]
) -> None:
    """Train from nothing, go on from what is known, or take in experts."""
    if new_experts and not adapt:
        raise ParameterError("--add-expert needs a trained router to add to: give it with --adapt-from.")
    if not adapt:
        router.fit(data, report)
    elif not new_experts:
        router.adapt(data, report)
    elif not isinstance(router, _Extensible):
        raise ParameterError(f"A {router.name!r} cannot take in new experts: train it anew, or use 'cluster-score'.")
    else:
        for number, expert in enumerate(new_experts):
            report(f"adding {expert}", number / len(new_experts))
            router.add_expert(data, expert)


def _progress() -> Progress:
    share = TextColumn("{task.percentage:>3.0f} %")
    return Progress(
        TextColumn("{task.description}"), BarColumn(), share, TimeElapsedColumn(), console=Console(stderr=True)
    )


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
    """Let a two-model router promise the drop, with the threshold for it, and note in its summary how it does.

    Where nothing can be promised all goes to the large expert: the training is not to be lost over it.
    """
    noted: dict[str, Any] = {}
    if isinstance(router, TwoModelRouter):
        noted = {"max_drop": max_drop, "confidence": confidence, "threshold": 0.0}
        try:
            promise = calibrate(router, data, "max_drop", max_drop, confidence=confidence)
        except ParameterError as refusal:
            noted["refused"] = str(refusal)
        else:
            noted |= {"threshold": promise.value, "quality_drop_bound": promise.bound}
            add_promise(router, promise)
        router.threshold_ = noted["threshold"]
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
    console = Console()
    console.print(table)
    if "refused" in noted:
        told = f"Everything goes to {noted['reference']}. {noted['refused']}"
        console.print(told, markup=False, highlight=False, soft_wrap=True)
