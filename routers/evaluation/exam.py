"""What routers are judged on: the labels, the two experts that the metrics compare, and everyone who sits the exam."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from routers.base import check_complete
from routers.data import RoutingData
from routers.errors import DataError, ParameterError
from routers.evaluation.folds import Predictions
from routers.evaluation.metrics import Curves, calibration_error, upper_hull
from routers.evaluation.paths import Path, one_step_path, ranks_within, score_path, trade_off_path
from routers.evaluation.plans import PlanRun
from routers.learning.labels import relaxed_labels

__all__ = ["Choice", "Entrant", "Exam", "baselines", "of_plan", "of_router", "two_experts"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Exam:
    """Labelled prompts, and which experts the metrics compare.

    Attributes:
        data: the judged prompts, with an answer of every expert.
        quality: (n_prompts, n_experts).
        cost: (n_prompts, n_experts).
        small: column of the expert where PGR is 0.
        large: column of the expert where PGR is 1.
        best: column of the best single expert on these prompts, of equals the cheaper.
    """

    data: RoutingData
    quality: FloatArray
    cost: FloatArray
    small: int
    large: int
    best: int

    @classmethod
    def of(cls, data: RoutingData, small: str | None = None, large: str | None = None) -> Exam:
        """An exam on all prompts of the data.

        Raises:
            DataError: an answer is missing, or there are fewer than two experts.
            ParameterError: the data lacks a named expert, or both names are the same.
        """
        check_complete(data)
        first, second = (data.experts.index(name) for name in two_experts(data, small, large))
        quality, cost = data.quality(), data.cost()
        return cls(data, quality, cost, first, second, _ranked(quality, cost)[0])

    @property
    def shares(self) -> bool:
        """Whether the amount spent is the share of large calls; for more than two experts it is cost."""
        return len(self.data.experts) == 2

    def curves(self, path: Path, weights: FloatArray) -> Curves:
        """The curve of a path in each resample, (n_resamples, n_prompts) weights."""
        quality, cost = path.along(self.quality, weights), path.along(self.cost, weights)
        if not self.shares:
            return self.by_cost(quality, cost, weights)
        is_large = np.zeros_like(self.quality)
        is_large[:, self.large] = 1.0
        share = path.along(is_large, weights)
        means = self.means(weights)[0]
        return Curves(share, quality, cost, means[:, self.small], means[:, self.large])

    def by_cost(self, quality: FloatArray, cost: FloatArray, weights: FloatArray) -> Curves:
        """Curves over cost, which is 0 for the small and 1 for the large expert.

        They begin with the small expert, which anybody can ask without a router. Where the large expert costs no more
        there is no such scale, and what is measured along it is NaN.
        """
        qualities, costs = self.means(weights)
        small, large = qualities[:, self.small], qualities[:, self.large]
        start, span = costs[:, self.small], costs[:, self.large] - costs[:, self.small]
        quality, cost = np.column_stack([small, quality]), np.column_stack([start, cost])
        scaled = (cost - start[:, None]) / np.where(span > 0, span, 1.0)[:, None]
        x = np.maximum.accumulate(np.where(span[:, None] > 0, scaled, 0.0), axis=1)
        return Curves(x, quality, cost, np.where(span > 0, small, np.nan), np.where(span > 0, large, np.nan))

    def means(self, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean quality and cost of each expert, (n_resamples, n_experts) each."""
        total = weights.sum(axis=1, keepdims=True)
        return weights @ self.quality / total, weights @ self.cost / total


@dataclass(frozen=True)
class Choice:
    """What comes of somebody's own choices.

    Attributes:
        quality: (n_prompts,) of the answers.
        cost: (n_prompts,) of all that was asked for.
        large: (n_prompts,) share of the answers that are the large expert's.
    """

    quality: FloatArray
    cost: FloatArray
    large: FloatArray

    @classmethod
    def of(cls, exam: Exam, chosen: IntArray) -> Choice:
        """The answers of these columns, (n_prompts,)."""
        rows = np.arange(len(chosen))
        large = (chosen == exam.large).astype(np.float64)
        return cls(exam.quality[rows, chosen], exam.cost[rows, chosen], large)


