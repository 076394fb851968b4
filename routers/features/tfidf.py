"""Numbers that describe a prompt's text: TF-IDF, nothing to download, well under a millisecond a prompt."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, pairwise
from math import log1p
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from routers.errors import DataError, NotFittedError
from routers.features.base import Features, Tensors, clip_text
from routers.features.hashed_terms import HashedTerms
from routers.features.hashing import SHAPE, Runs, word_hashes
from routers.features.rows import FloatArray, IntArray, SparseRows, side_by_side, stacked
from routers.features.tensors import checked_tensor
from routers.features.terms import Term, Tfidf, encode_terms, restore_terms

__all__ = ["TfidfFeatures"]

_WORD = re.compile(r"[^\W\d_]+|\d+")
_ASCII_WORD = re.compile(r"[a-z]+|[0-9]+")
_RUN = re.compile(r"a+|[^0Aa\s]|A+|0+")
_LONGEST_RUN = 16
_CLIP = 4.0
_FEW_CHARS = 300
"""In a text of fewer characters it takes less time to find terms by name than by hash."""
_ROUNDING = 1e-6
"""Spread up to which a count is taken for one that is always the same."""
_MANY_CHARS = 1 << 16
"""Texts of so many characters are enough at a time."""


_Found = tuple[IntArray, FloatArray, Sequence[float]]
"""Columns of a text's terms, their weights, and its counts but for its length."""


class TfidfFeatures(Features):
    """Features for telling hard prompts from easy ones: what is asked (words), of what size (shapes, counts).

    Three blocks side by side, each with weights of about the same size:

    - TF-IDF of words and word pairs, in which a number reads `#` and, a second time, its first digit and how many
      follow, so that `345 days` gives `#`, `# days`, `3__` and `3__ days`;
    - TF-IDF of shapes: runs of digits, capitals and small letters, in which every digit reads `0`, every
      capital `A` and every small letter `a`, and other characters as they are, alone and by twos and threes,
      so that `12 + 345` gives `00`, `+`, `000`, `00 +` and so on;
    - counts (`count_names`) as standardised logarithms, limited to four standard deviations.

    Args:
        max_terms: most words and pairs kept, and most shapes kept.
        min_documents: keep terms found in at least this many texts.
        max_chars: characters of a prompt that are read (first and last half of them in longer ones).
    """

    kind: ClassVar[str] = "tfidf"
    dense: bool = False

    count_names = (
        "characters",
        "words",
        "numbers",
        "digits",
        "longest number",
        "capitals",
        "longest capitals",
        "longest word",
        "other characters",
    )

    def __init__(
        self,
        max_terms: Annotated[int, Field(ge=1, le=1_000_000)] = 20_000,
        *,
        min_documents: Annotated[int, Field(ge=1)] = 2,
        max_chars: Annotated[int, Field(ge=2, le=1_000_000)] = 2048,
    ) -> None:
        self.max_terms = max_terms
        self.min_documents = min_documents
        self.max_chars = max_chars

    @property
    def n_features_(self) -> int:
        """Columns of the feature matrix."""
        return len(self._words.terms) + len(self._shapes.terms) + len(self.count_names)

    def fit(self, texts: Sequence[str], y: Any = None) -> Self:
        """Learn words, shapes and the scale of the counts from texts, (n_texts,); y is ignored.

        Raises:
            DataError: there are no texts.
        """
        if not len(texts):
            raise DataError("Features cannot be learned from no texts: give at least one prompt.")
        self._make_blocks()
        clipped = [clip_text(text, self.max_chars) for text in texts]
        self._words.fit(clipped)
        runs = [_runs(text) for text in clipped]
        self._shapes.fit(runs)
        counts = np.log1p([[len(text), *_counts(found)] for text, found in zip(texts, runs, strict=True)])
        spread = counts.std(axis=0)
        self._learned(np.stack([counts.mean(axis=0), np.where(spread > _ROUNDING, spread, 1.0)]).astype(np.float32))
        return self

    def transform(self, texts: Sequence[str]) -> SparseRows:
        """Features of texts, (n_texts, n_features_).

        Raises:
            NotFittedError: nothing has been learned or restored.
        """
        if not hasattr(self, "_scale"):
            raise NotFittedError("These TfidfFeatures know no words yet: call fit first.")
        clipped = [clip_text(text, self.max_chars) for text in texts]
        if len(texts) == 1:
            return self._row(texts[0], clipped[0])
        parts = list(_parts(clipped)) or [(0, 0)]
        return stacked([self._rows(texts[start:end], clipped[start:end]) for start, end in parts])

    def _row(self, text: str, clipped: str) -> SparseRows:
        """Features of one text, as decisions need them."""
        if len(clipped) < _FEW_CHARS:
            columns, weights, counts = self._by_name(clipped)
        else:
            columns, weights, counts = self._by_hash(clipped)
        scaled = [
            min(max((log1p(count) - mean) / spread, -_CLIP), _CLIP) / _CLIP
            for count, mean, spread in zip((len(text), *counts), *self._scale_of_one, strict=True)
        ]
        n_columns = self.n_features_
        columns = np.concatenate([columns, np.arange(n_columns - len(scaled), n_columns)])
        values = np.concatenate([weights, scaled], dtype=np.float32)
        return SparseRows(np.array([0, len(columns)]), columns, values, n_columns)

    def _by_name(self, clipped: str) -> _Found:
        """Terms by their names, which is how they are learned, and fast where they are few."""
        runs = _runs(clipped)
        words, word_weights = self._words.weights(clipped)
        shapes, shape_weights = self._shapes.weights(runs)
        n_words = len(self._words.terms)
        columns = np.array([*words, *[n_words + shape for shape in shapes]], dtype=np.int64)
        return columns, np.array([*word_weights, *shape_weights], dtype=np.float32), _counts(runs)

    def _by_hash(self, clipped: str) -> _Found:
        """Terms by their hashes, which are found in a few steps of numpy however many they are."""
        runs = Runs.of([clipped])
        hashes = np.concatenate([word_hashes([clipped])[0], runs.hashes()[0]])
        return *self._hashed.row(hashes), runs.counts()[0].tolist()

    def _rows(self, texts: Sequence[str], clipped: Sequence[str]) -> SparseRows:
        """Features of several texts at once, by the hashes of their terms."""
        runs = Runs.of(clipped)
        counts = np.empty((len(texts), len(self.count_names)), dtype=np.float32)
        counts[:, 0], counts[:, 1:] = [len(text) for text in texts], runs.counts()
        (words, word_places), (shapes, shape_places) = word_hashes(clipped), runs.hashes()
        hashes, places = np.concatenate([words, shapes]), np.concatenate([word_places, shape_places])
        return side_by_side(self._hashed.rows(hashes, places, len(texts)), self._scaled(np.log1p(counts)))

    def _scaled(self, counts: FloatArray) -> FloatArray:
        scaled = (counts - self._scale[0]) / self._scale[1]
        limited: FloatArray = np.minimum(np.maximum(scaled, -_CLIP), _CLIP) / np.float32(_CLIP)
        return limited

    def tensors(self) -> Tensors:
        """The learned state, for saving."""
        return {
            "words": encode_terms(self._words.terms),
            "words_idf": self._words.idf,
            "shapes": encode_terms(self._shapes.terms),
            "shapes_idf": self._shapes.idf,
            "scale": self._scale,
        }

    def restore(self, tensors: Mapping[str, NDArray[Any]]) -> Self:
        """Take the state that `tensors` gave.

        Raises:
            ArtifactError: a tensor is missing or of the wrong type or shape.
        """
        self._make_blocks()
        restore_terms(self._words, tensors, "words", "words_idf")
        restore_terms(self._shapes, tensors, "shapes", "shapes_idf")
        self._learned(checked_tensor(tensors, "scale", np.float32, (2, len(self.count_names))))
        return self

    def _learned(self, scale: FloatArray) -> None:
        """Take the mean and the spread of the counts' logarithms, (2, n_counts), and make the terms ready."""
        self._scale = scale
        self._scale_of_one: list[list[float]] = scale.tolist()
        self._hashed = HashedTerms([(self._words, 0), (self._shapes, SHAPE)])

    def _make_blocks(self) -> None:
        limits: dict[str, Any] = {
            "min_documents": self.min_documents,
            "max_terms": self.max_terms,
            "sublinear": True,
        }
        self._words = Tfidf(_word_terms, **limits)
        self._shapes = Tfidf(_shape_terms, **limits)


