"""Judging routers: predictions for unseen prompts, the field's metrics with intervals, and the baselines beside them.

docs/evaluation.md says what each figure tells and hides.
"""

from routers.evaluation.contamination import check_unseen
from routers.evaluation.exam import Exam, two_experts
from routers.evaluation.folds import Fold, Predictions, by_domain, by_fold, by_split, predict, predict_unseen, rows_of
from routers.evaluation.judging import Difference, Judgement, judge
from routers.evaluation.plans import PlanRun, replay_trained, replay_unseen

__all__ = [
    "Difference",
    "Exam",
    "Fold",
    "Judgement",
    "PlanRun",
    "Predictions",
    "by_domain",
    "by_fold",
    "by_split",
    "check_unseen",
    "judge",
    "predict",
    "predict_unseen",
    "replay_trained",
    "replay_unseen",
    "rows_of",
    "two_experts",
]