@dataclass(frozen=True)
class Entrant:
    """A router, plan or baseline that is judged.

    Attributes:
        name: what the report calls it.
        curves: its curves, given the weights of resamples; None: it has a point only.
        choice: what comes of its own choices; None: it only has a curve.
        errors: other figures, given the weights of resamples.
        facts: figures without an interval.
    """

    name: str
    curves: Callable[[FloatArray], Curves] | None = None
    choice: Choice | None = None
    errors: dict[str, Callable[[FloatArray], FloatArray]] = field(default_factory=dict)
    facts: dict[str, float | None] = field(default_factory=dict)


def two_experts(data: RoutingData, small: str | None = None, large: str | None = None) -> tuple[str, str]:
    """Names of the experts that PGR compares.

    The small one is the cheapest. The large one is, of two, the other one; of more, the best single expert among the
    others, because that is what a router has to be compared with. Of equals: the less good small one, the cheaper
    large one.

    Raises:
        DataError: there are fewer than two experts.
        ParameterError: the data lacks a named expert, or both names are the same.
    """
    for option, name in (("small", small), ("large", large)):
        if name is not None and name not in data.experts:
            raise ParameterError(f"The {option} expert {name!r} is not in the data: it has {', '.join(data.experts)}.")
    if len(data.experts) < 2:
        raise DataError("A router chooses between at least two experts, but the data has one: give another expert.")
    if small is not None and small == large:
        raise ParameterError(f"The small and the large expert are both {small!r}: name two different ones.")
    quality, cost = data.quality(), data.cost()
    cheap = [data.experts[i] for i in np.lexsort((quality.mean(axis=0), cost.mean(axis=0)))]
    good = [data.experts[i] for i in _ranked(quality, cost)]
    first = small or next(name for name in cheap if name != large)
    return first, large or next(name for name in good if name != first)


def of_router(name: str, exam: Exam, predicted: Predictions) -> Entrant:
    """A router, by what it says of the prompts.

    With a score or two experts its curve is the sweep of a threshold, of the score or of the difference between both
    predicted qualities (by rank within each fold, see `ranks_within`); otherwise the sweep of the trade-off between
    predicted quality and mean cost.
    """
    path, known = _path(exam, predicted), np.isfinite(predicted.quality).all(axis=0)
    quality, happened = predicted.quality[:, known], exam.quality[:, known]
    errors = {"ece_quality": lambda weights: calibration_error(quality, happened, weights)}
    if predicted.score is not None and predicted.pair is not None:
        score = predicted.score[:, None]
        small, large = (exam.data.samples(exam.data.experts[column]) for column in predicted.pair)
        needed = 1 - relaxed_labels(small, large)[:, None]
        errors["ece_score"] = lambda weights: calibration_error(score, needed, weights)
    facts = {"decisions_per_s": predicted.decisions_per_s, "train_s": predicted.train_s}
    choice = Choice.of(exam, predicted.chosen)
    return Entrant(name, lambda weights: exam.curves(path, weights), choice, errors, facts)


def of_plan(name: str, exam: Exam, run: PlanRun) -> Entrant:
    """A plan, by what it would have done; its curve is the sweep of its budget.

    The amount spent is the cost of all attempts, between the small and the large expert's, also where there are two
    experts: who asks both has spent more than the large one costs.
    """
    own = run.own
    choice = Choice(own.quality, own.cost, own.share[:, exam.large])
    if run.sweep is None:
        return Entrant(name, choice=choice, facts={"train_s": run.train_s})
    qualities, costs = run.sweep

    def curves(weights: FloatArray) -> Curves:
        total = weights.sum(axis=1, keepdims=True)
        return exam.by_cost(weights @ qualities.T / total, weights @ costs.T / total, weights)

    return Entrant(name, curves, choice, facts={"train_s": run.train_s})


