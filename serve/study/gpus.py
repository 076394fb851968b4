"""The simulated setups: how eight GPUs are shared out among experts, found on the engines' own clock."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from deployments.experts.simulation.engine import Engine as SimulatedEngine
from deployments.experts.simulation.pool import Served, serve_users
from deployments.experts.simulation.profiles import GPUS, MODELS, profile
from deployments.experts.simulation.timing import Capacity, Timing
from routers import ParameterError
from serve.study.answers import FORESIGHT, Lengths, Spoken
from serve.study.setups import LARGE, SMALL, Engine, Setup, Source

__all__ = ["N_GPUS", "Foresight", "Planner", "Split", "foresight", "simulated_app", "simulated_setups", "splits"]

N_GPUS = 8
_GPU = "h100"
_LARGE_MODEL, _SMALL_MODEL = "llama-3.1-70b", "llama-3.1-8b"
# Tensor parallel sizes that hold the large model, beside all eight.
_LARGE_GPUS = (2, 4)
# vLLM's default on a GPU with 70 GiB of memory or more.
_MAX_SEQUENCES = 1024
_PLANNED_USERS = 1000
_PLANNED_S = 30.0


@dataclass(frozen=True, slots=True)
class Split:
    """One way to share out the GPUs, and what it serves."""

    engines: tuple[Engine, ...]
    requests_per_s: float


@dataclass(frozen=True, slots=True)
class Planner:
    """Predicts what users of a setup would see of the engines alone, on the engines' own clock.

    Attributes:
        spoken: the prompts, and whom the routes chose for them.
        lengths: of the answers.
        weight_bytes: bytes of a parameter, which decide on how few GPUs a model fits.
    """

    spoken: Spoken
    lengths: Lengths
    weight_bytes: float = 2.0

    def served(self, setup: Setup, users: int, until_s: float) -> Served:
        """Closed-loop users of a setup, without Pointsman's own time; arguments as of `serve_users`."""
        pool = {
            engine.expert: [SimulatedEngine(*self.model(engine)) for _ in range(engine.replicas)]
            for engine in setup.engines
        }
        return serve_users(pool, self.spoken.calls(setup, self.lengths), users=users, until_s=until_s)

    def requests_per_s(self, setup: Setup, users: int) -> float:
        """What a setup serves once the queue before each expert no longer grows."""
        served = self.served(setup, users, _PLANNED_S)
        return served.requests_per_s(_PLANNED_S / 2, _PLANNED_S)

    def model(self, engine: Engine) -> tuple[Timing, Capacity]:
        """The timing and the capacity of one replica."""
        model = MODELS[_LARGE_MODEL if engine.expert == LARGE else _SMALL_MODEL]
        timing, capacity = profile(model, GPUS[_GPU], tensor_parallel=engine.gpus, weight_bytes=self.weight_bytes)
        return timing, replace(capacity, max_sequences=_MAX_SEQUENCES)

    def best(self, setup: Setup, found: Sequence[tuple[Engine, ...]]) -> list[Split]:
        """Ways to share out the GPUs by what they serve to 1,000 users, the best one first."""
        tried = [Setup(setup.name, setup.kind, setup.model, engines) for engines in found]
        rates = [self.requests_per_s(one, _PLANNED_USERS) for one in tried]
        ranked = sorted(zip(rates, found, strict=True), key=lambda pair: -pair[0])
        return [Split(engines, rate) for rate, engines in ranked]


@dataclass(frozen=True, slots=True)
class Foresight:
    """What a router that knew both answers beforehand would make of all GPUs (`FORESIGHT`).

    Attributes:
        large: share of the questions that the large expert would answer.
        split: the best way to share out the GPUs.
        ratio: what it serves over what all-large does, both as planned.
    """

    large: float
    split: Split
    ratio: float


