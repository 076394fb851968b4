"""``pointsman evaluate``: how good routers and plans are on prompts that they have not learned from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from routers import (
    AnswerJudge,
    ParameterError,
    Router,
    RoutingData,
    TwoModelRouter,
    list_judges,
    list_routers,
    load_judge,
    load_router,
    make_judge,
    make_router,
)
from routers.answers import JUDGE_FILES, parse_arms, replay_arm
from routers.clustered import ClusteringRouter
from routers.evaluation import (
    Exam,
    Fold,
    Judgement,
    PlanRun,
    Predictions,
    by_domain,
    by_fold,
    by_split,
    check_unseen,
    judge,
    predict,
    predict_unseen,
    replay_trained,
    replay_unseen,
    rows_of,
    two_experts,
)
from serve.commands.arms import ArmOption, BlendOption, DrawsOption, RankerOption, data_with_arms, ranker_for
from serve.commands.evaluate_tables import show
from serve.reporting import Scene, write_report

__all__ = ["evaluate"]

_FOLDS = 5


@dataclass(frozen=True)
class _Spec:
    """One ROUTER of the command line, or plan: a trained one, or the name of one to train with its parameters."""

    text: str
    trained: Router | AnswerJudge | None
    name: str
    parameters: dict[str, Any]


def evaluate(
    routers_and_data: Annotated[
        list[str],
        typer.Argument(
            metavar="ROUTER... DATA",
            help="Names of routers or plans, with parameters as in poly-knn:k=50,seed=1, or directories of trained "
            "ones; then labelled data (Parquet), of plans with responses.",
        ),
    ],
    folds: Annotated[
        int | None, typer.Option(min=2, help="Train on all folds but one and judge on it, each in turn [default: 5].")
    ] = None,
    train_split: Annotated[
        str | None, typer.Option(help="With --test-split: the split to learn from [default: train].")
    ] = None,
    test_split: Annotated[str | None, typer.Option(help="Judge on this split only.")] = None,
    hold_out_domain: Annotated[
        bool, typer.Option("--hold-out-domain", help="Train on all domains but one and judge on it, each in turn.")
    ] = False,
    domain: Annotated[
        list[str] | None, typer.Option(help="With --hold-out-domain: only this domain; may be repeated.")
    ] = None,
    experts: Annotated[str | None, typer.Option(help="Experts to choose from, separated by commas; else all.")] = None,
    arm: ArmOption = None,
    blend: BlendOption = None,
    ranker: RankerOption = None,
    draws: DrawsOption = 10,
    small: Annotated[str | None, typer.Option(help="Expert where PGR is 0 [default: the cheapest].")] = None,
    large: Annotated[
        str | None, typer.Option(help="Expert where PGR is 1 [default: of two the other, of more the best].")
    ] = None,
    resamples: Annotated[int, typer.Option(min=2, help="Bootstrap resamples of the prompts.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of everything random.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write everything to this file.")] = None,
    report: Annotated[Path | None, typer.Option(help="Also write a page with tables and plots to this folder.")] = None,
) -> None:
    """Judge routers and plans with the field's metrics, beside what needs none: docs/evaluation.md has the figures."""
    if len(routers_and_data) < (1 if blend else 2):
        raise ParameterError("Name at least one router, and the data after it: `pointsman routers` lists the names.")
    specs = _specs(routers_and_data[:-1], seed)
    judge_of_arms = ranker_for([*(arm or []), *(blend or [])], ranker)
    with _progress() as bar:
        told = _report(bar, bar.add_task("arms", total=1.0, visible=bool(arm)), "arms")
        data = data_with_arms(routers_and_data[-1], arm, judge_of_arms, draws, experts, told)
        pair = two_experts(data, small, large)
        plan = _plan(data, folds, train_split, test_split, domain, hold_out=hold_out_domain)
        judged, predictions, runs, notes = _predictions(specs, data, plan, pair, bar)
        runs |= _blends(blend or [], judged, judge_of_arms, draws, bar)
        exam = Exam.of(judged, *pair)
        judgement = _measured(exam, predictions, runs, resamples, seed, bar)
    notes = [*_notes(judgement, plan, specs), *_plan_notes(judgement, runs), *notes]
    protocol = {**_protocol(plan, folds, test_split, hold_out=hold_out_domain), "resamples": resamples, "seed": seed}
    if json_file is not None:
        _write(json_file, {"data": routers_and_data[-1], **protocol, **asdict(judgement), "notes": notes})
    show(judgement, notes, protocol)
    if report is not None:
        title, clusters = f"Routers on {Path(routers_and_data[-1]).name}", _clusters(specs, judged)
        scene = Scene(exam, predictions, judgement, title, protocol["protocol"], notes, clusters, seed, runs)
        typer.echo(f"Report: {write_report(scene, report)}")


