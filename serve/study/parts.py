"""The two parts of the study: real engines on this machine's processors, and eight simulated GPUs."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtests.scenario import Scenario
from routers import PointsmanError
from serve.study.answers import read_lengths, read_spoken
from serve.study.gpus import N_GPUS, Planner, Split, foresight, simulated_app, simulated_setups
from serve.study.measuring import Step, measured
from serve.study.quality import read_quality
from serve.study.setups import Setup, Source, engine_app, real_setups, server
from serve.study.verdicts import add_ratios, aims

__all__ = ["PARTS", "Settings", "run_part"]

_SETTLE_USERS_A_SECOND = 200.0
_REAL_MAX_TOKENS = 32
_LIMITS = {"request_timeout_s": 600.0}
_JUDGED_WITHIN_S = 5.0
# Beneath it the engines were kept waiting, unless so few requests were measured that it may be chance.
_LEAST_OF_PLANNED, _LEAST_REQUESTS = 0.9, 100
_KEPT_WAITING = (
    "the simulated engines alone would have served {:.1f} requests/s, so that the endpoint or this machine kept them "
    "waiting"
)
# How often every user has been answered before anything is measured, and again while it is.
_SETTLED_AFTER = 1.25
# That are measured where there are few users.
_FEWEST_ANSWERS = 8


@dataclass(frozen=True)
class Settings:
    """How a part is run.

    Attributes:
        config: the configuration with the experts and the studied routes.
        records: folder of the demo's `routes-….parquet`.
        data: folder of the public data, for the lengths of real answers.
        kinds: of the setups.
        users: numbers of users.
        seconds: least measured time of each of them.
        think_s: mean seconds between an answer and the next question.
        max_tokens: of simulated answers.
        weight_bytes: of a parameter on simulated GPUs.
        relayed_per_s: requests a second that this machine can relay beside the simulation.
        stream_interval: tokens of a simulated stream that are sent together.
        seed: of everything random.
        told: of what is being done.
    """

    config: Path
    records: Path
    data: Path
    kinds: Sequence[str]
    users: Sequence[int]
    seconds: float
    think_s: float
    max_tokens: int
    weight_bytes: float
    relayed_per_s: float
    stream_interval: int
    seed: int
    told: Callable[[str], None]

    def load(self, max_tokens: int, slowdown: float = 1.0) -> Scenario:
        """What all loads have in common; users think slower too where GPUs are slowed down."""
        return Scenario(
            mix="exam",
            max_tokens=max_tokens,
            think_s=slowdown * self.think_s,
            timeout_s=_LIMITS["request_timeout_s"],
            seed=self.seed,
        )

    def about(self) -> dict[str, Any]:
        """What a part's JSON says of how it was run."""
        return {"users": list(self.users), "seconds": self.seconds, "think_s": self.think_s, "seed": self.seed}


def run_part(name: str, settings: Settings) -> dict[str, Any]:
    """Measure every setup of a part, one after the other; one that does not start is left out.

    Returns:
        JSON values: `part`, `about`, `setups` (each with its `steps` and `quality`), `left_out` and `aims`.

    Raises:
        PointsmanError: the configuration or the records cannot be used.
    """
    source = Source.read(settings.config)
    about, setups, left_out = PARTS[name](source, settings)
    quality = read_quality(settings.records)
    for setup in setups:
        of = quality.get(setup["kind"])
        setup["quality"] = None if of is None else of.as_json()
    add_ratios(setups)
    found = [{"text": aim.text, "reached": aim.reached, "cause": aim.cause} for aim in aims(setups)]
    about = {**settings.about(), **about}
    return {"part": name, "about": about, "setups": setups, "left_out": left_out, "aims": found}


_Found = tuple[dict[str, Any], list[dict[str, Any]], list[str]]


def _real(source: Source, settings: Settings) -> _Found:
    """Engines of vLLM on the processors: each setup has both of them."""
    found: list[dict[str, Any]] = []
    left_out: list[str] = []
    steps = [Step(users, 1.0 + users / _SETTLE_USERS_A_SECOND, settings.seconds) for users in settings.users]
    for setup in (one for one in real_setups(source) if one.kind in settings.kinds):
        apps = [engine_app(source.engines[engine.expert], engine.replicas) for engine in setup.engines]
        with tempfile.TemporaryDirectory(prefix="pointsman-study-") as folder:
            stack = server(setup, source, apps, Path(folder), limits=_LIMITS)
            try:
                made = measured(setup, stack, steps, settings.load(_REAL_MAX_TOKENS), settings.told)
            except PointsmanError as error:
                left_out.append(f"{setup.name} is left out: {error}")
                settings.told(left_out[-1])
                continue
        found.append(_described(setup, made))
    return {"max_tokens": _REAL_MAX_TOKENS}, found, left_out


