"""What every study shares: data from the folder, judged routers, tables, and the section that comes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routers import RoutingData
from routers.evaluation import Exam, Fold, Judgement, Predictions, by_fold, judge, predict_unseen, rows_of, two_experts
from serve.importing import Choice, import_data
from serve.reporting import Scene
from serve.reporting.canvas import png
from serve.results.line_up import Entry

__all__ = ["FOLDS", "Aim", "Section", "Study", "beside_rows", "curve_row", "judged_part", "with_interval"]

FOLDS = 5
_LARGE_SET = 5000
Told = Callable[[str, float], None]


@dataclass(frozen=True)
class Aim:
    """Something that was aimed at, in words, and whether it was reached; the cause is told where it was not."""

    text: str
    reached: bool
    cause: str

    def __str__(self) -> str:
        """A line of Markdown."""
        return f"- Reached: {self.text}." if self.reached else f"- **Missed**: {self.text}. {self.cause}"


@dataclass
class Section:
    """What a study found: Markdown, aims, and pictures by file name."""

    text: list[str] = field(default_factory=list)
    aims: list[Aim] = field(default_factory=list)
    pictures: dict[str, bytes] = field(default_factory=dict)

    def say(self, *paragraphs: str) -> None:
        """Add paragraphs, or tables."""
        self.text += paragraphs

    def show(self, name: str, alt: str, figure: Any) -> None:
        """Add a picture; nothing where there is none."""
        if figure is not None:
            self.pictures[f"{name}.png"] = png(figure)
            self.text.append(f"![{alt}](results/{name}.png)")


@dataclass
class Study:
    """The settings of a run.

    Attributes:
        folder: that holds the public sets.
        seed: of everything random.
        resamples: of the bootstrap.
        judged_folds: how many of the five folds of a set with over 5,000 prompts are judged.
        told: of what is being done, and the share of the study that is done.
    """

    folder: Path
    seed: int = 0
    resamples: int = 500
    judged_folds: int = FOLDS
    told: Told = lambda doing, share: None

    def load(self, source: str, *drop: str, experts: Sequence[str] | None = None) -> RoutingData:
        """A public set: these experts on the prompts that all of them answered, or its complete experts."""
        if experts is None:
            return import_data(source, self.folder, Choice(drop=drop)).data
        data = import_data(source, self.folder, Choice(tuple(experts), incomplete=True, drop=drop)).data
        return rows_of(data, np.flatnonzero(~np.isnan(data.quality()).any(axis=1)))

    @property
    def protocol(self) -> str:
        """How many folds are judged, in words."""
        if self.judged_folds >= FOLDS:
            return f"{FOLDS} folds"
        return f"{FOLDS} folds, of sets with over {_LARGE_SET:,} prompts {self.judged_folds} of them judged"

    def folds(self, data: RoutingData) -> list[Fold]:
        """The folds that are judged, each by routers that learned from the other four."""
        folds = by_fold(data, FOLDS)
        return folds[: self.judged_folds] if len(data.texts) > _LARGE_SET else folds

    def judged(
        self,
        data: RoutingData,
        folds: Sequence[Fold],
        entries: Sequence[Entry],
        *,
        pair: tuple[str, str] | None = None,
        told: Told | None = None,
    ) -> Scene:
        """Routers trained for each fold and judged on its prompts; those of the entries that fit the data."""
        two = pair or two_experts(data)
        told = told or self.told
        predictions: dict[str, Predictions] = {}
        entries = [entry for entry in entries if entry.fits(data)]
        for place, entry in enumerate(entries):
            predictions[entry.label] = predict_unseen(
                lambda entry=entry: entry.make(two, self.seed),  # type: ignore[misc]
                data,
                folds,
                _part_of(told, entry.label, place, len(entries)),
            )
        places = np.sort(np.concatenate([fold.test for fold in folds]))
        return self.scene(rows_of(data, places), predictions, two)

    def within(self, place: int, n: int) -> Told:
        """Where a part of a study, one of n, tells of its progress."""
        return lambda doing, share: self.told(doing, (place + share) / n)

    def quick(self, data: RoutingData, predictions: Mapping[str, Predictions], pair: tuple[str, str]) -> Scene:
        """The same as `scene` where nobody asks for intervals."""
        return replace(self, resamples=2).scene(data, predictions, pair)

    def scene(self, data: RoutingData, predictions: Mapping[str, Predictions], pair: tuple[str, str]) -> Scene:
        """Metrics of predictions for the prompts of the data."""
        exam = Exam.of(data, *pair)
        found = judge(exam, predictions, n_resamples=self.resamples, seed=self.seed)
        return Scene(exam, predictions, found, seed=self.seed)


def judged_part(study: Study, scene: Scene, kept: NDArray[np.bool_]) -> Scene:
    """The same predictions, judged on some of the prompts, (n_prompts,) bool."""
    predictions = {
        name: replace(
            of,
            quality=of.quality[kept],
            chosen=of.chosen[kept],
            score=None if of.score is None else of.score[kept],
            part=None if of.part is None else of.part[kept],
        )
        for name, of in scene.predictions.items()
    }
    found = scene.judgement
    return study.scene(rows_of(scene.exam.data, np.flatnonzero(kept)), predictions, (found.small, found.large))


def with_interval(value: float | None, limits: Any, *, percent: bool = False) -> str:
    """A figure with its 95 % interval; a dash where it is not defined."""
    scale, digits = (100, 1) if percent else (1, 3)
    if value is None:
        return "–"
    inside = "" if limits is None else f" [{scale * limits[0]:.{digits}f}, {scale * limits[1]:.{digits}f}]"
    return f"{scale * value:.{digits}f}{inside}"


def curve_row(name: str, of: Mapping[str, Any]) -> list[str]:
    """Name, CPT(50 %), CPT(80 %) in percent of calls, APGR with its interval."""
    cpt = ["–" if of[key] is None else f"{100 * of[key]:.1f}" for key in ("cpt50", "cpt80")]
    return [name, *cpt, with_interval(of["apgr"], of["ci95"]["apgr"])]


def beside_rows(found: Judgement, *names: str) -> list[list[str]]:
    """The curves of baselines, those that there are."""
    return [curve_row(f"*{name}*", found.baselines[name]) for name in names if name in found.baselines]


def _part_of(told: Told, label: str, place: int, n: int) -> Told:
    return lambda doing, share: told(f"{label}, {doing}", (place + share) / n)
