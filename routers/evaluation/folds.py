"""Which prompts a router learns from and which it is judged on, and what it says of those it has not seen."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from routers.base import Prediction, Progress, Router, TwoModelRouter
from routers.data import RoutingData
from routers.errors import DataError, ParameterError
from routers.policy import Policy, choose

__all__ = [
    "Fold",
    "Predictions",
    "by_domain",
    "by_fold",
    "by_split",
    "predict",
    "predict_unseen",
    "rows_of",
    "within",
]

IntArray = NDArray[np.int64]

_TIMED_PROMPTS = 200
_TIMED_S = 2.0


@dataclass(frozen=True)
class Fold:
    """One training and what is judged with it.

    Attributes:
        name: of what is judged.
        train: places of the prompts to learn from; none of their texts is judged.
        test: places of the prompts to judge on.
        n_removed: prompts that were taken out of the training, because a prompt of the test has the same text.
        alike: whether it is a random part of the prompts, like the other folds, rather than one of another kind.
    """

    name: str
    train: IntArray
    test: IntArray
    n_removed: int = 0
    alike: bool = False


@dataclass(frozen=True)
class Predictions:
    """What a router says of prompts that it did not learn from.

    Attributes:
        quality: (n_prompts, n_experts) predicted quality; NaN for experts that the router does not know.
        chosen: (n_prompts,) column of the expert that it chooses by itself.
        cost: (n_experts,) mean cost of an answer in its training data; NaN for experts that it does not know.
        score: (n_prompts,) of two-model routers, how likely the large expert is needed; None for others.
        pair: columns of the small and the large expert of a two-model router; None for others.
        part: (n_prompts,) which of several routers, trained on folds that are alike, said it; None: one router did, or
            their scores are to be held against one threshold.
        train_s: seconds of training, over all folds; None where it was trained before.
        decisions_per_s: prompts a second, asked one at a time.
    """

    quality: NDArray[np.float64]
    chosen: IntArray
    cost: NDArray[np.float64]
    score: NDArray[np.float64] | None = None
    pair: tuple[int, int] | None = None
    part: IntArray | None = None
    train_s: float | None = None
    decisions_per_s: float | None = None


def by_fold(data: RoutingData, n_folds: int = 5) -> list[Fold]:
    """Every prompt judged once, by a router that learned from the other folds.

    Folds go by the data's column `fold`, several of its values sharing one; where that is missing, has gaps or fewer
    values, by SHA-256 of the text. Equal prompts are never on both sides: what is judged is taken out of the training.

    Raises:
        ParameterError: there are fewer than 2 folds.
        DataError: a fold would be empty.
    """
    if n_folds < 2:
        raise ParameterError(f"{n_folds} folds leave nothing to learn from: ask for 2 or more.")
    column = data.prompts.get("fold")
    if column is None or column.isna().any() or column.nunique() < n_folds:
        part = np.array([_text_number(text) % n_folds for text in data.texts])
    else:
        part = np.unique(column.to_numpy(dtype=np.int64), return_inverse=True)[1] % n_folds
    if len(np.unique(part)) < n_folds:
        raise DataError(f"The data has too few different prompts for {n_folds} folds: ask for fewer.")
    return [_fold(data, f"fold {i}", part == i, part != i, alike=True) for i in range(n_folds)]


def by_split(data: RoutingData, train: str, test: str) -> list[Fold]:
    """One split judged by a router that learned from another one.

    Raises:
        ParameterError: it is the same split.
        DataError: the data has no such split.
    """
    if train == test:
        raise ParameterError(f"A router cannot be judged on {train!r}, which it learns from: name another split.")
    of = [set(data.subset(name).prompts["prompt_id"]) for name in (train, test)]
    learned, judged = (data.prompts["prompt_id"].isin(ids).to_numpy(dtype=bool) for ids in of)
    return [_fold(data, test, judged, learned)]


def by_domain(data: RoutingData, only: Iterable[str] | None = None) -> list[Fold]:
    """Every domain, or those named, judged by a router that has seen the others only.

    Raises:
        DataError: the data has no domains, only one, or not those named.
    """
    if "domain" not in data.prompts or data.prompts["domain"].isna().all():
        raise DataError("The data has no column 'domain', so no domain can be held out: add the column.")
    column = data.prompts["domain"]
    there = sorted(column.dropna().unique())
    names = there if only is None else list(dict.fromkeys(only))
    for name in names:
        if name not in there:
            raise DataError(f"The data has no domain {name!r}: it has {', '.join(there)}.")
    if len(there) < 2:
        raise DataError(f"The data has the domain {there[0]!r} only: without it there is nothing to learn from.")
    return [_fold(data, name, (column == name).to_numpy(), (column != name).to_numpy()) for name in names]


def rows_of(data: RoutingData, places: IntArray) -> RoutingData:
    """The rows of the prompts at these places, in their order in the data, with the same experts."""
    return data.at(places).select(data.experts)


def predict_unseen(
    make: Callable[[], Router], data: RoutingData, folds: Sequence[Fold], progress: Progress | None = None
) -> Predictions:
    """Train a router for each fold, and let it predict for the prompts it has not seen.

    Args:
        make: an untrained router, a new one each time.
        data: labelled prompts; the result has its experts as columns.
        folds: what to learn from and what to judge; every prompt is judged at most once.
        progress: told of every training.

    Returns:
        Predictions for the judged prompts of all folds, in the order of the data.

    Raises:
        ParameterError: a parameter is out of range or names an expert that the data lacks.
        DataError: an answer is missing, or nothing is left to learn from.
    """
    parts: list[Predictions] = []
    for i, fold in enumerate(folds):
        if not len(fold.train):
            raise DataError(f"There is no prompt to learn from when {fold.name!r} is judged: give more data.")
        router = make()
        router.fit(rows_of(data, fold.train), within(progress, fold.name, i, len(folds)))
        train_s = router.summary_["training"]["duration_s"]
        parts.append(predict(router, rows_of(data, fold.test), train_s=train_s, timed=i == 0))
    return _joined(parts, folds)


def predict(router: Router, data: RoutingData, *, train_s: float | None = None, timed: bool = True) -> Predictions:
    """What a trained router says of prompts, and how fast.

    Raises:
        NotFittedError: it is not trained.
        DataError: the data lacks one of its experts.
    """
    router.check_fitted()
    for expert in router.experts_:
        if expert not in data.experts:
            there = ", ".join(data.experts)
            raise DataError(f"Router {router.name!r} knows the expert {expert!r}, but the data only has {there}.")
    columns = np.array([data.experts.index(expert) for expert in router.experts_])
    prompts = data.inputs(getattr(router, "side", None))
    prediction = router.predict(prompts)
    quality = np.full((len(prompts), len(data.experts)), np.nan)
    quality[:, columns] = prediction.quality
    cost = np.full(len(data.experts), np.nan)
    cost[columns] = router.cost_
    two = isinstance(router, TwoModelRouter) and prediction.large_needed is not None
    return Predictions(
        quality=quality,
        chosen=columns[_own_choice(router, prediction)],
        cost=cost,
        score=np.asarray(prediction.large_needed, dtype=np.float64) if two else None,
        pair=(int(columns[0]), int(columns[1])) if two else None,
        train_s=train_s,
        decisions_per_s=_speed(router, prompts) if timed else None,
    )


def _fold(
    data: RoutingData, name: str, test: NDArray[np.bool_], train: NDArray[np.bool_], *, alike: bool = False
) -> Fold:
    judged = set(data.prompts["prompt"][test])
    seen = data.prompts["prompt"].isin(judged).to_numpy(dtype=bool)
    return Fold(name, np.flatnonzero(train & ~seen), np.flatnonzero(test), int((train & seen).sum()), alike)


def _text_number(text: str) -> int:
    return int.from_bytes(sha256(text.encode(errors="surrogatepass")).digest()[:8], "big")


def _own_choice(router: Router, prediction: Prediction) -> IntArray:
    policy = Policy()
    places = {expert: place for place, expert in enumerate(router.experts_)}
    n = len(prediction.quality)
    chosen = (places[choose(router, prediction, row, policy).expert] for row in range(n))
    return np.fromiter(chosen, dtype=np.int64, count=n)


def _speed(router: Router, prompts: Sequence[str]) -> float:
    """Decisions a second, one prompt at a time, over at most two seconds; the first one warms up."""
    router.predict(prompts[:1])
    start_s, n = time.perf_counter(), 0
    for prompt in prompts[:_TIMED_PROMPTS]:
        router.predict([prompt])
        n += 1
        if time.perf_counter() - start_s > _TIMED_S:
            break
    return n / (time.perf_counter() - start_s)


def _joined(parts: Sequence[Predictions], folds: Sequence[Fold]) -> Predictions:
    first, order = parts[0], np.argsort(np.concatenate([fold.test for fold in folds]), kind="stable")
    part = np.repeat(np.arange(len(folds)), [len(fold.test) for fold in folds])
    scores = [part.score for part in parts if part.score is not None]
    return Predictions(
        quality=np.concatenate([part.quality for part in parts])[order],
        chosen=np.concatenate([part.chosen for part in parts])[order],
        cost=np.mean([part.cost for part in parts], axis=0),
        score=np.concatenate(scores)[order] if scores else None,
        pair=first.pair,
        part=part[order] if len(folds) > 1 and all(fold.alike for fold in folds) else None,
        train_s=sum(part.train_s or 0.0 for part in parts),
        decisions_per_s=first.decisions_per_s,
    )


def within(progress: Progress | None, name: str, place: int, n: int) -> Progress | None:
    """What to tell the progress of one of n parts; None where there is nobody to tell."""
    if progress is None:
        return None
    return lambda doing, share: progress(f"{name}: {doing}", (place + share) / n)