def _simulated(source: Source, settings: Settings) -> _Found:
    """Eight GPUs on their data sheets, behind the real Routers, with the demo's real decisions."""
    spoken = read_spoken(settings.records)
    lengths = read_lengths(settings.data, settings.max_tokens)
    planner = Planner(spoken, lengths, settings.weight_bytes)
    setups, tried = simulated_setups(source, planner, settings.kinds, settings.told)
    plans = {setup.name: _plan(planner, setup, settings) for setup in setups}
    slowdowns = _slowdowns(plans, settings)
    found: list[dict[str, Any]] = []
    left_out: list[str] = []
    for setup in setups:
        made: list[dict[str, Any]] = []
        for slowdown in sorted(set(slowdowns.values())):
            planned = [one for one in plans[setup.name] if slowdowns[one.users] == slowdown]
            try:
                made += _slowed(setup, source, planner, planned, slowdown, settings)
            except PointsmanError as error:
                left_out.append(f"{setup.name} is left out at a slowdown of {slowdown:g}: {error}")
                settings.told(left_out[-1])
        if made:
            found.append(_described(setup, made))
    about = {
        "gpus": N_GPUS,
        "weight_bytes": settings.weight_bytes,
        "max_tokens": settings.max_tokens,
        "stream_interval": settings.stream_interval,
        "relayed_per_s": settings.relayed_per_s,
        "slowdown": {str(users): slowdown for users, slowdown in slowdowns.items()},
        "answers": lengths.said,
        "splits": {kind: [_split(one) for one in of] for kind, of in tried.items()},
        "foresight": _foresight(planner, setups) if "auto" in settings.kinds else None,
    }
    return about, found, left_out


@dataclass(frozen=True, slots=True)
class _Planned:
    """What a setup should serve on the engines' own clock."""

    users: int
    requests_per_s: float

    def step(self, slowdown: float, seconds: float) -> Step:
        """Long enough for every user to be answered, before anything is measured and again while it is."""
        answered_s = slowdown * _SETTLED_AFTER * self.users / self.requests_per_s
        # Half of the users are there and ask while the other half comes.
        settle_s = max(1.0, answered_s - Step(self.users, 0.0, 0.0).coming_s / 2)
        return Step(self.users, settle_s, max(seconds, answered_s * max(1.0, _FEWEST_ANSWERS / self.users)))


def _plan(planner: Planner, setup: Setup, settings: Settings) -> list[_Planned]:
    settings.told(f"{setup.name}: {setup.said}")
    return [_Planned(users, planner.requests_per_s(setup, users)) for users in settings.users]


def _slowdowns(plans: dict[str, list[_Planned]], settings: Settings) -> dict[int, float]:
    """By the number of users how much slower GPUs are simulated than they are, for all setups alike: 1, or one more.

    The least with which this machine can relay what the fastest setup would serve.
    """
    most = {users: max(one.requests_per_s for of in plans.values() for one in of if one.users == users)
            for users in settings.users}  # fmt: skip
    slowest = float(max(1, math.ceil(max(most.values()) / settings.relayed_per_s)))
    return {users: 1.0 if rate <= settings.relayed_per_s else slowest for users, rate in most.items()}


def _slowed(
    setup: Setup, source: Source, planner: Planner, planned: Sequence[_Planned], slowdown: float, settings: Settings
) -> list[dict[str, Any]]:
    """The figures of the steps that are measured with one slowdown."""
    steps = [one.step(slowdown, settings.seconds) for one in planned]
    with tempfile.TemporaryDirectory(prefix="pointsman-study-") as name:
        folder = Path(name)
        apps = []
        for engine in setup.engines:
            recorded = folder / f"{engine.expert}.jsonl"
            planner.spoken.write(engine.expert, planner.lengths, recorded)
            apps.append(
                simulated_app(
                    engine,
                    planner,
                    recorded=recorded,
                    slowdown=slowdown,
                    stream_interval=settings.stream_interval,
                    max_tokens=settings.max_tokens,
                )
            )
        limits = {**_LIMITS, "decision_timeout_s": slowdown * _JUDGED_WITHIN_S}
        stack = server(setup, source, apps, folder, limits=limits)
        load = settings.load(settings.max_tokens, slowdown)
        found = measured(setup, stack, steps, load, settings.told, slowdown=slowdown)
    for figures in found:
        _add_planned(figures, setup, planner, slowdown)
        enough = figures["requests"] >= _LEAST_REQUESTS and not settings.think_s
        if enough and figures["of_planned"] < _LEAST_OF_PLANNED:
            figures["limited_by"].append(_KEPT_WAITING.format(figures["planned_per_s"]))
    return found


def _add_planned(figures: dict[str, Any], setup: Setup, planner: Planner, slowdown: float) -> None:
    """Put what the engines alone would have served, were nobody thinking, in the same time beside what was measured."""
    users = figures["users"]
    # In the plan all users come at once.
    early_s = Step(users, 0.0, 0.0).coming_s / 2 / slowdown
    from_s, until_s = figures["from_s"] - early_s, figures["until_s"] - early_s
    planned = planner.served(setup, users, until_s).requests_per_s(from_s, until_s)
    figures["slowdown"] = slowdown
    figures["planned_per_s"] = planned
    figures["of_planned"] = figures["requests_per_s"] / planned
    figures["tokens_per_s_gpu"] = figures["tokens_per_s"] / N_GPUS


def _described(setup: Setup, steps: list[dict[str, Any]]) -> dict[str, Any]:
    return {"name": setup.name, "kind": setup.kind, "engines": setup.said, "gpus": setup.gpus, "steps": steps}


def _split(split: Split) -> dict[str, Any]:
    return {"engines": Setup("", "", "", split.engines).said, "requests_per_s": split.requests_per_s}


def _foresight(planner: Planner, setups: Sequence[Setup]) -> dict[str, Any] | None:
    found = foresight(planner, setups)
    return None if found is None else {**_split(found.split), "large": found.large, "ratio": found.ratio}


PARTS: dict[str, Callable[[Source, Settings], _Found]] = {"real": _real, "simulated": _simulated}
"""By name."""