def foresight(planner: Planner, setups: Sequence[Setup]) -> Foresight | None:
    """The most that any router between the small and the large expert could reach; None without all-large."""
    base = [planner.requests_per_s(one, _PLANNED_USERS) for one in setups if one.kind == "all-large"]
    answered = list(planner.spoken.chosen.get(FORESIGHT, {}).values())
    if not base or not answered:  # other records may lack the answers of one of the two
        return None
    split = planner.best(Setup(FORESIGHT, "auto", FORESIGHT, ()), list(splits((SMALL, LARGE))))[0]
    return Foresight(answered.count(LARGE) / len(answered), split, split.requests_per_s / max(base))


def splits(experts: Sequence[str]) -> Iterator[tuple[Engine, ...]]:
    """Every way to give all eight GPUs to groups of the large expert and to replicas of the others, one GPU each.

    Args:
        experts: ids in the order in which they are asked; one of them is `large`.
    """
    others = [expert for expert in experts if expert != LARGE]
    for gpus in _LARGE_GPUS:
        for groups in range(1, N_GPUS // gpus + 1):
            for counts in _shared_out(N_GPUS - gpus * groups, len(others)):
                replicas = dict(zip(others, counts, strict=True))
                yield tuple(
                    Engine(LARGE, groups, gpus) if expert == LARGE else Engine(expert, replicas[expert], 1)
                    for expert in experts
                )


def simulated_setups(
    source: Source, planner: Planner, kinds: Sequence[str], told: Callable[[str], None]
) -> tuple[list[Setup], dict[str, list[Split]]]:
    """The setups on eight GPUs, and for each route what its ways to share them out would serve.

    Args:
        source: the experts and routes.
        planner: predicts what a way serves.
        kinds: which ones.
        told: of what is being tried.

    Raises:
        ParameterError: a route's experts do not fit on eight GPUs.
    """
    setups: list[Setup] = []
    tried: dict[str, list[Split]] = {}
    for kind in kinds:
        model = source.model(kind)
        if kind == "all-large":
            setups.append(Setup(kind, kind, model, (Engine(LARGE, 1, N_GPUS),)))
            grouped = [(Engine(LARGE, N_GPUS // gpus, gpus),) for gpus in _LARGE_GPUS]
            best = planner.best(setups[-1], grouped)[0].engines
            setups.append(Setup(f"{kind}, {best[0].replicas} groups", kind, model, best))
        elif kind == "all-small":
            setups.append(Setup(kind, kind, model, (Engine(SMALL, N_GPUS, 1),)))
        else:
            told(f"{kind}: sharing out {N_GPUS} GPUs")
            found = list(splits(source.experts(kind)))
            if not found:
                raise ParameterError(f"The experts of {kind!r} do not fit on {N_GPUS} GPUs: leave it out with --setup.")
            tried[kind] = planner.best(Setup(kind, kind, model, ()), found)
            setups.append(Setup(kind, kind, model, tried[kind][0].engines))
    return setups, tried


def simulated_app(
    engine: Engine, planner: Planner, *, recorded: Path, slowdown: float, stream_interval: int, max_tokens: int
) -> dict[str, Any]:
    """The application of a simulated expert whose every time is so many times as long as the GPUs' own.

    Raises:
        ParameterError: the model does not fit on its GPUs, or its cache does not hold one answer.
    """
    timing, capacity = planner.model(engine)
    if capacity.max_model_tokens < 2 * max_tokens:
        raise ParameterError(
            f"{engine.gpus} GPUs have no room for an answer of {max_tokens} tokens: lower --max-tokens."
        )
    slowed = {name: slowdown * seconds for name, seconds in asdict(timing).items()}
    return {
        "name": engine.expert,
        "route_prefix": f"/experts/{engine.expert}",
        "import_path": "serve.app:simulated",
        "args": {
            "recorded": {"file": str(recorded)},
            "timing": slowed,
            "capacity": asdict(capacity),
            "stream_interval": stream_interval,
        },
        "deployments": [{"name": "Expert", "num_replicas": engine.replicas}],
    }


def _shared_out(total: int, n: int) -> Iterator[tuple[int, ...]]:
    """Every way to give out so many to n, at least one to each."""
    for cuts in itertools.combinations(range(1, total), n - 1):
        edges = (0, *cuts, total)
        if total >= n:
            yield tuple(after - before for before, after in itertools.pairwise(edges))