def baselines(exam: Exam) -> list[Entrant]:
    """What every router is to be seen beside: single experts, no router, the length of prompts, and oracles.

    - `expert:ID`: this expert alone.
    - `random`: a coin between the small and the large expert, in expectation.
    - `length`: the longer prompt, in characters, to the large expert.
    - `zero-router`: mixing single experts by a coin as well as it goes (RouterBench): the hull of their means.
    - `domain-oracle`: knows every domain's mean qualities on these very prompts, and nothing else of a prompt.
    - `prompt-oracle`: knows the quality of every answer.
    """
    n, pair = len(exam.quality), (exam.small, exam.large)
    length = np.array([len(text) for text in exam.data.texts], dtype=np.float64)
    singles = [
        Entrant(f"expert:{name}", choice=Choice.of(exam, np.full(n, i))) for i, name in enumerate(exam.data.experts)
    ]
    made = [
        *singles,
        _swept("random", exam, one_step_path(n, *pair)),
        _swept("length", exam, score_path(length, *pair)),
        Entrant("zero-router", lambda weights: _hull_curves(exam, weights)),
    ]
    if "domain" in exam.data.prompts and exam.data.prompts["domain"].nunique() > 1:
        made.append(_oracle("domain-oracle", exam, _domain_means(exam)))
    return [*made, _oracle("prompt-oracle", exam, exam.quality)]


def _swept(name: str, exam: Exam, path: Path) -> Entrant:
    return Entrant(name, lambda weights: exam.curves(path, weights))


def _oracle(name: str, exam: Exam, quality: FloatArray) -> Entrant:
    """Somebody who knows these qualities, (n_prompts, n_experts)."""
    cost = exam.cost.mean(axis=0)
    by_cost = np.argsort(cost, kind="stable")
    chosen = by_cost[quality[:, by_cost].argmax(axis=1)].astype(np.int64)
    path = _path(exam, Predictions(quality, chosen, cost))
    return Entrant(name, lambda weights: exam.curves(path, weights), Choice.of(exam, chosen))


def _path(exam: Exam, predicted: Predictions) -> Path:
    small, large = predicted.pair or (exam.small, exam.large)
    score = predicted.score
    if score is None:
        if not exam.shares:
            return trade_off_path(predicted.quality, predicted.cost)
        score = predicted.quality[:, large] - predicted.quality[:, small]
    if predicted.part is not None:
        score = ranks_within(score, predicted.part)
    if exam.shares and (small, large) == (exam.large, exam.small):
        return score_path(-score, exam.small, exam.large)
    return score_path(score, small, large)


def _domain_means(exam: Exam) -> FloatArray:
    """Mean quality of each prompt's domain, (n_prompts, n_experts); prompts without a domain form one."""
    _, domain = np.unique(exam.data.prompts["domain"].fillna("").to_numpy(dtype=object), return_inverse=True)
    sums = np.zeros((int(domain.max()) + 1, exam.quality.shape[1]))
    np.add.at(sums, domain, exam.quality)
    means: FloatArray = (sums / np.bincount(domain)[:, None])[domain]
    return means


def _hull_curves(exam: Exam, weights: FloatArray) -> Curves:
    qualities, costs = exam.means(weights)
    hulls = [upper_hull(cost, quality) for cost, quality in zip(costs, qualities, strict=True)]
    most = max(len(cost) for cost, _ in hulls)
    cost, quality = (np.array([np.pad(h[i], (0, most - len(h[i])), mode="edge") for h in hulls]) for i in (0, 1))
    return exam.by_cost(quality, cost, weights)


def _ranked(quality: FloatArray, cost: FloatArray) -> list[int]:
    """Columns from the best expert on; of equals the cheaper first."""
    ranked: list[int] = np.lexsort((cost.mean(axis=0), -quality.mean(axis=0))).tolist()
    return ranked
