"""What is drawn: an evaluation with the labels and predictions behind it, and the figures that pictures need of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from routers.evaluation import Exam, Judgement, PlanRun, Predictions
from routers.evaluation.exam import of_plan, of_router
from routers.evaluation.resampling import draws
from routers.learning.labels import relaxed_labels

__all__ = ["Bins", "Domains", "Scene"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_BAND_RESAMPLES = 200
_MOST_BANDS = 2
_GRID_POINTS = 61
_BINS = 10
_MAP_PROMPTS = 1500
_FEWEST_FOR_TSNE = 40
_NOTHING = "(none)"


@dataclass(frozen=True)
class Bins:
    """Prompts in bins of about equal size, by rising prediction.

    Attributes:
        predicted: (n_bins,) mean prediction.
        happened: (n_bins,) mean of what happened.
        margin: (n_bins,) half the width of its 95 % interval, by its standard error.
        what: what was predicted.
    """

    predicted: FloatArray
    happened: FloatArray
    margin: FloatArray
    what: str


@dataclass(frozen=True)
class Domains:
    """Mean quality by domain.

    Attributes:
        names: of the domains, the one with the most prompts first.
        sizes: (n_domains,) prompts.
        columns: experts, then routers.
        quality: (n_domains, n_columns).
    """

    names: list[str]
    sizes: IntArray
    columns: list[str]
    quality: FloatArray


@dataclass(frozen=True)
class Scene:
    """One evaluation.

    Attributes:
        exam: the judged prompts.
        predictions: what each router says of them.
        judgement: the metrics.
        title: of the report.
        protocol: how it was judged, in words.
        notes: sentences to put beside the figures.
        clusters: of routers that put prompts into clusters, the cluster of each judged prompt.
        seed: of resamples and of the map.
        plans: what each plan would have done with them.
    """

    exam: Exam
    predictions: Mapping[str, Predictions]
    judgement: Judgement
    title: str = "Evaluation"
    protocol: str = ""
    notes: Sequence[str] = ()
    clusters: Mapping[str, IntArray] = field(default_factory=dict)
    seed: int = 0
    plans: Mapping[str, PlanRun] = field(default_factory=dict)

    @property
    def two(self) -> bool:
        """Whether there are two experts, so that spending is a share of large calls."""
        return self.exam.shares

    @property
    def banded(self) -> list[str]:
        """Routers whose band is drawn: both of two; of more only the best by APGR, else by AIQ, since bands overlap."""
        routers = {name: of for name, of in self.judgement.routers.items() if of["curve"] is not None}
        best = sorted(routers, key=lambda name: -(routers[name]["apgr"] or routers[name]["aiq"] or 0.0))
        return best if len(best) <= _MOST_BANDS else best[:1]

    @cached_property
    def bands(self) -> dict[str, tuple[FloatArray, FloatArray, FloatArray]]:
        """Of each router in `banded` amounts spent, from 0 to 1, and both ends of the 95 % band there, (n,) each.

        A band holds at each amount by itself, not for the whole curve at once.
        """
        grid = np.linspace(0, 1, _GRID_POINTS)
        found = {}
        for name in self.banded:
            run = self.plans.get(name)
            entrant = of_plan(name, self.exam, run) if run else of_router(name, self.exam, self.predictions[name])
            if entrant.curves is None:
                continue
            drawn = draws(self.exam.data.texts, _BAND_RESAMPLES, self.seed)
            heights = np.concatenate([entrant.curves(weights).at(grid) for weights in drawn])
            low, high = np.quantile(heights, [0.025, 0.975], axis=0)
            found[name] = (grid, low, high)
        return found

    def cost_at(self, share: FloatArray) -> FloatArray:
        """Cost where this share of the span between the small and the large expert's is spent."""
        cost = self.exam.cost.mean(axis=0)
        low, high = cost[self.exam.small], cost[self.exam.large]
        along: FloatArray = low + share * (high - low)
        return along

    def choice(self, name: str) -> IntArray:
        """The expert of each prompt, (n_prompts,), as a router has it: see `domains` for those between two experts."""
        predicted = self.predictions[name]
        return self._half_large(predicted) if self.two else predicted.chosen

    def bins(self, name: str) -> Bins | None:
        """What a router said against what happened: its score where it has one, else predicted quality."""
        predicted = self.predictions[name]
        if predicted.score is not None and predicted.pair is not None:
            data = self.exam.data
            small, large = (data.samples(data.experts[column]) for column in predicted.pair)
            return _bins(predicted.score, 1 - relaxed_labels(small, large), "the large expert is needed")
        known = np.isfinite(predicted.quality)
        if not known.any():
            return None
        return _bins(predicted.quality[known], self.exam.quality[known], "quality of an answer")

    @cached_property
    def domains(self) -> Domains | None:
        """Quality of experts and routers in each domain; None where there are not two domains.

        A router between two experts is shown where it sends half of all prompts to the large one, for its own
        threshold may send nearly all to one of them.
        """
        prompts = self.exam.data.prompts
        if "domain" not in prompts or prompts["domain"].nunique() < 2:
            return None
        names, domain = np.unique(prompts["domain"].fillna(_NOTHING).to_numpy(dtype=str), return_inverse=True)
        sizes = np.bincount(domain)
        columns = [self.exam.quality[:, i] for i in range(self.exam.quality.shape[1])]
        everyone = np.arange(len(domain))
        columns += [self.exam.quality[everyone, self.choice(name)] for name in self.predictions]
        columns += [run.own.quality for run in self.plans.values()]
        sums = np.column_stack([np.bincount(domain, weights=column) for column in columns])
        order = np.argsort(-sizes, kind="stable")
        return Domains(
            names=[str(names[i]) for i in order],
            sizes=sizes[order],
            columns=[*self.exam.data.experts, *self.predictions, *self.plans],
            quality=(sums / sizes[:, None])[order],
        )

    @cached_property
    def positions(self) -> tuple[IntArray, FloatArray]:
        """Some prompts, (n,), and where they are on the map, (n, 2): t-SNE of TF-IDF with SVD."""
        from sklearn.decomposition import PCA
        from sklearn.manifold import TSNE

        from routers.features import make_features

        texts = self.exam.data.texts
        n = min(len(texts), _MAP_PROMPTS)
        shown = np.sort(np.random.default_rng(self.seed).choice(len(texts), size=n, replace=False))
        chosen = [texts[i] for i in shown]
        rows = np.asarray(make_features("tfidf-svd", seed=self.seed).fit(chosen).transform(chosen))
        if n < _FEWEST_FOR_TSNE or rows.shape[1] < 2:
            flat = np.zeros((n, 2))
            flat[:, : min(2, rows.shape[1])] = PCA(min(2, rows.shape[1], n)).fit_transform(rows)[:, :2]
            return shown, flat
        made = TSNE(perplexity=min(30, n // 4), init="pca", max_iter=500, random_state=self.seed)
        return shown, made.fit_transform(rows[:, :50]).astype(np.float64)

    def _half_large(self, predicted: Predictions) -> IntArray:
        score, (small, large) = predicted.score, predicted.pair or (self.exam.small, self.exam.large)
        if score is None:
            score = predicted.quality[:, large] - predicted.quality[:, small]
        to_large = np.argsort(np.argsort(-score, kind="stable"), kind="stable") < len(score) / 2
        chosen: IntArray = np.where(to_large, large, small)
        return chosen


def _bins(predicted: FloatArray, happened: FloatArray, what: str) -> Bins:
    order = np.argsort(predicted, kind="stable")
    parts = [part for part in np.array_split(order, min(_BINS, len(order))) if len(part)]
    spread = [happened[part].std(ddof=1) / len(part) ** 0.5 if len(part) > 1 else 0.5 for part in parts]
    return Bins(
        predicted=np.array([predicted[part].mean() for part in parts]),
        happened=np.array([happened[part].mean() for part in parts]),
        margin=1.96 * np.array(spread),
        what=what,
    )
