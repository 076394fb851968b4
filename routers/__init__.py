"""Learned routers: which expert should answer a prompt. No Ray and no HTTP; a notebook can use it alone."""

from routers.answers import AnswerJudge, AnswerScorer, JudgeInfo, list_judges, load_judge, make_judge, save_judge
from routers.artifact import load_router, save_router
from routers.base import Prediction, Router, TwoModelRouter
from routers.data import RoutingData
from routers.errors import ArtifactError, DataError, FeatureError, NotFittedError, ParameterError, PointsmanError
from routers.evaluation.outcomes import Outcome, evaluate
from routers.features import ClusterFeatures, TfidfFeatures, TfidfSvdFeatures, list_features, make_features
from routers.learning.balanced import BalancedKMeans
from routers.outline import Outline
from routers.policy import Decision, Policy, check_policy, choose, decide, without_router
from routers.prompt import Prompt
from routers.registry import RouterInfo, list_routers, make_router
from routers.text import conversation_side, conversation_text, prompt_text

__all__ = [
    "AnswerJudge",
    "AnswerScorer",
    "ArtifactError",
    "BalancedKMeans",
    "ClusterFeatures",
    "DataError",
    "Decision",
    "FeatureError",
    "JudgeInfo",
    "NotFittedError",
    "Outcome",
    "Outline",
    "ParameterError",
    "PointsmanError",
    "Policy",
    "Prediction",
    "Prompt",
    "Router",
    "RouterInfo",
    "RoutingData",
    "TfidfFeatures",
    "TfidfSvdFeatures",
    "TwoModelRouter",
    "check_policy",
    "choose",
    "conversation_side",
    "conversation_text",
    "decide",
    "evaluate",
    "list_features",
    "list_judges",
    "list_routers",
    "load_judge",
    "load_router",
    "make_features",
    "make_judge",
    "make_router",
    "prompt_text",
    "save_judge",
    "save_router",
    "without_router",
]
