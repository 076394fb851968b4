"""The terms of many texts at once, as 64-bit hashes: what `tfidf` finds by name, in a few steps of numpy for all.

A piece (a word, or a run of a shape) of characters c_0, c_1, ... has the hash c_0 + c_1 B + c_2 B^2 + ... modulo 2^64,
and a term of several pieces the like polynomial of their hashes. Known terms are checked to have different hashes
(`KeyTable`). That any of m unknown terms is taken for one of n known ones has a probability of about n m / 2^64: of a
long prompt with a thousand terms and 40,000 known ones, 2 in a million million, and its features would hardly change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from routers.features.rows import FloatArray, IntArray

__all__ = ["SHAPE", "HashArray", "Runs", "changes", "sizes", "term_hashes", "word_hashes"]

HashArray = NDArray[np.uint64]

SHAPE = 0x8EBC6AF09C88C6E3
"""Added to the hash of every piece of a shape, so that a shape is no word."""

_B = np.uint64(0xD6E8FEB86659FD93)
_C = np.uint64(0xA0761D6478BD642F)
_LONGEST = 16
"""Characters of a number or run beyond which longer ones are not told apart."""
_REPEATED = np.array([sum(pow(int(_B), i, 2**64) for i in range(n)) % 2**64 for n in range(_LONGEST + 1)], np.uint64)
"""Hash of so many characters 1."""

_TERMS_AT_ONCE = 1024
"""Of few terms at a time the powers of B that are needed are few too, and are kept for prompts."""

_OTHER, _LETTER, _DIGIT, _BETWEEN = range(4)
"""What words are made of; the last stands between texts."""
_KINDS = 3
_NUMBER = 4
"""Added for characters that make a word a number when it starts with them."""

_DIGITS, _CAPITALS, _SMALL, _BLANK = range(4)
"""What runs are made of; other characters, which are no runs, are `_BLANK` + 1 + their code point."""
_LETTERS = np.array([ord("0"), ord("A"), ord("a"), 0], dtype=np.uint64)
_END = 2**30


class _Characters:
    """What characters are taken for.

    Args:
        read: what a character is taken for.
        dtype: of the answers.
    """

    def __init__(self, read: Callable[[str], int], dtype: type[np.integer[Any]]) -> None:
        self._read = read
        self._common = np.array([read(chr(code)) for code in range(0x500)], dtype=dtype)

    def __call__(self, codes: NDArray[np.uint32]) -> NDArray[Any]:
        """What each of these code points is taken for."""
        found = self._common.take(codes, mode="clip")
        rare = np.flatnonzero(codes >= len(self._common))
        if len(rare):
            found[rare] = [self._read(chr(code)) for code in codes[rare].tolist()]
        return found


def _in_words(character: str) -> int:
    kind = _DIGIT if character.isdecimal() else _LETTER if character.isalnum() else _OTHER
    return kind + (_NUMBER if character.isdigit() else 0)


def _in_runs(character: str) -> int:
    if character.isdigit():
        return _DIGITS
    if character.isalpha():
        return _CAPITALS if character.isupper() else _SMALL
    return _BLANK if character.isspace() else _BLANK + 1 + ord(character)


_IN_WORDS = _Characters(_in_words, np.uint8)
_IN_RUNS = _Characters(_in_runs, np.int32)


def word_hashes(texts: Sequence[str]) -> tuple[HashArray, IntArray]:
    """The words and word pairs of texts as `TfidfFeatures` says, and the place of the text each is in, (n,) each.

    Pairs across two texts are there too, which no term is equal to.
    """
    codes, ends = _code_points([text.lower() for text in texts])
    kinds = _IN_WORDS(codes)
    kinds[ends] = _BETWEEN
    made_of = kinds & _KINDS
    starts_word = changes(made_of)
    starts_word[ends] = True
    starts = np.flatnonzero(starts_word)
    kept = np.flatnonzero(made_of.take(starts))
    lengths = sizes(starts, len(codes)).take(kept)
    starts = starts.take(kept)
    words = _hashes(codes, starts, starts + lengths)
    first = kinds.take(starts)
    place = _places(first == _BETWEEN)
    numbers = np.flatnonzero(first & _NUMBER)
    if not len(numbers):
        return np.concatenate([words, _pairs(words)]), np.concatenate([place, place[:-1]])
    sized = words
    words = words.copy()
    words[numbers] = ord("#")
    more = _REPEATED.take(lengths.take(numbers), mode="clip") - np.uint64(1)
    sized[numbers] = codes.take(starts.take(numbers)) + more * np.uint64(ord("_"))
    is_number = (first & _NUMBER).astype(bool)
    beside = np.flatnonzero(is_number[:-1] | is_number[1:])
    found = [words, _pairs(words), sized.take(numbers), _pairs(sized).take(beside)]
    return np.concatenate(found), np.concatenate([place, place[:-1], place.take(numbers), place.take(beside)])


@dataclass(frozen=True, slots=True)
class Runs:
    """Runs of digits, of capitals and of small letters in texts, and single other characters; spaces are left out.

    Attributes:
        n_texts: number of texts.
        kind: (n_runs,) what each is made of. One more run after those of each text stands for its end.
        length: (n_runs,) characters.
        place: (n_runs,) place of the text that it is in.
    """

    n_texts: int
    kind: IntArray
    length: IntArray
    place: IntArray

    @classmethod
    def of(cls, texts: Sequence[str]) -> Self:
        """The runs of texts."""
        codes, ends = _code_points(texts)
        made_of = _IN_RUNS(codes)
        made_of[ends] = _END
        starts = np.flatnonzero(changes(made_of) | (made_of > _BLANK))
        kind = made_of.take(starts).astype(np.int64)
        kept = np.flatnonzero(kind != _BLANK)
        kind = kind.take(kept)
        return cls(len(texts), kind, sizes(starts, len(codes)).take(kept), _places(kind == _END))

    def counts(self) -> FloatArray:
        """Words, numbers, digits, longest number, capitals, longest capitals, longest word and others, (n_texts, 8)."""
        shape = self.n_texts, _BLANK + 1
        cell = self.place * shape[1] + np.minimum(self.kind, _BLANK)
        n_runs = np.bincount(cell, minlength=self.n_texts * shape[1]).reshape(shape)
        total = np.bincount(cell, self.length, minlength=n_runs.size).reshape(shape)
        longest = np.zeros(n_runs.size, dtype=np.int64)
        np.maximum.at(longest, cell, self.length)
        longest = longest.reshape(shape)
        counts = np.empty((self.n_texts, 8), dtype=np.float32)
        counts[:, 0] = n_runs[:, _CAPITALS] + n_runs[:, _SMALL]
        counts[:, 1] = n_runs[:, _DIGITS]
        counts[:, 2:6:2] = total[:, : _CAPITALS + 1]
        counts[:, 3:6:2] = longest[:, : _CAPITALS + 1]
        counts[:, 6] = longest[:, _SMALL]
        counts[:, 7] = n_runs[:, _BLANK] - 1
        return counts

    def hashes(self) -> tuple[HashArray, IntArray]:
        """The runs alone, by twos and by threes, and the place of the text each is in, (n,) each."""
        runs = _LETTERS.take(self.kind, mode="clip") * _REPEATED.take(self.length, mode="clip")
        others = np.maximum(self.kind - (_BLANK + 1), 0).view(np.uint64)
        ones = runs + others + np.uint64(SHAPE)
        twos = _pairs(ones)
        threes = twos[:-1] * _C + ones[2:]
        places = [self.place, self.place[: len(twos)], self.place[: len(threes)]]
        return np.concatenate([ones, twos, threes]), np.concatenate(places)


def term_hashes(terms: Sequence[str], added: int = 0) -> HashArray:
    """Hashes of terms by their names, with so much added to the hash of each piece, (n_terms,)."""
    parts = [terms[start : start + _TERMS_AT_ONCE] for start in range(0, len(terms), _TERMS_AT_ONCE)]
    return np.concatenate([np.zeros(0, dtype=np.uint64), *(_term_hashes(part, np.uint64(added)) for part in parts)])


def _term_hashes(terms: Sequence[str], added: np.uint64) -> HashArray:
    codes, ends = _code_points(terms)
    ends_piece = codes == ord(" ")
    ends_piece[ends] = True
    stops = np.flatnonzero(ends_piece)
    pieces = _hashes(codes, np.append(0, stops[:-1] + 1), stops) + added
    last = np.searchsorted(stops, ends)
    first = np.append(0, last[:-1] + 1)
    hashes: HashArray = pieces[first]
    for nth in range(1, int((last - first).max()) + 1):
        longer = np.flatnonzero(last - first >= nth)
        hashes[longer] = hashes[longer] * _C + pieces[first[longer] + nth]
    return hashes


def _code_points(texts: Sequence[str]) -> tuple[NDArray[np.uint32], IntArray]:
    """Code points of texts, one more after each, and the places of these."""
    joined = "".join([f"{text}\n" for text in texts])
    codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    return codes, np.array([len(text) + 1 for text in texts], dtype=np.int64).cumsum() - 1


def changes(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether each value differs from the one before; the first does."""
    changed = np.empty(len(values), dtype=bool)
    changed[:1] = True
    np.not_equal(values[1:], values[:-1], out=changed[1:])
    return changed


