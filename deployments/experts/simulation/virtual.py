"""Users of an engine on its own clock, the sum of its steps: of a simulated one as many as wanted, in a moment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from deployments.experts.simulation.engine import Sequence

__all__ = ["Seen", "Stepping", "closed_loop"]

FloatArray = NDArray[np.float64]


class Stepping(Protocol):
    """What an engine must do to be driven step by step, be it simulated or real."""

    def submit(self, sequence: Sequence, now_s: float) -> None:
        """Queue a sequence."""

    def start_step(self) -> Any:
        """A step, whose `duration_s` says how long it takes; None if there is nothing to do."""

    def finish_step(self, step: Any, now_s: float) -> list[Sequence]:
        """Hand out the tokens of a step; returns the sequences that have got their last one."""
        ...


@dataclass(frozen=True, slots=True)
class Seen:
    """What the users of an engine saw.

    Attributes:
        requests_per_s: answers a second; one that lies partly within the measured time counts for that part.
        first_token_s: (n_answers,) from asking to the first token.
        latency_s: (n_answers,) from asking to the last token.
    """

    requests_per_s: float
    first_token_s: FloatArray
    latency_s: FloatArray


def closed_loop(
    engine: Stepping, *, users: int, prompt_tokens: int, output_tokens: int, answers_each: int = 8, warmup_each: int = 2
) -> Seen:
    """Users who ask again as soon as they are answered.

    Args:
        engine: a new engine.
        users: requests under way at any time.
        prompt_tokens: of every prompt.
        output_tokens: of every answer.
        answers_each: answers for each user in the measured time, on average.
        warmup_each: answers for each user before it.
    """
    # Those that are under way at the end of the measured time have used a part of it, so they are waited for too.
    ended = list(_answers(engine, users, prompt_tokens, output_tokens, users * (warmup_each + answers_each + 1)))
    submitted = np.array([sequence.submitted_s for sequence in ended])
    first = np.array([sequence.first_token_s or 0.0 for sequence in ended])
    finished = np.array([sequence.finished_s or 0.0 for sequence in ended])
    measured = slice(users * warmup_each, users * (warmup_each + answers_each))
    from_s, until_s = finished[measured.start - 1], finished[measured.stop - 1]
    within_s = np.minimum(finished, until_s) - np.maximum(submitted, from_s)
    share = np.clip(within_s, 0.0, None) / (finished - submitted)
    return Seen(
        requests_per_s=float(share.sum() / (until_s - from_s)),
        first_token_s=(first - submitted)[measured],
        latency_s=(finished - submitted)[measured],
    )


def _answers(engine: Stepping, users: int, prompt_tokens: int, output_tokens: int, count: int) -> Iterator[Sequence]:
    now_s = 0.0
    for _ in range(users):
        engine.submit(Sequence(prompt_tokens, output_tokens), now_s)
    given = 0
    while given < count:
        step = engine.start_step()
        assert step is not None  # noqa: S101 (every user waits for an answer)
        now_s += step.duration_s
        for sequence in engine.finish_step(step, now_s):
            given += 1
            yield sequence
            engine.submit(Sequence(prompt_tokens, output_tokens), now_s)
