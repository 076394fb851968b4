"""What every skill family of the exam is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

__all__ = ["LEVELS", "Draw", "Family", "Task"]

LEVELS = (1, 2, 3, 4, 5)

Draw = Callable[[Random, int], tuple[dict[str, object], str]]


@dataclass(frozen=True, slots=True)
class Task:
    """One exam question: its text, the only accepted answer, and where it comes from."""

    prompt: str
    answer: str
    family: str
    domain: str
    level: int


@dataclass(frozen=True, slots=True)
class Family:
    """A skill: `draw` makes the arguments and the answer, `phrasings` the words around them.

    `draw(rng, level)` returns the fields of the phrasings and the answer. A field named `phrasing`, if there
    is one, is itself a template and stands in for `phrasings` (where the wording depends on the task).
    `practice` gives the share of training tasks per level.
    """

    name: str
    domain: str
    draw: Draw
    phrasings: tuple[str, ...]
    practice: tuple[float, ...] = (0.2, 0.2, 0.2, 0.2, 0.2)

    def sample(self, rng: Random, level: int) -> Task:
        """Return one task of `level` (1 easiest, 5 hardest), determined by the state of `rng`."""
        fields, answer = self.draw(rng, level)
        template = str(fields.get("phrasing") or rng.choice(self.phrasings))
        return Task(template.format(**fields), answer, self.name, self.domain, level)