def _measured(
    exam: Exam, predictions: dict[str, Predictions], runs: dict[str, PlanRun], resamples: int, seed: int, bar: Progress
) -> Judgement:
    task = bar.add_task("resamples", total=1.0)
    return judge(
        exam,
        predictions,
        runs,
        n_resamples=resamples,
        seed=seed,
        progress=lambda doing, share: bar.update(task, completed=share),
    )


def _clusters(specs: list[_Spec], judged: RoutingData) -> dict[str, Any]:
    """The cluster of each judged prompt, of trained routers; folds would have clusters of their own."""
    trained = {spec.text: spec.trained for spec in specs if isinstance(spec.trained, ClusteringRouter)}
    return {name: router.predict_with_clusters(judged.inputs(router.side))[1] for name, router in trained.items()}


def _specs(texts: list[str], seed: int) -> list[_Spec]:
    names = {info.name for info in list_routers()}
    plans = {info.name for info in list_judges() if info.kind == "plan"}
    specs: dict[str, _Spec] = {}
    for text in texts:
        name, _, parameters = text.partition(":")
        if name in names:
            spec = _Spec(text, None, name, _parameters(name, parameters, seed))
            make_router(name, **spec.parameters)
        elif name in plans:
            spec = _Spec(text, None, name, _parameters(name, parameters, seed))
            make_judge(name, **spec.parameters)
        elif JUDGE_FILES.is_at(text):
            spec = _Spec(text.rstrip("/"), load_judge(text), name, {})
        elif Path(text).exists():
            spec = _Spec(text.rstrip("/"), load_router(text), name, {})
        else:
            known = ", ".join(sorted(names | plans))
            raise ParameterError(
                f"{text!r} is neither the name of a router or plan nor a directory of a trained one: use {known}."
            )
        if spec.text in specs:
            raise ParameterError(f"Router {spec.text!r} is named twice: once is enough.")
        specs[spec.text] = spec
    return list(specs.values())


def _parameters(router: str, text: str, seed: int) -> dict[str, Any]:
    """Parameters from key=value,key=value; values are JSON where they can be, else text."""
    known = {info.name: info.parameters for info in list_judges()}
    takes = (known | {info.name: info.parameters for info in list_routers()})[router]
    found: dict[str, Any] = {"seed": seed} if "seed" in takes else {}
    for part in _outer_parts(text):
        key, equals, value = part.partition("=")
        if not key or not equals:
            raise ParameterError(f"Give parameters as {router}:key=value,key=value; {part!r} is not of that form.")
        try:
            found[key.strip()] = orjson.loads(value)
        except orjson.JSONDecodeError:
            found[key.strip()] = value
    return found


def _outer_parts(text: str) -> list[str]:
    """Text split at commas that are not within brackets, braces or quotes."""
    parts, depth, quoted = [""], 0, False
    for before, sign in zip(f" {text}", text, strict=False):
        quoted ^= sign == '"' and before != "\\"
        if not quoted:
            depth += (sign in "[{") - (sign in "]}")
        if sign == "," and not depth and not quoted:
            parts.append("")
        else:
            parts[-1] += sign
    return [part for part in parts if part]


def _plan(
    data: RoutingData,
    folds: int | None,
    train_split: str | None,
    test_split: str | None,
    domains: list[str] | None,
    *,
    hold_out: bool,
) -> list[Fold]:
    ways = [folds is not None, train_split is not None or test_split is not None, hold_out]
    if sum(ways) > 1:
        raise ParameterError("Choose one of --folds, --test-split and --hold-out-domain.")
    if domains and not hold_out:
        raise ParameterError("--domain says which domains --hold-out-domain holds out: add that, or leave it out.")
    if train_split is not None and test_split is None:
        raise ParameterError("--train-split says what to learn from: also name what to judge on, with --test-split.")
    if test_split is not None:
        return by_split(data, train_split or "train", test_split)
    return by_domain(data, domains or None) if hold_out else by_fold(data, folds or _FOLDS)


