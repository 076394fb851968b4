"""The judges of answers there are, by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from routers.answers.base import AnswerJudge
from routers.answers.frugal import FrugalCascade
from routers.answers.likelihood import LikelihoodScorer
from routers.answers.pair_ranker import PairRanker
from routers.answers.scorer import LearnedScorer
from routers.errors import ParameterError

__all__ = ["JudgeInfo", "list_judges", "make_judge"]

_CLASSES: tuple[type[AnswerJudge], ...] = (FrugalCascade, LearnedScorer, LikelihoodScorer, PairRanker)
_JUDGES: dict[str, type[AnswerJudge]] = {cls.name: cls for cls in _CLASSES}


@dataclass(frozen=True, slots=True)
class JudgeInfo:
    """What there is to know of a judge before training it.

    Attributes:
        name: what `make_judge` and the command line call it.
        paper: where the method is from.
        kind: "judge" where it judges answers only, "plan" where it also says which experts to ask.
        needs: packages or files beyond the base installation; empty for none.
        summary: what it does, in one sentence.
        parameters: names of its parameters.
    """

    name: str
    paper: str
    kind: Literal["judge", "plan"]
    needs: tuple[str, ...]
    summary: str
    parameters: tuple[str, ...]


def list_judges() -> list[JudgeInfo]:
    """Every judge and plan, in alphabetical order."""
    return [
        JudgeInfo(name, cls.paper, cls.kind, cls.needs, cls.describes, cls.parameter_names())
        for name, cls in sorted(_JUDGES.items())
    ]


def make_judge(name: str, **params: Any) -> AnswerJudge:
    """An untrained judge.

    Raises:
        ParameterError: there is no such judge, or a parameter is unknown, of the wrong type or out of range.
    """
    if name not in _JUDGES:
        raise ParameterError(f"There is no judge {name!r}: choose one of {', '.join(sorted(_JUDGES))}.")
    judge = _JUDGES[name]().set_params(**params)
    judge.check_params()
    return judge
