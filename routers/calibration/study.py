"""Whether promises are kept: calibrate on one part of labelled prompts, look at the other, many times over."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from routers.base import Progress, Router, check_complete
from routers.calibration.bounds import required_deviate
from routers.calibration.choosing import certified, measure, pick, within_sample
from routers.calibration.claims import Claim, Labels
from routers.calibration.settings import Scored
from routers.errors import DataError, ParameterError

if TYPE_CHECKING:
    from routers.data import RoutingData
    from routers.evaluation import Predictions

__all__ = ["StudyRow", "study", "study_splits"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_SLACK = 1e-12


@dataclass(frozen=True)
class StudyRow:
    """What became of one promised drop over all splits.

    Attributes:
        limit: the promised quality drop.
        n_calibration: prompts to calibrate on, in the first split.
        n_unseen: prompts to look at, in the first split.
        kept: share of splits in which the unseen part kept the promise.
        useful: share of splits in which anything could be kept off the reference.
        cost_advantage: mean share of unseen prompts kept off the reference.
        kept_without: as `kept`, had the setting been chosen without a margin.
        cost_advantage_without: as `cost_advantage`, without a margin.
    """

    limit: float
    n_calibration: int
    n_unseen: int
    kept: float
    useful: float
    cost_advantage: float
    kept_without: float
    cost_advantage_without: float


def study(
    make: Callable[[], Router],
    data: RoutingData,
    limits: Sequence[float],
    *,
    n_folds: int = 5,
    n_splits: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[StudyRow]:
    """Train once for each fold, then calibrate and look `n_splits` times with the scores of prompts not learned from.

    Args:
        make: an untrained router, a new one each time.
        data: labelled prompts.
        limits: quality drops to promise.
        n_folds: folds of the training.
        n_splits: random halves, equal texts on one side.
        confidence: of each promise.
        seed: of the splits.
        progress: told of trainings and splits.

    Raises:
        ParameterError: the router's parameters, the limits or the number of splits are out of range.
        DataError: an answer is missing, or there are too few prompts.
    """
    from routers.evaluation import by_fold, predict_unseen

    check_complete(data)
    predicted = predict_unseen(make, data, by_fold(data, n_folds), progress)
    scored, labels = _known(data, predicted)
    return study_splits(scored, labels, limits, n_splits=n_splits, confidence=confidence, seed=seed, progress=progress)


def study_splits(
    scored: Scored,
    labels: Labels,
    limits: Sequence[float],
    *,
    n_splits: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[StudyRow]:
    """The same from what a router has said already; see `study`."""
    if n_splits < 1 or not limits or not all(0 <= limit <= 1 for limit in limits):
        raise ParameterError("A study needs 1 split or more, and quality drops from 0 to 1 to promise.")
    found: list[FloatArray] = []
    sizes = (0, 0)
    for number, (ours, unseen) in enumerate(_halves(labels.text, n_splits, seed)):
        sizes = sizes if number else (len(ours), len(unseen))
        found.append(_split(scored, labels, ours, unseen, limits, confidence))
        if progress is not None:
            progress("splits", (number + 1) / n_splits)
    means = np.mean(found, axis=0)
    return [StudyRow(limit, *sizes, *map(float, row)) for limit, row in zip(limits, means, strict=True)]


def _known(data: RoutingData, predicted: Predictions) -> tuple[Scored, Labels]:
    """What the router says and what is true, for its experts; the reference is the large one, or the best of more."""
    quality, cost = data.quality(), data.cost()
    if predicted.pair is not None:
        columns, reference = predicted.pair, 1
    else:
        columns = tuple(np.flatnonzero(np.isfinite(predicted.quality).all(axis=0)).tolist())
        reference = int(quality[:, columns].mean(axis=0).argmax())
    text = np.unique(np.array(data.texts, dtype=object), return_inverse=True)[1]
    chosen = list(columns)
    dearest = reference if predicted.pair is not None else int(cost[:, chosen].mean(axis=0).argmax())
    labels = Labels(quality[:, chosen], cost[:, chosen], text, reference, dearest)
    return Scored.unseen(predicted, columns, reference), labels


def _halves(text: IntArray, n_splits: int, seed: int) -> Iterator[tuple[IntArray, IntArray]]:
    """Random halves of the texts, as places of prompts."""
    n_texts = int(text.max()) + 1
    if n_texts < 2:
        raise DataError("A study needs prompts of at least two different texts: give more data.")
    rng = np.random.default_rng(seed)
    for _ in range(n_splits):
        first = np.zeros(n_texts, dtype=np.bool_)
        first[rng.permutation(n_texts)[: n_texts // 2]] = True
        yield np.flatnonzero(first[text]), np.flatnonzero(~first[text])


def _split(
    scored: Scored, labels: Labels, ours: IntArray, unseen: IntArray, limits: Sequence[float], confidence: float
) -> FloatArray:
    """The columns of `StudyRow` from `kept` on, (n_limits, 5)."""
    points = measure("max_drop", scored.take(ours), labels.take(ours))
    required = required_deviate(confidence, len(ours))
    there, truth = scored.take(unseen), labels.take(unseen)
    rows = []
    for limit in limits:
        promised = certified(points, limit, required)
        row = [*_kept(there, truth, None, limit), 0.0]
        if promised:
            chosen = pick("max_drop", scored.name, promised)
            row = [*_kept(there, truth, chosen.value, limit), float(chosen.cost_advantage > 0)]
        plain = within_sample("max_drop", scored.name, points, limit)
        rows.append([row[0], row[2], row[1], *_kept(there, truth, plain.value, limit)])
    return np.array(rows)


def _kept(there: Scored, truth: Labels, value: float | None, limit: float) -> tuple[float, float]:
    """Whether unseen prompts keep to the limit, and the share of them kept off; a refusal uses the reference."""
    if value is None:
        return 1.0, 0.0
    chosen = there.choices(value)
    measured = Claim.of("max_drop", truth, chosen).measured
    return float(measured <= limit + _SLACK), float((chosen != truth.reference).mean())
