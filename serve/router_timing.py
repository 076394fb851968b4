"""What ``pointsman bench`` runs in a process of its own for each router: training it, or asking the trained one.

A process is pinned to one core, and the environment it is started with keeps the libraries to one thread. Times are
those of the processor, so that whatever else runs on the machine disturbs them little. The process that asks has loaded
nothing but what a server loads, so that its memory is a server's.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import orjson
from numpy.typing import NDArray

from routers import Decision, Policy, Router, RoutingData, check_policy, choose, load_router, make_router, save_router
from routers.featured import FeatureRouter
from routers.features import Features, FloatArray, Tensors

__all__ = ["BATCH", "THREADS", "KeptFeatures", "ask", "memory_mb", "train"]

BATCH = 64
"""Prompts decided on together."""

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "RAYON_NUM_THREADS")
"""Environment variables that say how many threads the libraries start."""

_MB = 1e6


class KeptFeatures(Features):
    """Features of known prompts, looked up instead of made: what a decision costs once an embedding is there.

    Args:
        features: what makes the rows, trained.
    """

    kind: ClassVar[str] = "kept"

    def __init__(self, features: Features) -> None:
        self.features = features

    @property
    def n_features_(self) -> int:
        """Columns of the rows."""
        return self.features.n_features_

    def fit(self, texts: Sequence[str], y: Any = None) -> Self:
        """Make the rows of the texts, (n_texts,), the only ones that can be asked for; y is ignored."""
        self._rows: dict[str, FloatArray] = dict(zip(texts, np.asarray(self.features.transform(texts)), strict=True))
        return self

    def transform(self, texts: Sequence[str]) -> FloatArray:
        """Rows of known texts, (n_texts, n_features_) float32."""
        return np.stack([self._rows[text] for text in texts])

    def tensors(self) -> Tensors:
        """The state of what made the rows."""
        return self.features.tensors()

    def restore(self, tensors: Mapping[str, NDArray[Any]]) -> Self:
        """Give what made the rows its state back."""
        self.features.restore(tensors)
        return self


def train(task: Mapping[str, Any], progress: Callable[[str, float], None] | None = None) -> dict[str, float]:
    """Train a router and save it.

    Args:
        task: `router` and `params`, the Parquet file `data`, and `artifact`, where to save it.
        progress: as `Router.fit` takes it.

    Returns:
        `train_s`, the time that `fit` takes, and `artifact_mb`, the size of what was saved.
    """
    data = RoutingData.read(task["data"])
    router = make_router(task["router"], **task["params"])
    started = time.process_time()
    router.fit(data, progress)
    took_s = time.process_time() - started
    save_router(router, task["artifact"])
    size = sum(file.stat().st_size for file in Path(task["artifact"]).iterdir())
    return {"train_s": took_s, "artifact_mb": size / _MB}


def ask(task: Mapping[str, Any]) -> dict[str, Any]:
    """Load a trained router and measure its decisions: of a prediction, and the choice by a policy without settings.

    Args:
        task: `artifact`, the JSON file `prompts` and how many of them to ask about, `n_prompts`; `rounds`, and the
            `seconds` that each of them takes at least; `keep`, whether to measure also what a decision takes when the
            features are there.

    Returns:
        `load_s`, `first_ms`, the first decision after it, `memory_mb`, what both add to a Python that has imported
        `routers`, and of each round `single_ms` and `batch_per_s`; with `keep` also `kept_single_ms` and
        `kept_batch_per_s`.
    """
    prompts = orjson.loads(Path(task["prompts"]).read_bytes())[: task["n_prompts"]]
    policy = Policy()
    before_mb = memory_mb()
    started = time.process_time()
    router = load_router(task["artifact"])
    check_policy(router, policy)
    loaded = time.process_time()
    _decide(router, prompts[:1], policy)
    first = time.process_time()
    said: dict[str, Any] = {
        "load_s": loaded - started,
        "first_ms": 1000 * (first - loaded),
        "memory_mb": memory_mb() - before_mb,
        **_rounds(router, prompts, policy, task),
    }
    if task["keep"] and isinstance(router, FeatureRouter):
        router.features_ = KeptFeatures(router.features_).fit(prompts)
        kept = _rounds(router, prompts, policy, task)
        said |= {f"kept_{name}": values for name, values in kept.items()}
    return said


def memory_mb() -> float:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / _MB


def _decide(router: Router, prompts: Sequence[str], policy: Policy) -> list[Decision]:
    prediction = router.predict(prompts)
    return [choose(router, prediction, row, policy) for row in range(len(prompts))]


def _rounds(router: Router, prompts: Sequence[str], policy: Policy, task: Mapping[str, Any]) -> dict[str, list[float]]:
    """Both kinds of rounds in turn, so that a drift of the machine hits both; a first round of each is not counted."""
    singles: cycle[Sequence[str]] = cycle([[prompt] for prompt in prompts])
    batches: cycle[Sequence[str]] = cycle(
        [prompts[i : i + BATCH] for i in range(0, len(prompts) - BATCH + 1, BATCH)] or [prompts]
    )
    single_ms, batch_per_s = [], []
    for _ in range(task["rounds"] + 1):
        single_ms.append(1000 / _per_second(router, singles, policy, task["seconds"]))
        batch_per_s.append(_per_second(router, batches, policy, task["seconds"]))
    return {"single_ms": single_ms[1:], "batch_per_s": batch_per_s[1:]}


def _per_second(router: Router, asked: cycle[Sequence[str]], policy: Policy, seconds: float) -> float:
    """Decisions a second over at least so many seconds, and at least one step."""
    decided, now = 0, time.process_time()
    started, end = now, now + seconds
    while now < end or not decided:
        decided += len(_decide(router, next(asked), policy))
        now = time.process_time()
    return decided / (now - started)


def _tell(doing: str, share: float) -> None:
    print(share, flush=True)  # noqa: T201 - for the process that started this one


def _main(what: str, task_file: str, result_file: str) -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    task = orjson.loads(Path(task_file).read_bytes())
    result = train(task, _tell) if what == "train" else ask(task)
    Path(result_file).write_bytes(orjson.dumps(result))


if __name__ == "__main__":
    _main(*sys.argv[1:])
