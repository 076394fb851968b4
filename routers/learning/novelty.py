"""How unlike the training data a prompt is: words nobody used there, and features that do not look like theirs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from routers.errors import ArtifactError
from routers.features import FloatArray, Rows, SparseRows, Tensors, checked_tensor, clip_text, right_singular_vectors
from routers.features.tensors import checked_lines
from routers.features.terms import decode_terms, encode_terms

__all__ = ["NoveltyModel", "novelty_words"]

_WORD = re.compile(r"\d+|[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]|[^\W\d_]+")
_LETTERS = bytes.maketrans(
    bytes(range(128)), bytes(ord(chr(i).lower()) if chr(i).isalpha() else 32 for i in range(128))
)
_DIGITS = bytes.maketrans(bytes(range(128)), bytes(i if chr(i).isdigit() else 32 for i in range(128)))
_MAX_CHARS = 2048
_MOST_WORDS = 200_000
_LEAST_PROMPTS = 2
_LEAST_UNKNOWN = 0.2
_LEAST = 1e-6
_STATISTICS = 3


class NoveltyModel:
    """Three statistics of a prompt; 1.0 is the edge of the training data.

    - T^2 says how far its features lie from the training data within the directions these vary in;
    - Q says how much of its features lies outside of these directions (Jackson and Mudholkar, Technometrics 21,
      1979; process monitoring calls the pair Hotelling's T^2 and the Q residual);
    - the share of its words that fewer than two training prompts have, 1 where it has no word. Features of unit
      length cannot show this: of a prompt in another language they keep the few terms they know, at full length.

    Each is divided by the value that the share `quantile` of the training prompts keeps to, the largest counts, and is
    divided once more so that the same share keeps to 1.0 in all three together. A training prompt does not vouch for
    its own words: they are known where two *others* have them. The limit of the share of unknown words is at least
    0.2, so that one new name is not novel where the training data has none.

    Unlike in the paper the components are of the uncentred data, so that sparse rows stay sparse, and the limits are
    empirical.

    Args:
        n_components: directions kept, or fewer where there are fewer.
        quantile: share of the training prompts within the edge.
        seed: of the randomised SVD.

    Attributes:
        words_: the known words, at most 200,000.
    """

    def __init__(self, n_components: int = 16, quantile: float = 0.99, seed: int = 0) -> None:
        self.n_components = n_components
        self.quantile = quantile
        self.seed = seed

    def fit(self, rows: Rows, texts: Sequence[str]) -> Self:
        """Learn from training prompts, n >= 1: their features (n, n_features), and they themselves, (n,)."""
        components = right_singular_vectors(rows, self.n_components, self.seed)
        along = rows @ components
        center, spread = along.mean(axis=0), np.maximum(along.std(axis=0), 1e-3)
        self._set(components, np.stack([center, spread]).astype(np.float32), np.ones(_STATISTICS, np.float32))
        unknown = self._learn_words(texts)
        raw = np.column_stack([self._distances(rows), unknown])
        least = np.array([_LEAST, _LEAST, _LEAST_UNKNOWN])
        limits = np.maximum(np.quantile(raw, self.quantile, axis=0), least)
        joint = float(np.quantile((raw / limits).max(axis=1), self.quantile))
        self._set(components, self.center_, (limits * max(joint, 1.0)).astype(np.float32))
        return self

    def score(self, rows: Rows, texts: Sequence[str]) -> FloatArray:
        """Novelty of prompts: of their features (n, n_features), and of themselves, (n,). Gives (n,) float32 >= 0."""
        unknown = [self._unknown(text) for text in texts]
        if len(unknown) == 1:
            return np.array([self._score_one(rows, unknown[0])], dtype=np.float32)
        raw = np.column_stack([self._distances(rows), np.array(unknown, dtype=np.float32)])
        novelty: FloatArray = (raw / self.limits_).max(axis=1, initial=0.0).astype(np.float32)
        return novelty

    def tensors(self) -> Tensors:
        """The learned state, for saving."""
        return {
            "novelty.components": self.components_,
            "novelty.center": self.center_,
            "novelty.limits": self.limits_,
            "novelty.words": encode_terms(sorted(self.words_)),
        }

    def restore(self, tensors: Mapping[str, NDArray[Any]], n_features: int) -> Self:
        """Take the state that `tensors` gave.

        Raises:
            ArtifactError: a tensor is missing or of the wrong type, shape or range.
        """
        components = checked_tensor(tensors, "novelty.components", np.float32, (n_features, None))
        center = checked_tensor(tensors, "novelty.center", np.float32, (2, components.shape[1]))
        limits = checked_tensor(tensors, "novelty.limits", np.float32, (_STATISTICS,))
        self.words_ = frozenset(decode_terms(checked_lines(tensors, "novelty.words")))
        if (limits <= 0).any() or (center[1] <= 0).any():
            raise ArtifactError("The router's measure of novelty has no positive scale: train and save it again.")
        self._set(components, center, limits)
        return self

    def _set(self, components: FloatArray, center: FloatArray, limits: FloatArray) -> None:
        self.components_ = components
        self.center_ = center
        self.limits_ = limits
        self._limits = tuple(map(float, limits))

    def _learn_words(self, texts: Sequence[str]) -> list[float]:
        """Learn the known words; the share of each training prompt's words that others do not make known."""
        words = [novelty_words(text) for text in texts]
        prompts = Counter(word for found in words for word in set(found))
        ranked = sorted((word for word, n in prompts.items() if n >= _LEAST_PROMPTS), key=lambda w: (-prompts[w], w))
        self.words_ = frozenset(ranked[:_MOST_WORDS])
        by_others = {word for word in self.words_ if prompts[word] > _LEAST_PROMPTS}
        return [_share_outside(found, by_others) for found in words]

    def _unknown(self, text: str) -> float:
        text = clip_text(text, _MAX_CHARS)
        if not text.isascii():
            return _share_outside(_words(text), self.words_)
        # The same without a regular expression takes half of the time.
        read = text.encode()
        words = read.translate(_LETTERS).decode().split()
        n_numbers = len(read.translate(_DIGITS).split())
        n_known = sum(map(self.words_.__contains__, words)) + ("#" in self.words_) * n_numbers
        n_words = len(words) + n_numbers
        return (n_words - n_known) / n_words if n_words else 1.0

    def _distances(self, rows: Rows) -> FloatArray:
        """T^2 and Q of each row, (n, 2)."""
        along = rows @ self.components_
        t2 = (((along - self.center_[0]) / self.center_[1]) ** 2).mean(axis=1)
        left = np.maximum(_squared_length(rows) - (along**2).sum(axis=1), 0.0)
        return np.stack([t2, left], axis=1).astype(np.float32)

    def _score_one(self, rows: Rows, unknown: float) -> float:
        """The same for a single prompt, without the cost of numpy's general routes."""
        if isinstance(rows, SparseRows):
            values = rows.values
            along = (rows @ self.components_)[0]
        else:
            values = rows[0]
            along = values @ self.components_
        scaled = (along - self.center_[0]) / self.center_[1]
        t2 = float(scaled @ scaled) / len(scaled)
        left = max(float(values @ values) - float(along @ along), 0.0)
        limits = self._limits
        return max(t2 / limits[0], left / limits[1], unknown / limits[2])


def novelty_words(text: str) -> list[str]:
    """Words of a text in small letters, numbers all as `#`; Chinese characters and kana one by one."""
    return ["#" if word[0].isdigit() else word for word in _words(clip_text(text, _MAX_CHARS))]


def _words(text: str) -> list[str]:
    """The same of all of a text, with numbers as they are."""
    return _WORD.findall(text.lower())


def _share_outside(words: Sequence[str], known: frozenset[str] | set[str]) -> float:
    """Share of the words that are not known, where a known `#` stands for every number."""
    outside = [word for word in words if word not in known]
    if "#" in known:
        outside = [word for word in outside if not word[0].isdigit()]
    return len(outside) / len(words) if words else 1.0


def _squared_length(rows: Rows) -> FloatArray:
    if isinstance(rows, SparseRows):
        return rows.squared_lengths()
    squared: FloatArray = np.einsum("ij,ij->i", rows, rows)
    return squared
