"""Judging answers: scorers of one answer, rankers of several, and the plans that are made with them."""

from routers.answers.arms import Arms, parse_arms, replay_arm, with_arms
from routers.answers.artifact import JUDGE_FILES, load_judge, save_judge
from routers.answers.base import AnswerJudge, AnswerScorer, check_answered
from routers.answers.frugal import FrugalCascade
from routers.answers.likelihood import LikelihoodScorer
from routers.answers.outcome import outcome_of
from routers.answers.pair_ranker import PairRanker
from routers.answers.pairs import Pairs
from routers.answers.registry import JudgeInfo, list_judges, make_judge
from routers.answers.replay import Recorded, Replay, ReplayablePlan, replay_cascade
from routers.answers.scorer import LearnedScorer
from routers.answers.thresholds import CascadeSetting

__all__ = [
    "JUDGE_FILES",
    "AnswerJudge",
    "AnswerScorer",
    "Arms",
    "CascadeSetting",
    "FrugalCascade",
    "JudgeInfo",
    "LearnedScorer",
    "LikelihoodScorer",
    "PairRanker",
    "Pairs",
    "Recorded",
    "Replay",
    "ReplayablePlan",
    "check_answered",
    "list_judges",
    "load_judge",
    "make_judge",
    "outcome_of",
    "parse_arms",
    "replay_arm",
    "replay_cascade",
    "save_judge",
    "with_arms",
]
