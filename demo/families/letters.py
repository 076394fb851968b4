"""Letters: reversing, sorting and shifting along the alphabet. Arguments are upper case."""

from __future__ import annotations

from random import Random
from string import ascii_uppercase as ALPHABET

from demo.families.base import Family

__all__ = ["FAMILIES"]

_DOMAIN = "letters"
_LENGTHS = (2, 3, 4, 6, 7)
_SHIFTS = ((1, 1, 1), (2, 1, 1), (2, 1, 3), (3, 2, 5), (4, 2, 6))


def _word(rng: Random, length: int) -> str:
    return "".join(rng.choices(ALPHABET, k=length))


def _reverse(rng: Random, level: int) -> tuple[dict[str, object], str]:
    word = _word(rng, _LENGTHS[level - 1])
    return {"w": word}, word[::-1]


def _sort(rng: Random, level: int) -> tuple[dict[str, object], str]:
    word = _word(rng, _LENGTHS[level - 1])
    return {"w": word}, "".join(sorted(word))


def _shift(rng: Random, level: int) -> tuple[dict[str, object], str]:
    length, least, most = _SHIFTS[level - 1]
    word, places = _word(rng, length), rng.randint(least, most)
    shifted = "".join(ALPHABET[(ALPHABET.index(letter) + places) % 26] for letter in word)
    return {"w": word, "k": places}, shifted


FAMILIES = (
    Family(
        "reverse",
        _DOMAIN,
        _reverse,
        (
            "reverse the letters {w}",
            "write the letters {w} backwards",
            "read the letters {w} from the end",
            "turn the letters {w} around",
        ),
    ),
    Family(
        "sort",
        _DOMAIN,
        _sort,
        (
            "sort the letters {w}",
            "put the letters {w} in alphabetical order",
            "sort alphabetically the letters {w}",
            "arrange the letters {w} from a to z",
        ),
    ),
    Family(
        "shift",
        _DOMAIN,
        _shift,
        (
            "shift the letters {w} by {k}",
            "move the letters {w} on by {k}",
            "shift by {k} the letters {w}",
            "move by {k} places the letters {w}",
            "shift each of the letters {w} by {k}",
            "advance the letters {w} by {k}",
            "advance by {k} the letters {w}",
            "push the letters {w} on by {k} places",
        ),
    ),
)