def _predictions(
    specs: list[_Spec], data: RoutingData, plan: list[Fold], pair: tuple[str, str], bar: Progress
) -> tuple[RoutingData, dict[str, Predictions], dict[str, PlanRun], list[str]]:
    """The judged prompts, what each router says and each plan does with them, and what is known of trained ones."""
    judged = rows_of(data, _judged_places(plan))
    predictions: dict[str, Predictions] = {}
    runs: dict[str, PlanRun] = {}
    notes = []
    for spec in specs:
        task = bar.add_task(escape(spec.text), total=1.0)
        report = _report(bar, task, spec.text)
        if spec.trained is not None:
            notes.append(check_unseen(spec.trained, data, judged))
        if isinstance(spec.trained, AnswerJudge):
            runs[spec.text] = replay_trained(spec.trained, judged)
        elif spec.trained is not None:
            predictions[spec.text] = predict(spec.trained, judged)
        elif spec.name in {info.name for info in list_judges()}:
            runs[spec.text] = replay_unseen(_plan_maker(spec), data, plan, report)
        else:
            predictions[spec.text] = predict_unseen(_maker(spec, pair), data, plan, report)
        bar.update(task, description=escape(spec.text), completed=1.0)
    return judged, predictions, runs, [note for note in notes if note is not None]


def _blends(
    texts: list[str], judged: RoutingData, judge: AnswerJudge | None, draws: int, bar: Progress
) -> dict[str, PlanRun]:
    """What each blend would have done with the judged prompts."""
    runs = {}
    for name, asks in parse_arms(texts).items():
        task = bar.add_task(escape(name), total=1.0)
        if judge is not None:
            told = _report(bar, task, name)
            runs[name] = PlanRun(replay_arm(judged, name, asks, judge, draws=draws, progress=told))
    return runs


def _plan_maker(spec: _Spec) -> Callable[[], AnswerJudge]:
    return lambda: make_judge(spec.name, **spec.parameters)


def _judged_places(plan: list[Fold]) -> Any:
    import numpy as np

    return np.sort(np.concatenate([fold.test for fold in plan]))


def _maker(spec: _Spec, pair: tuple[str, str]) -> Callable[[], Router]:
    """How to make the router anew; one for two models gets the pair unless its parameters name one."""
    parameters = dict(spec.parameters)
    if isinstance(make_router(spec.name), TwoModelRouter) and not {"small", "large"} & parameters.keys():
        parameters |= {"small": pair[0], "large": pair[1]}
    return lambda: make_router(spec.name, **parameters)


def _report(bar: Progress, task: Any, name: str) -> Callable[[str, float], None]:
    return lambda doing, share: bar.update(task, description=escape(f"{name}, {doing}"), completed=share)


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True))


def _protocol(plan: list[Fold], folds: int | None, test_split: str | None, *, hold_out: bool) -> dict[str, Any]:
    if test_split is not None:
        return {"protocol": f"judged on the split {test_split!r}"}
    if hold_out:
        return {
            "protocol": f"{len(plan)} domains held out, each in turn" if len(plan) > 1 else f"held out: {plan[0].name}"
        }
    return {"protocol": f"{folds or _FOLDS} folds"}


def _notes(judgement: Judgement, plan: list[Fold], specs: list[_Spec]) -> list[str]:
    notes = []
    removed = sum(fold.n_removed for fold in plan)
    if removed and any(spec.trained is None for spec in specs):
        notes.append(f"{removed} prompts were not learned from, since a judged prompt has the same text.")
    quality = {name: of["quality"] for name, of in judgement.experts.items()}
    if quality[judgement.large] <= quality[judgement.small]:
        notes.append(
            f"{judgement.large} is no better than {judgement.small} on these prompts, so there is no gap to recover: "
            "APGR and CPT are not defined. Look at AIQ, at the drop, and at each router's own choice."
        )
    elif any(of["apgr"] is not None and of["ci95"]["apgr"] is None for of in judgement.routers.values()):
        notes.append("The gap between both experts may be 0 for all that these prompts tell: APGR has no interval.")
    if judgement.axis == "cost":
        notes.append(
            "With more than two experts PGR is measured over mean cost, from the small expert's (0 %) to the large "
            "one's (100 %); CPT and cost advantage are shares of that span."
        )
    return notes


def _plan_notes(judgement: Judgement, runs: dict[str, PlanRun]) -> list[str]:
    if not runs:
        return []
    attempts = ", ".join(f"{name} {run.own.attempts.mean():.2f}" for name, run in runs.items())
    scale = ""
    if judgement.axis == "share":
        scale = " Its curve is over that cost, from the small expert's (0 %) to the large one's (100 %), not calls."
    return [f"Of a plan the cost of every attempt counts (mean attempts: {attempts}).{scale}"]


def _write(path: Path, report: dict[str, Any]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2) + b"\n")
    except OSError as error:
        raise ParameterError(f"{path} cannot be written ({error.strerror or error}): name another file.") from None
