"""The routers' part of ``pointsman bench``: what training each one takes, and what a decision costs."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from rich.markup import escape
from rich.table import Table

from routers import ParameterError, RoutingData
from routers.methods.members import prompts_at
from serve.router_cases import Case
from serve.router_timing import BATCH, THREADS

__all__ = [
    "AIMS",
    "QUICK",
    "Aim",
    "Material",
    "Scale",
    "as_json",
    "material",
    "measure",
    "table",
]

_ROOT = Path(__file__).resolve().parents[1]
_DATA = _ROOT.parent / "shared" / "data"
_DEMO = _ROOT / "demo" / "data" / "experts.parquet"
_MMLU_PRO = Path("mmlu_pro", "mmlu_pro_scores.csv")
_PAIRS = (
    {"small": "Meta-Llama-3.1-8B-Instruct", "large": "Meta-Llama-3.1-70B-Instruct"},
    {"small": "letters", "large": "large"},
)
_OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


@dataclass(frozen=True, slots=True)
class Aim:
    """Decisions a second on one core that a router should reach; None: no aim.

    Attributes:
        single: one prompt at a time.
        batch: in batches.
    """

    single: float | None = None
    batch: float | None = None

    def missed(self, single_ms: float, batch_per_s: float) -> bool:
        """Whether these medians are not enough."""
        return 1000 / single_ms < (self.single or 0) or batch_per_s < (self.batch or 0)

    def __str__(self) -> str:
        single = "" if self.single is None else f"{self.single:,.0f}/s"
        batch = "" if self.batch is None else f"{self.batch:,.0f}/s together"
        return ", ".join(filter(None, (single, batch)))


_FAST = Aim(single=2000, batch=5000)
_NAMES_OF_FAST = ("cluster", "cluster-score", "hybrid-det", "hybrid-prob", "hybrid-trans", "poly-knn", "poly-mlp")
AIMS = {
    **dict.fromkeys(_NAMES_OF_FAST, _FAST),
    "routellm-sw": Aim(single=290),
    "routellm-mf, embedding kept": Aim(single=1550),
}
"""What rows of the table should reach: half a millisecond; for RouteLLM's 100 and 10 times the rates of its paper."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured.

    Attributes:
        train_prompts: most prompts that a router learns from.
        few_prompts: the same of routers that learn slowly: ensembles, and those that read with an encoder.
        questions: prompts that routers are asked about, and do not learn from.
        encoder_questions: the same of routers that read with an encoder.
        rounds: rounds of each measurement.
        seconds: what a round takes at least, of the processor's time.
        limit_s: time after which the training of a router, or asking it, is given up.
    """

    train_prompts: int = 100_000
    few_prompts: int = 1024
    questions: int = 1024
    encoder_questions: int = 128
    rounds: int = 5
    seconds: float = 0.25
    limit_s: float = 240.0


QUICK = Scale(train_prompts=1000, few_prompts=128, rounds=3, seconds=0.1)
"""For trying it: training takes seconds, and decisions are measured less exactly."""


@dataclass(frozen=True, slots=True)
class Material:
    """Data to measure with, written to a folder.

    Attributes:
        folder: where everything is written.
        about: what the data is, for people.
        pair: parameters of two-model routers.
        train_prompts: how many prompts there are to learn from.
        few_prompts: how many there are for routers with an encoder.
    """

    folder: Path
    about: str
    pair: dict[str, str]
    train_prompts: int
    few_prompts: int

    @property
    def train(self) -> Path:
        """Routing data to learn from."""
        return self.folder / "train.parquet"

    @property
    def few(self) -> Path:
        """Some of it."""
        return self.folder / "few.parquet"

    @property
    def questions(self) -> Path:
        """Texts to ask about, as a JSON list."""
        return self.folder / "questions.json"


def material(place: Path | None, scale: Scale, folder: Path) -> Material:
    """Read the largest data set that is there, and part it.

    Args:
        place: the folder that holds `mmlu_pro/`; None: `shared/data` beside the repository, or else the demo's data.
        scale: how many prompts to take.
        folder: where to write the parts.

    Raises:
        ParameterError: there is no MMLU-Pro in the folder.
        DataError: a file is not of its form.
    """
    data, about = _read(place)
    n_questions = min(scale.questions, len(data.texts) // 4)
    order = np.random.default_rng(0).permutation(len(data.texts))
    places = np.sort(order[n_questions:][: scale.train_prompts])
    few = np.sort(order[n_questions:][: scale.few_prompts])
    asked = [data.texts[i] for i in order[:n_questions]]
    characters = statistics.median(map(len, asked))
    made = Material(
        folder,
        f"{about}: {len(data.experts)} experts; {len(places):,} prompts to learn from, {n_questions:,} others to ask "
        f"about, of {characters:,.0f} characters (median)",
        _pair(data),
        len(places),
        len(few),
    )
    prompts_at(data, places).write(made.train)
    prompts_at(data, few).write(made.few)
    made.questions.write_bytes(orjson.dumps(asked))
    return made


def _read(place: Path | None) -> tuple[RoutingData, str]:
    """The data, and what it is."""
    if place is not None and not (place / _MMLU_PRO).is_file():
        raise ParameterError(f"{place} holds no {_MMLU_PRO}: give the folder that docs/data.md describes, or none.")
    found = place or _DATA
    if not (found / _MMLU_PRO).is_file():
        return RoutingData.read(_DEMO), f"The demo's data, as there is no {_MMLU_PRO} (--data names its folder)"
    from serve.importing import import_data

    return import_data("mmlu-pro", found).data, "MMLU-Pro"


def _pair(data: RoutingData) -> dict[str, str]:
    """The two experts of two-model routers: of one family and far apart, else the cheapest and the dearest."""
    for pair in _PAIRS:
        if set(pair.values()) <= set(data.experts):
            return pair
    ranked = np.argsort(np.nanmean(data.cost(), axis=0), kind="stable")
    return {"small": data.experts[ranked[0]], "large": data.experts[ranked[-1]]}


def measure(case: Case, using: Material, scale: Scale, progress: Callable[[float], None]) -> dict[str, Any]:
    """Train a router in one process and ask it in another.

    Args:
        case: the router.
        using: what to measure with.
        scale: how much to measure.
        progress: called with the share of the training that is done.

    Returns:
        What `router_timing` says of it, or `failed` with the reason.
    """
    if case.needs:
        return {"failed": case.needs}
    task = {
        "router": case.router,
        "params": case.params,
        "data": str(using.few if case.few else using.train),
        "artifact": str(using.folder / "routers" / case.name.replace(", ", "-").replace(" ", "-")),
        "prompts": str(using.questions),
        "n_prompts": scale.encoder_questions if case.encoder else scale.questions,
        "rounds": scale.rounds,
        "seconds": scale.seconds,
        "keep": case.keep,
    }
    said: dict[str, Any] = {"train_prompts": using.few_prompts if case.few else using.train_prompts}
    for what in ("train", "ask"):
        said |= _in_a_process(what, task, using.folder, scale.limit_s, progress)
        if "failed" in said:
            break
    return said


def _in_a_process(
    what: str, task: dict[str, Any], folder: Path, limit_s: float, progress: Callable[[float], None]
) -> dict[str, Any]:
    task_file, result, errors = (folder / name for name in ("task.json", "result.json", "errors.txt"))
    task_file.write_bytes(orjson.dumps(task))
    result.unlink(missing_ok=True)
    command = [sys.executable, "-m", "serve.router_timing", what, str(task_file), str(result)]
    environment = {**os.environ, **dict.fromkeys(THREADS, "1"), **_OFFLINE}
    with (
        errors.open("w") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment, cwd=_ROOT) as process,
        _ended(process, limit_s) as late,
    ):
        for line in process.stdout or ():
            progress(float(line))
    if late.is_set():
        return {"failed": f"{what}: not done within {limit_s:g} s"}
    if process.returncode:
        last = errors.read_text().strip().rpartition("\n")[2]
        return {"failed": f"{what}: {last or f'exit status {process.returncode}'}"}
    said: dict[str, Any] = orjson.loads(result.read_bytes())
    return said


@contextmanager
def _ended(process: subprocess.Popen[str], limit_s: float) -> Iterator[threading.Event]:
    """End the process after so long, or when this one stops waiting for it; the event is set in the first case."""
    late = threading.Event()

    def end() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(limit_s, end)
    timer.start()
    try:
        yield late
        process.wait()
    except BaseException:
        process.kill()
        raise
    finally:
        timer.cancel()


def as_json(measured: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What was measured by the rows of the table, with medians, aims, and whether these are reached."""
    rows: dict[str, dict[str, Any]] = {}
    for name, said in measured.items():
        kept = {key.removeprefix("kept_"): said[key] for key in said if key.startswith("kept_")}
        rows[name] = _judged(name, {key: value for key, value in said.items() if not key.startswith("kept_")})
        if kept:
            row = name.replace("MiniLM embedding", "embedding kept")
            rows[row] = _judged(row, kept)
    return rows


