"""Asking routers and judges: those that are quick in this process, those that are slow in the Scorer pool."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from routers import AnswerJudge, PointsmanError, Prediction, Router, load_judge, load_router
from routers.answers import JUDGE_FILES

__all__ = ["Artifact", "Late", "Scoring", "ScoringError", "load_artifact"]

Artifact = Router | AnswerJudge

Late = Literal["late", "failed"]
"""Why a router or judge was not heard."""

_Answer = TypeVar("_Answer")
_MOST_ANSWER_CHARACTERS = 100_000

logger = logging.getLogger("ray.serve")


class ScoringError(Exception):
    """A router or judge was not heard.

    Args:
        reason: it was "late", or it "failed".
        message: in plain words.
    """

    def __init__(self, reason: Late, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def load_artifact(path: str) -> Artifact:
    """A trained router or judge.

    Raises:
        ArtifactError: it is missing, damaged or foreign.
    """
    return load_judge(path) if JUDGE_FILES.is_at(path) else load_router(path)


class Scoring:
    """What decides and judges, wherever it runs.

    Args:
        artifacts: trained routers and judges by the place of their artifact, as far as they are in this process.
        pool: handle of the Scorer deployment, for all others; None where there are none.
    """

    def __init__(self, artifacts: Mapping[str, Artifact], pool: Any = None) -> None:
        self._artifacts = artifacts
        self._pool = pool

    def router(self, path: str) -> Router | None:
        """The router, if it is in this process."""
        found = self._artifacts.get(path)
        return found if isinstance(found, Router) else None

    async def predict(self, path: str, prompt: str, *, timeout_s: float) -> Prediction:
        """What a slow router predicts of one prompt.

        Raises:
            ScoringError: it was not heard in time.
        """
        router = self.router(path)
        if router is not None:
            return await _heard(router.predict_async([prompt]), timeout_s, path)
        return await _heard(self._pool.predict.remote(path, prompt), timeout_s, path)

    async def judge(self, path: str, question: str, answers: Sequence[str], *, timeout_s: float) -> list[float]:
        """What a judge gives each answer to a question, higher is better.

        Raises:
            ScoringError: it was not heard in time.
        """
        read = [answer[:_MOST_ANSWER_CHARACTERS] for answer in answers]
        judge = self._artifacts.get(path)
        if judge is None:
            return await _heard(self._pool.judge.remote(path, question, read), timeout_s, path)
        assert isinstance(judge, AnswerJudge)  # noqa: S101 - the configuration was checked
        judging = (
            asyncio.to_thread(_judged, judge, question, read) if judge.slow else _judged_here(judge, question, read)
        )
        return await _heard(judging, timeout_s, path)


def _judged(judge: AnswerJudge, question: str, answers: Sequence[str]) -> list[float]:
    scores: list[float] = judge.rank([question], [answers])[0].tolist()
    return scores


async def _judged_here(judge: AnswerJudge, question: str, answers: Sequence[str]) -> list[float]:
    return _judged(judge, question, answers)


async def _heard(answer: Awaitable[_Answer], timeout_s: float, path: str) -> _Answer:
    name = Path(path).name
    try:
        async with asyncio.timeout(timeout_s):
            return await answer
    except TimeoutError:
        message = f"{name} took longer than {timeout_s:.3g} s"
        logger.warning("Scoring: %s.", message)
        raise ScoringError("late", message) from None
    except Exception as error:
        # Whatever keeps it from deciding, an answer without it is better than none.
        known = isinstance(error, PointsmanError)
        logger.warning("Scoring: %s failed: %s", name, error, exc_info=not known)
        raise ScoringError("failed", f"{name} failed ({type(error).__name__})") from error
