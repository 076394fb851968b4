"""Judging answers: scorers of one answer, rankers of several, and the plans that are made with them."""

from routers.answers.artifact import JUDGE_FILES, load_judge, save_judge
from routers.answers.base import AnswerJudge, AnswerScorer, check_answered
from routers.answers.pair_ranker import PairRanker
from routers.answers.pairs import Pairs
from routers.answers.registry import JudgeInfo, list_judges, make_judge
from routers.answers.scorer import LearnedScorer

__all__ = [
    "JUDGE_FILES",
    "AnswerJudge",
    "AnswerScorer",
    "JudgeInfo",
    "LearnedScorer",
    "PairRanker",
    "Pairs",
    "check_answered",
    "list_judges",
    "load_judge",
    "make_judge",
    "save_judge",
]
