"""Continuous batching without a model and without a clock: what every step does, and for how long.

The scheduler is vLLM's (Kwon et al., PagedAttention, SOSP 2023; chunks of prompts after Agrawal et al., Sarathi, 2023):
first come, first served; a step gives one token to every decoding sequence, and what is left of its tokens goes to
prompts; when the cache is full, the sequence that was admitted last is sent back and computes everything anew later.
Different: the cache is counted in tokens, not blocks, a prompt is only admitted where all of it fits, and prefixes are
not shared.

Whoever drives the engine says what time it is, so the same code runs in real time and, for planning, as fast as it can.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from deployments.experts.simulation.timing import Capacity, Timing
from routers.errors import PointsmanError

__all__ = ["Engine", "QueueFullError", "Sequence", "Step"]


class QueueFullError(PointsmanError):
    """As many sequences wait as may."""


@dataclass(slots=True, eq=False)
class Sequence:
    """One answer under way.

    Attributes:
        prompt_tokens: of the prompt.
        output_tokens: of the whole answer, at least 1.
        submitted_s: when it was submitted.
        first_token_s: when its first token was there.
        finished_s: when its last token was there.
        preemptions: times that it was sent back.
    """

    prompt_tokens: int
    output_tokens: int
    submitted_s: float = 0.0
    first_token_s: float | None = None
    finished_s: float | None = None
    preemptions: int = 0
    # Tokens made before it was sent back, of the prompt (and those) still to be read, and the steps of its decoding.
    kept: int = 0
    unread: int = 0
    since_step: int = -1
    end_step: int = -1

    @property
    def to_read(self) -> int:
        """Tokens to read before the next one can be made."""
        return self.prompt_tokens + self.kept


@dataclass(slots=True)
class Step:
    """A step under way.

    Attributes:
        duration_s: how long it takes.
        decoding: sequences that get a token.
        prompt_tokens: tokens of prompts that are read.
        read: sequences whose prompt is read to its end, so that they get their first token too.
    """

    duration_s: float
    decoding: int
    prompt_tokens: int
    read: list[Sequence] = field(default_factory=list)


class Engine:
    """Call `submit`, then `start_step` and `finish_step` in turn.

    The cost of a step grows with what begins and ends in it, not with what runs.

    Args:
        timing: how long steps take.
        capacity: what fits.
    """

    def __init__(self, timing: Timing, capacity: Capacity) -> None:
        self.timing = timing
        self.capacity = capacity
        self.steps = 0
        self._waiting: deque[Sequence] = deque()
        self._reading: dict[Sequence, None] = {}
        self._admitted: dict[Sequence, None] = {}
        self._ends: dict[int, dict[Sequence, None]] = {}
        self._decoding = 0
        self._context_tokens = 0
        self._kv_tokens = 0

    @property
    def running(self) -> int:
        """Sequences that are admitted."""
        return len(self._admitted)

    @property
    def waiting(self) -> int:
        """Sequences that are not."""
        return len(self._waiting)

    @property
    def kv_tokens(self) -> int:
        """Tokens that the cache holds or has promised to hold."""
        return self._kv_tokens

    def submit(self, sequence: Sequence, now_s: float) -> None:
        """Queue a sequence.

        Raises:
            QueueFullError: as many wait as may.
        """
        limit = self.capacity.max_waiting
        if limit is not None and self.waiting >= limit and self._places() <= self.waiting:
            raise QueueFullError(f"{self.waiting} requests wait already: try again later, or raise max_waiting.")
        sequence.submitted_s = now_s
        sequence.unread = sequence.to_read
        self._waiting.append(sequence)

    def cancel(self, sequence: Sequence) -> None:
        """Forget a sequence, wherever it is; nothing happens to one that has ended."""
        if sequence in self._admitted:
            self._release(sequence)
        elif sequence.finished_s is None and sequence in self._waiting:
            self._waiting.remove(sequence)

    def generated(self, sequence: Sequence) -> int:
        """Tokens that a sequence has got so far."""
        if sequence.finished_s is not None:
            return sequence.output_tokens
        if sequence.since_step < 0:
            return sequence.kept
        return sequence.kept + self.steps - sequence.since_step + 1

    def start_step(self) -> Step | None:
        """Decide what the next step does; None if there is nothing to do."""
        while self._kv_tokens + self._decoding > self.capacity.kv_tokens:
            self._preempt()
        budget = self.capacity.max_step_tokens - self._decoding
        read: list[Sequence] = []
        begun = 0
        for sequence in self._reading:
            if budget == 0:
                break
            budget -= self._read_chunk(sequence, budget, read)
        while budget > 0 and self._admits_next():
            sequence = self._waiting.popleft()
            self._admitted[sequence] = self._reading[sequence] = None
            self._kv_tokens += sequence.to_read + 1
            begun += 1
            budget -= self._read_chunk(sequence, budget, read)
        prompt_tokens = self.capacity.max_step_tokens - self._decoding - budget
        if not self._decoding and not prompt_tokens:
            return None
        duration_s = self.timing.duration_s(
            decoding=self._decoding,
            prompt_tokens=prompt_tokens,
            context_tokens=self._context_tokens,
            begun=begun,
        )
        return Step(duration_s, self._decoding, prompt_tokens, read)

    def finish_step(self, step: Step, now_s: float) -> list[Sequence]:
        """Hand out the tokens of a step; returns the sequences that have got their last one."""
        self.steps += 1
        self._kv_tokens += self._decoding
        self._context_tokens += self._decoding
        ended = list(self._ends.get(self.steps, ()))
        for sequence in step.read:
            if sequence not in self._admitted:
                continue
            self._begin_decoding(sequence)
            if sequence.first_token_s is None:
                sequence.first_token_s = now_s
            if sequence.end_step == self.steps:
                ended.append(sequence)
        for sequence in ended:
            self._release(sequence)
            sequence.finished_s = now_s
        return ended

    def _places(self) -> int:
        return self.capacity.max_sequences - len(self._admitted)

    def _admits_next(self) -> bool:
        if not self._waiting or not self._places():
            return False
        # The token that follows the prompt has its place from the beginning, and those of this step need theirs.
        needed = self._waiting[0].to_read + 1 + self._decoding
        return self._kv_tokens + needed <= self.capacity.kv_tokens or not self._admitted

    def _read_chunk(self, sequence: Sequence, budget: int, read: list[Sequence]) -> int:
        chunk = min(budget, sequence.unread)
        sequence.unread -= chunk
        if sequence.unread == 0:
            read.append(sequence)
        return chunk

    def _begin_decoding(self, sequence: Sequence) -> None:
        del self._reading[sequence]
        sequence.since_step = self.steps
        sequence.end_step = self.steps + sequence.output_tokens - sequence.kept - 1
        self._ends.setdefault(sequence.end_step, {})[sequence] = None
        self._decoding += 1
        self._context_tokens += sequence.to_read + 1

    def _preempt(self) -> None:
        """Send back whom was admitted last; what it has made so far is read anew with its prompt."""
        sequence = next(reversed(self._admitted))
        made = self.generated(sequence)
        self._release(sequence)
        sequence.kept = made
        sequence.unread = sequence.to_read
        sequence.preemptions += 1
        self._waiting.appendleft(sequence)

    def _release(self, sequence: Sequence) -> None:
        del self._admitted[sequence]
        if sequence in self._reading:
            del self._reading[sequence]
            self._kv_tokens -= sequence.to_read + 1
            return
        held = sequence.prompt_tokens + self.generated(sequence)
        self._kv_tokens -= held
        self._context_tokens -= held
        self._decoding -= 1
        ending = self._ends[sequence.end_step]
        del ending[sequence]
        if not ending:
            del self._ends[sequence.end_step]
        sequence.since_step = -1
