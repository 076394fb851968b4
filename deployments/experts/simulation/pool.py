"""Users of several simulated engines on one clock that is not the real one: for planning a pool, as fast as it can."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deployments.experts.simulation.engine import Engine, Step
from deployments.experts.simulation.engine import Sequence as Answer

__all__ = ["Call", "Served", "serve_users"]


class Call(NamedTuple):
    """One answer of one expert, which is a part of what a user waits for."""

    expert: str
    prompt_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Served:
    """What the users of a pool saw.

    Attributes:
        requests_per_s: requests a second; one that lies partly within the measured time counts for that part.
        latency_s: (n_requests,) from asking to the last token, of those that ended in the measured time.
    """

    requests_per_s: float
    latency_s: NDArray[np.float64]


class _User:
    """Waits for one call after the other, then asks anew."""

    def __init__(self, began_s: float, calls: Sequence[Call]) -> None:
        self.began_s = began_s
        self.calls = list(calls)


class _Pool:
    """The replicas of each expert, those that are at work in a heap by the end of their step."""

    def __init__(self, replicas: Mapping[str, Sequence[Engine]]) -> None:
        self._replicas = replicas
        self._busy: list[tuple[float, int, Engine, Step]] = []
        self._at_work: set[int] = set()
        self._order = itertools.count()
        self._users: dict[Answer, _User] = {}

    def ask(self, user: _User, now_s: float) -> None:
        """Hand a user's next call to the replica with the fewest under way."""
        call = user.calls.pop(0)
        engine = min(self._replicas[call.expert], key=lambda one: one.running + one.waiting)
        answer = Answer(call.prompt_tokens, call.output_tokens)
        self._users[answer] = user
        engine.submit(answer, now_s)
        if id(engine) not in self._at_work:
            self._step(engine, now_s)

    def next_ended(self) -> tuple[float, list[_User]]:
        """The end of the step that ends next, and the users whose call ended with it."""
        now_s, _, engine, step = heapq.heappop(self._busy)
        ended = [self._users.pop(answer) for answer in engine.finish_step(step, now_s)]
        self._at_work.discard(id(engine))
        self._step(engine, now_s)
        return now_s, ended

    def _step(self, engine: Engine, now_s: float) -> None:
        step = engine.start_step()
        if step is not None:
            self._at_work.add(id(engine))
            heapq.heappush(self._busy, (now_s + step.duration_s, next(self._order), engine, step))


def serve_users(
    replicas: Mapping[str, Sequence[Engine]],
    prompts: Sequence[Sequence[Call]],
    *,
    users: int,
    answers: int,
    seed: int = 0,
) -> Served:
    """Users who ask again as soon as they are answered, until so many answers were given after the first of each.

    Args:
        replicas: new engines by the expert that they run.
        prompts: what each prompt takes: calls one after the other, as of a cascade.
        users: requests under way at any time.
        answers: in the measured time, at least.
        seed: of the prompts' order.
    """
    chooser = random.Random(seed)
    pool = _Pool(replicas)
    for _ in range(users):
        pool.ask(_User(0.0, chooser.choice(prompts)), 0.0)
    ended: list[tuple[float, float]] = []
    # The first answer of each user is the warm-up; what is under way at the end has used a part of the measured time.
    while len(ended) < 2 * users + answers:
        now_s, waiting = pool.next_ended()
        for user in waiting:
            if not user.calls:
                ended.append((user.began_s, now_s))
                user = _User(now_s, chooser.choice(prompts))  # noqa: PLW2901 - the same user, a new question
            pool.ask(user, now_s)
    return _measured(np.array(ended), users, answers)


def _measured(ended: NDArray[np.float64], warmup: int, answers: int) -> Served:
    """Rates and latencies between the end of the warm-up and the last of the answers that count."""
    began, finished = ended.T
    from_s, until_s = finished[warmup - 1], finished[warmup + answers - 1]
    within_s = np.minimum(finished, until_s) - np.maximum(began, from_s)
    share = np.clip(within_s, 0.0, None) / (finished - began)
    measured = slice(warmup, warmup + answers)
    return Served(float(share.sum() / (until_s - from_s)), (finished - began)[measured])
