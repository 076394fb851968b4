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

FloatArray = NDArray[np.float64]


class Call(NamedTuple):
    """One answer of one expert, which is a part of what a user waits for."""

    expert: str
    prompt_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Served:
    """What the users of a pool saw, on the engines' clock, which begins when all users ask at once.

    Attributes:
        began_s: (n_requests,) when each was asked.
        ended_s: (n_requests,) when each had its last token.
    """

    began_s: FloatArray
    ended_s: FloatArray

    def requests_per_s(self, from_s: float, until_s: float) -> float:
        """Requests a second between two times; one that lies partly within them counts for that part."""
        within_s = np.minimum(self.ended_s, until_s) - np.maximum(self.began_s, from_s)
        share = np.clip(within_s, 0.0, None) / (self.ended_s - self.began_s)
        return float(share.sum() / (until_s - from_s))

    def latency_s(self, from_s: float, until_s: float) -> FloatArray:
        """From asking to the last token, of those that ended between two times, (n,)."""
        ended = (self.ended_s >= from_s) & (self.ended_s < until_s)
        return (self.ended_s - self.began_s)[ended]


class _User:
    """Waits for one call after the other, then asks anew."""

    def __init__(self, began_s: float, calls: Sequence[Call]) -> None:
        self.began_s = began_s
        self.calls = list(calls)


class _Pool:
    """The replicas of each expert, those that are at work in a heap by the end of their step."""

    def __init__(self, replicas: Mapping[str, Sequence[Engine]]) -> None:
        self._replicas = replicas
        self._at_work: list[tuple[float, int, Engine, Step]] = []
        self._idle = {id(engine) for of in replicas.values() for engine in of}
        self._to_start: list[Engine] = []
        self._order = itertools.count()
        self._users: dict[Answer, _User] = {}

    @property
    def busy(self) -> bool:
        """Whether anything is under way."""
        return bool(self._at_work)

    def ask(self, user: _User, now_s: float) -> None:
        """Hand a user's next call to the replica with the fewest under way."""
        call = user.calls.pop(0)
        engine = min(self._replicas[call.expert], key=lambda one: one.running + one.waiting)
        answer = Answer(call.prompt_tokens, call.output_tokens)
        self._users[answer] = user
        engine.submit(answer, now_s)
        if id(engine) in self._idle:
            self._idle.discard(id(engine))
            self._to_start.append(engine)

    def start(self, now_s: float) -> None:
        """Begin the next step of every engine that has ended one, or was asked while it was idle."""
        for engine in self._to_start:
            step = engine.start_step()
            if step is None:
                self._idle.add(id(engine))
            else:
                heapq.heappush(self._at_work, (now_s + step.duration_s, next(self._order), engine, step))
        self._to_start.clear()

    def next_ended(self) -> tuple[float, list[_User]]:
        """The end of the step that ends next, and the users whose call ended with it."""
        now_s, _, engine, step = heapq.heappop(self._at_work)
        self._to_start.append(engine)
        return now_s, [self._users.pop(answer) for answer in engine.finish_step(step, now_s)]


def serve_users(
    replicas: Mapping[str, Sequence[Engine]],
    prompts: Sequence[Sequence[Call]],
    *,
    users: int,
    until_s: float,
    seed: int = 0,
) -> Served:
    """Users who ask again as soon as they are answered, and then wait for what is under way.

    Args:
        replicas: new engines by the expert that they run.
        prompts: what each prompt takes: calls one after the other, as of a cascade.
        users: requests under way at any time.
        until_s: when users stop asking.
        seed: of the prompts' order.
    """
    chooser = random.Random(seed)
    pool = _Pool(replicas)
    for _ in range(users):
        pool.ask(_User(0.0, chooser.choice(prompts)), 0.0)
    pool.start(0.0)
    seen: list[tuple[float, float]] = []
    while pool.busy:
        now_s, waiting = pool.next_ended()
        for user in waiting:
            if user.calls:
                pool.ask(user, now_s)
                continue
            seen.append((user.began_s, now_s))
            if now_s < until_s:
                pool.ask(_User(now_s, chooser.choice(prompts)), now_s)
        pool.start(now_s)
    began_s, ended_s = np.array(seen).T
    return Served(began_s, ended_s)