def _judged(row: str, said: dict[str, Any]) -> dict[str, Any]:
    aim = AIMS.get(row)
    if "failed" in said:
        return {**said, "aim": None if aim is None else str(aim), "aim_met": None}
    medians = {f"{name}_median": statistics.median(said[name]) for name in ("single_ms", "batch_per_s")}
    met = None if aim is None else not aim.missed(medians["single_ms_median"], medians["batch_per_s_median"])
    return {**said, **medians, "aim": None if aim is None else str(aim), "aim_met": met}


def table(rows: dict[str, dict[str, Any]]) -> Table:
    """What `as_json` gives, for people."""
    made = Table(title="Routers, each in a process of its own on one core: median of the rounds (lowest–highest)")
    made.add_column("router", no_wrap=True)
    for heading in _HEADINGS:
        made.add_column(heading, justify="right", no_wrap=True)
    made.add_column("at least")
    for name, said in rows.items():
        made.add_row(escape(name), *_cells(said))
    return made


def _cells(said: dict[str, Any]) -> list[str]:
    if "failed" in said:
        return [*[""] * len(_HEADINGS), escape(said["failed"])]
    own = {key: f"{said[key]:{form}}" if key in said else "" for key, form in _FORMS.items()}
    single = _spread(said["single_ms"], 1 if min(said["single_ms"]) >= 10 else 3)
    cells = [own["train_prompts"], own["train_s"], single, _spread(said["batch_per_s"], 0)]
    cells += [own[key] for key in ("load_s", "first_ms", "memory_mb", "artifact_mb")]
    met = {None: "", True: f"{said['aim']}: [green]ok[/]", False: f"{said['aim']}: [red]missed[/]"}
    return [*cells, met[said["aim_met"]]]


_HEADINGS = (
    "prompts",
    "training s",
    "one decision ms",
    f"decisions/s, {BATCH} together",
    "load s",
    "first ms",
    "memory MB",
    "saved MB",
)
_FORMS = {
    "train_prompts": ",d",
    "train_s": ".1f",
    "load_s": ".2f",
    "first_ms": ".1f",
    "memory_mb": ".0f",
    "artifact_mb": ".2f",
}


def _spread(values: Sequence[float], digits: int) -> str:
    """Median (lowest–highest)."""
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f}–{max(values):,.{digits}f})"
