"""Pairs of answers to one question, and which one is better."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from routers.answers.pairs import Pairs, text_codes

__all__ = ["Comparisons"]

IntArray = NDArray[np.int64]

_TIE = 1e-9


@dataclass(frozen=True, slots=True)
class Comparisons:
    """n comparisons of two different answers to the same question.

    Attributes:
        prompts: (n,) texts.
        first: (n,) texts of one answer.
        second: (n,) texts of the other.
        better: (n,) 1 where the first is better, 0 where the second is, 1/2 where both are as good.
        text: (n,) number of the prompt's text, from 0 on.
    """

    prompts: list[str]
    first: list[str]
    second: list[str]
    better: NDArray[np.float64]
    text: IntArray

    @classmethod
    def of(cls, pairs: Pairs, most: int, ties: float, seed: int) -> Comparisons:
        """Some comparisons of the answers to each question, drawn as two answers at random would meet.

        Args:
            pairs: different answers with their qualities.
            most: most comparisons of one question.
            ties: how many of equally good answers to take, as a share of all others; at least one where there is one,
                unless it is 0.
            seed: of the draws.
        """
        rng = np.random.default_rng(seed)
        decided: list[tuple[int, int]] = []
        equal: list[tuple[int, int]] = []
        for places in _by_text(pairs.text):
            met = np.array(list(combinations(places, 2)), dtype=np.int64).reshape(-1, 2)
            gap = np.abs(pairs.quality[met[:, 0]] - pairs.quality[met[:, 1]])
            decided += _drawn(met[gap > _TIE], pairs.count, most, rng)
            equal += _drawn(met[gap <= _TIE], pairs.count, most, rng)
        n_equal = min(max(round(ties * len(decided)), 1), len(equal)) if ties else 0
        kept = decided + [equal[place] for place in np.sort(rng.permutation(len(equal))[:n_equal])]
        return cls._between(pairs, kept)

    @classmethod
    def _between(cls, pairs: Pairs, places: list[tuple[int, int]]) -> Comparisons:
        quality = pairs.quality
        prompts = [pairs.prompts[one] for one, _ in places]
        gap = np.array([quality[one] - quality[other] for one, other in places], dtype=np.float64)
        return cls(
            prompts=prompts,
            first=[pairs.answers[one] for one, _ in places],
            second=[pairs.answers[other] for _, other in places],
            better=np.where(np.abs(gap) <= _TIE, 0.5, (gap > 0).astype(np.float64)),
            text=text_codes(prompts),
        )

    def __len__(self) -> int:
        """Number of comparisons."""
        return len(self.prompts)

    def part(self, chosen: NDArray[np.bool_]) -> Comparisons:
        """The comparisons that are chosen, (n,), with texts numbered anew."""
        places = np.flatnonzero(chosen)
        prompts, first, second = ([of[place] for place in places] for of in (self.prompts, self.first, self.second))
        return Comparisons(prompts, first, second, self.better[places], text_codes(prompts))

    def both_orders(self) -> Comparisons:
        """Each comparison, and right after it the same one the other way around: (2 n)."""
        twice = np.repeat(np.arange(len(self)), 2)
        turned = np.tile([False, True], len(self))
        first = [self.second[i] if turn else self.first[i] for i, turn in zip(twice, turned, strict=True)]
        second = [self.first[i] if turn else self.second[i] for i, turn in zip(twice, turned, strict=True)]
        better = np.where(turned, 1 - self.better[twice], self.better[twice])
        return Comparisons([self.prompts[i] for i in twice], first, second, better, self.text[twice])


def _by_text(text: IntArray) -> list[IntArray]:
    """Places of the rows of each text number."""
    order = np.argsort(text, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(text[order])) + 1)


def _drawn(met: IntArray, count: IntArray, most: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """At most so many of the pairs of places, (n, 2), in order; those more often that were given more often."""
    if len(met) > most:
        weight = count[met].prod(axis=1).astype(np.float64)
        met = met[np.sort(rng.choice(len(met), most, replace=False, p=weight / weight.sum()))]
    return [(int(one), int(other)) for one, other in met]
