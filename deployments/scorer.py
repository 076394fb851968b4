"""The Scorer: routers and judges that take more than a millisecond, in a pool of their own, by micro-batches."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from ray import serve

from routers import AnswerJudge, Prediction, Router

from .scoring import load_artifact

__all__ = ["Scorer"]

_BATCH = 64
_BATCH_WAIT_S = 0.004

_Asked = TypeVar("_Asked", bound="_Prompt | _Answers")
_Answer = TypeVar("_Answer")


class _Prompt(NamedTuple):
    artifact: str
    text: str


class _Answers(NamedTuple):
    artifact: str
    question: str
    answers: Sequence[str]


class Scorer:
    """Predicts and judges for all Router replicas. What comes at about the same time is worked on together.

    Torch uses a GPU where the replica has one (`ray_actor_options: {num_gpus: 1}`).

    Args:
        artifacts: where its routers and judges lie.

    Raises:
        ArtifactError: one of them cannot be loaded.
    """

    def __init__(self, artifacts: Sequence[str]) -> None:
        self._artifacts = {path: load_artifact(path) for path in artifacts}
        # Several passes at a time would only share the same processors or GPU.
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="scorer")
        self._warm_up()

    def reconfigure(self, user_config: Mapping[str, Any]) -> None:
        """Take other batches without a restart: ``user_config: {max_batch_size: 32, batch_wait_s: 0.01}``."""
        for method in (self._predict, self._judge):
            method.set_max_batch_size(int(user_config.get("max_batch_size", _BATCH)))
            wait_s = float(user_config.get("batch_wait_s", _BATCH_WAIT_S))
            method.set_batch_wait_timeout_s(wait_s)

    async def predict(self, artifact: str, prompt: str) -> Prediction:
        """What a router says of one prompt: a prediction of one row."""
        predicted: Prediction | Exception = await self._predict(_Prompt(artifact, prompt))
        return _unwrapped(predicted)

    async def judge(self, artifact: str, question: str, answers: Sequence[str]) -> list[float]:
        """What a judge gives each answer, higher is better."""
        scores: list[float] | Exception = await self._judge(_Answers(artifact, question, answers))
        return _unwrapped(scores)

    @serve.batch(max_batch_size=_BATCH, batch_wait_timeout_s=_BATCH_WAIT_S)
    async def _predict(self, asked: list[_Prompt]) -> list[Any]:
        async def ask(artifact: str, prompts: list[_Prompt]) -> list[Prediction]:
            router = self._artifacts[artifact]
            assert isinstance(router, Router)  # noqa: S101 - the configuration was checked
            prediction = await self._in_worker(router.predict, [prompt.text for prompt in prompts])
            return [_row(prediction, place) for place in range(len(prompts))]

        return await _by_artifact(asked, ask)

    @serve.batch(max_batch_size=_BATCH, batch_wait_timeout_s=_BATCH_WAIT_S)
    async def _judge(self, asked: list[_Answers]) -> list[Any]:
        async def ask(artifact: str, questions: list[_Answers]) -> list[list[float]]:
            judge = self._artifacts[artifact]
            assert isinstance(judge, AnswerJudge)  # noqa: S101 - the configuration was checked
            texts, answers = [one.question for one in questions], [one.answers for one in questions]
            return [scores.tolist() for scores in await self._in_worker(judge.rank, texts, answers)]

        return await _by_artifact(asked, ask)

    async def _in_worker(self, work: Callable[..., Any], *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._worker, work, *args)

    def _warm_up(self) -> None:
        """The first pass of a transformer takes long: not with somebody's deadline running."""
        for artifact in self._artifacts.values():
            if isinstance(artifact, Router):
                artifact.predict(["a first prompt"])
            else:
                artifact.rank(["a first question"], [["an answer", "another"]])


async def _by_artifact(
    asked: Sequence[_Asked], ask: Callable[[str, list[_Asked]], Awaitable[Sequence[Any]]]
) -> list[Any]:
    """The answers in the order of what was asked; an exception in the place of those whose artifact failed."""
    places: dict[str, list[int]] = defaultdict(list)
    for place, one in enumerate(asked):
        places[one.artifact].append(place)
    answers: list[Any] = [None] * len(asked)
    for artifact, mine in places.items():
        try:
            found = await ask(artifact, [asked[place] for place in mine])
        except Exception as error:  # noqa: BLE001 - it is raised for those who asked this artifact
            found = [error] * len(mine)
        for place, answer in zip(mine, found, strict=True):
            answers[place] = answer
    return answers


def _unwrapped(answer: _Answer | Exception) -> _Answer:
    if isinstance(answer, Exception):
        raise answer
    return answer


def _row(prediction: Prediction, place: int) -> Prediction:
    """One row of a prediction, as one of its own."""

    def cut(values: NDArray[Any] | None) -> NDArray[Any] | None:
        return None if values is None else np.array(values[place : place + 1])

    return Prediction(
        np.array(prediction.quality[place : place + 1]),
        large_needed=cut(prediction.large_needed),
        choice=cut(prediction.choice),
        novelty=cut(prediction.novelty),
        confidence=cut(prediction.confidence),
    )