def sizes(starts: IntArray, end: int) -> IntArray:
    """How far it is from each start to the next, and from the last one to the end, in less time than by `np.diff`."""
    found = np.empty(len(starts), dtype=np.int64)
    np.subtract(starts[1:], starts[:-1], out=found[:-1])
    found[-1:] = end - starts[-1:]
    return found


def _places(is_end: NDArray[np.bool_]) -> IntArray:
    """The place of the text of each of what texts consist of, by what their last are."""
    places: IntArray = np.cumsum(is_end) - is_end
    return places


def _pairs(hashes: HashArray) -> HashArray:
    return hashes[:-1] * _C + hashes[1:]


def _hashes(codes: NDArray[np.uint32], starts: IntArray, stops: IntArray) -> HashArray:
    """Hashes of the pieces from these starts to these stops."""
    powers, inverse = _powers(len(codes).bit_length())
    before = np.empty(len(codes) + 1, dtype=np.uint64)
    before[0] = 0
    np.multiply(codes, powers[: len(codes)]).cumsum(out=before[1:])
    found: HashArray = (before.take(stops) - before.take(starts)) * inverse.take(starts)
    return found


@cache
def _powers(bits: int) -> tuple[HashArray, HashArray]:
    """B^i and B^-i for i below 2^bits."""
    both = []
    for base in (int(_B), pow(int(_B), -1, 2**64)):
        steps = np.full(1 << bits, base, dtype=np.uint64)
        steps[0] = 1
        both.append(np.cumprod(steps))
    return both[0], both[1]
