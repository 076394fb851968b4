"""How well a judge of answers, or a plan that uses one, does on recorded answers that it has not learned from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from routers.answers.base import AnswerJudge, AnswerScorer
from routers.answers.pairs import Pairs
from routers.answers.replay import ReplayablePlan
from routers.base import check_complete

if TYPE_CHECKING:
    from routers.data import RoutingData

__all__ = ["outcome_of"]


def outcome_of(judge: AnswerJudge, data: RoutingData) -> dict[str, Any]:
    """What is to be said of a trained judge on the data's answers, as JSON values.

    - of a plan: `quality` and `cost` of an answer, all attempts counted, `attempts`, `shares` of the experts that gave
      it, and `quality_drop` against `reference`, the best single expert;
    - of any other judge: `picked`, mean quality of the answer that it puts first among the different ones to a prompt;
      `picked_blindly`, of one of these at random; `picked_best`, of the best of them;
    - of a scorer also `auc`, the probability that a good answer (quality above 0.5) scores higher than a bad one, None
      where all are alike, and `calibration_error`, of its scores in ten bins of equally many answers.

    Raises:
        DataError: a response is missing, or of a plan an answer.
    """
    if isinstance(judge, ReplayablePlan):
        return {"n_prompts": len(data.texts), **_of_plan(judge, data)}
    pairs = Pairs.of(data)
    found = {"n_prompts": len(data.texts), "n_answers": len(pairs), **_picks(judge, pairs)}
    return {**found, **_of_scores(judge, pairs)} if isinstance(judge, AnswerScorer) else found


def _of_plan(plan: ReplayablePlan, data: RoutingData) -> dict[str, Any]:
    check_complete(data)
    replayed = plan.replay(data)
    singles, costs = data.quality().mean(axis=0), data.cost().mean(axis=0)
    best = int(np.lexsort((costs, -singles))[0])
    quality = float(replayed.quality.mean())
    return {
        "reference": data.experts[best],
        "quality": quality,
        "quality_drop": float((singles[best] - quality) / singles[best]) if singles[best] > 0 else 0.0,
        "cost": float(replayed.cost.mean()),
        "reference_cost": float(costs[best]),
        "attempts": float(replayed.attempts.mean()),
        "shares": dict(zip(replayed.experts, replayed.share.mean(axis=0).tolist(), strict=True)),
    }


def _picks(judge: AnswerJudge, pairs: Pairs) -> dict[str, float]:
    order = np.argsort(pairs.text, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(pairs.text[order])) + 1)
    prompts = [pairs.prompts[group[0]] for group in groups]
    ranked = judge.rank(prompts, [[pairs.answers[place] for place in group] for group in groups])
    qualities = [pairs.quality[group] for group in groups]
    picked = [float(q[int(scores.argmax())]) for q, scores in zip(qualities, ranked, strict=True)]
    return {
        "picked": float(np.mean(picked)),
        "picked_blindly": float(np.mean([q.mean() for q in qualities])),
        "picked_best": float(np.mean([q.max() for q in qualities])),
    }


def _of_scores(scorer: AnswerScorer, pairs: Pairs) -> dict[str, float | None]:
    from sklearn.metrics import roc_auc_score

    scores = np.repeat(scorer.score(pairs.prompts, pairs.answers), pairs.count)
    quality = np.repeat(pairs.quality, pairs.count)
    good = quality > 0.5
    bins = np.array_split(np.argsort(scores, kind="stable"), min(10, len(scores)))
    errors = [abs(float(scores[part].mean() - quality[part].mean())) for part in bins]
    return {
        "auc": float(roc_auc_score(good, scores)) if 0 < good.mean() < 1 else None,
        "calibration_error": float(np.average(errors, weights=[len(part) for part in bins])),
    }