def _parts(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Where parts of the texts start and end, which need little memory at a time."""
    start = n_chars = 0
    for place, text in enumerate(texts):
        n_chars += len(text)
        if n_chars >= _MANY_CHARS or place == len(texts) - 1:
            yield start, place + 1
            start, n_chars = place + 1, 0


def _word_terms(text: str) -> Iterable[Term]:
    low = text.lower()
    words = (_ASCII_WORD if low.isascii() else _WORD).findall(low)
    numbers = [place for place, word in enumerate(words) if word[0].isdigit()]
    if not numbers:
        return chain(words, pairwise(words))
    sized = words.copy()
    for place in numbers:
        number = words[place]
        sized[place] = number[0] + "_" * (len(number[:_LONGEST_RUN]) - 1)
        words[place] = "#"
    beside = sorted({place for number in numbers for place in (number - 1, number)} - {-1, len(words) - 1})
    with_numbers = [(sized[place], sized[place + 1]) for place in beside]
    return chain(words, pairwise(words), [sized[place] for place in numbers], with_numbers)


def _shape_terms(runs: list[str]) -> Iterable[Term]:
    ones = runs if len(max(runs, key=len, default="")) <= _LONGEST_RUN else [run[:_LONGEST_RUN] for run in runs]
    return chain(ones, pairwise(ones), zip(ones, ones[1:], ones[2:], strict=False))


class _Fold(dict[int, int]):
    """Translation table: digits to 0, capitals to A, other letters to a, spaces to a blank."""

    def __missing__(self, code: int) -> int:
        character = chr(code)
        if character.isdigit():
            return ord("0")
        if character.isalpha():
            return ord("A") if character.isupper() else ord("a")
        return ord(" ") if character.isspace() else code


_FOLD = _Fold({code: _Fold()[code] for code in range(0x500)})


def _runs(text: str) -> list[str]:
    return _RUN.findall(text.translate(_FOLD))


def _counts(runs: list[str]) -> list[int]:
    """`TfidfFeatures.count_names` but the first."""
    words = numbers = digits = longest_number = capitals = longest_capitals = longest_word = others = 0
    for run, n in Counter(runs).items():
        kind, length = run[0], len(run)
        if kind == "0":
            numbers, digits, longest_number = numbers + n, digits + n * length, max(longest_number, length)
        elif kind == "A":
            words, capitals, longest_capitals = words + n, capitals + n * length, max(longest_capitals, length)
        elif kind == "a":
            words, longest_word = words + n, max(longest_word, length)
        else:
            others += n
    return [words, numbers, digits, longest_number, capitals, longest_capitals, longest_word, others]
