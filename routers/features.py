"""Numbers that describe a prompt's text: TF-IDF, nothing to download, well under a millisecond a prompt."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from routers.errors import ArtifactError, DataError, NotFittedError
from routers.estimator import Estimator
from routers.tfidf import SparseRow, Tfidf, decode_terms, encode_terms, stack_rows

__all__ = ["ClusterFeatures", "TfidfFeatures", "checked_tensor", "clip_text"]

if TYPE_CHECKING:
    from scipy.sparse import csr_array

FloatArray = NDArray[np.float32]
Tensors = dict[str, NDArray[Any]]

_TOKEN = re.compile(r"\b(?:\d\w*|\w\w+)\b")
_WORD = re.compile(r"\d+|[^\W\d_]+")
_RUN = re.compile(r"0+|A+|a+|[^0Aa\s]")
_LONGEST_RUN = 16
_CLIP = 4.0


def clip_text(text: str, max_chars: int) -> str:
    """The text itself, or its first and last halves of `max_chars` characters where it is longer."""
    if len(text) <= max_chars:
        return text
    half = max_chars // 2
    return f"{text[:half]}\n{text[-half:]}"


class ClusterFeatures(Estimator):
    """C-BTM's features for clustering: TF-IDF of words, truncated SVD, unit Euclidean length.

    Numbers fold to one term, English stop words are left out. A prompt without a known word becomes the zero
    vector.

    Args:
        n_components: dimensions kept by the SVD (C-BTM: 100), or fewer where the data has fewer.
        max_terms: most words kept.
        max_chars: characters of a prompt that are read (first and last half of them in longer ones).
        random_state: seed of the randomised SVD.

    Attributes:
        components_: (n_terms, n_dimensions) float32, from TF-IDF weights to dimensions.
    """

    def __init__(
        self,
        n_components: int = 100,
        *,
        max_terms: int = 20_000,
        max_chars: int = 2048,
        random_state: int = 0,
    ) -> None:
        self.n_components = n_components
        self.max_terms = max_terms
        self.max_chars = max_chars
        self.random_state = random_state

    def fit(self, texts: Sequence[str], y: Any = None) -> Self:
        """Learn words and dimensions from texts, (n_texts,); y is ignored.

        Raises:
            DataError: there are no texts.
        """
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

        if not len(texts):
            raise DataError("Features cannot be learned from no texts: give at least one prompt.")
        self._tfidf = Tfidf(_cluster_terms, max_terms=self.max_terms)
        clipped = [clip_text(text, self.max_chars) for text in texts]
        weights = self._tfidf.fit(clipped, leave_out=ENGLISH_STOP_WORDS).matrix(clipped)
        dimensions = min(self.n_components, *weights.shape)
        if len(self._tfidf.terms) > 1:
            svd = TruncatedSVD(dimensions, random_state=self.random_state).fit(weights)
            self.components_ = np.ascontiguousarray(svd.components_.T, dtype=np.float32)
        else:
            self.components_ = np.eye(len(self._tfidf.terms), 1, dtype=np.float32)
        return self

    def transform(self, texts: Sequence[str]) -> FloatArray:
        """Features of each text, (n_texts, n_dimensions) float32, rows of length 1 (or 0)."""
        if not hasattr(self, "components_"):
            raise NotFittedError("These ClusterFeatures know no words yet: call fit first.")
        features = np.empty((len(texts), self.components_.shape[1]), dtype=np.float32)
        for i, text in enumerate(texts):
            columns, weights = self._tfidf.row(clip_text(text, self.max_chars))
            features[i] = weights @ self.components_[columns]
        length = np.sqrt((features**2).sum(axis=1, keepdims=True))
        unit: FloatArray = np.divide(features, length, out=np.zeros_like(features), where=length > 1e-6)
        return unit

    def tensors(self) -> Tensors:
        """The learned state, for saving."""
        return {
            "terms": encode_terms(self._tfidf.terms),
            "idf": self._tfidf.idf,
            "components": self.components_,
        }

    def restore(self, tensors: Mapping[str, NDArray[Any]]) -> Self:
        """Take the state that `tensors` gave.

        Raises:
            ArtifactError: a tensor is missing or of the wrong type or shape.
        """
        self._tfidf = Tfidf(_cluster_terms, max_terms=self.max_terms)
        n_terms = _restore_terms(self._tfidf, tensors, "terms", "idf")
        self.components_ = checked_tensor(tensors, "components", np.float32, (n_terms, None))
        return self


class TfidfFeatures(Estimator):
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

    def __init__(self, max_terms: int = 20_000, *, min_documents: int = 2, max_chars: int = 2048) -> None:
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
        counts = np.stack([_counts(text, found) for text, found in zip(texts, runs, strict=True)])
        spread = counts.std(axis=0)
        self._scale = np.stack([counts.mean(axis=0), np.where(spread > 0, spread, 1.0)]).astype(np.float32)
        return self

    def row(self, text: str) -> SparseRow:
        """Columns and values of one text's features."""
        if not hasattr(self, "_scale"):
            raise NotFittedError("These TfidfFeatures know no words yet: call fit first.")
        clipped = clip_text(text, self.max_chars)
        runs = _runs(clipped)
        words, word_weights = self._words.row(clipped)
        shapes, shape_weights = self._shapes.row(runs)
        counts = np.clip((_counts(text, runs) - self._scale[0]) / self._scale[1], -_CLIP, _CLIP)
        n_words, n_terms = len(self._words.terms), len(self._words.terms) + len(self._shapes.terms)
        columns = np.concatenate([words, shapes + n_words, np.arange(n_terms, n_terms + len(counts))])
        return columns, np.concatenate([word_weights, shape_weights, counts / _CLIP], dtype=np.float32)

    def transform(self, texts: Sequence[str]) -> csr_array[Any]:
        """Features of texts, sparse (n_texts, n_features_) float32."""
        return stack_rows([self.row(text) for text in texts], self.n_features_)

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
        _restore_terms(self._words, tensors, "words", "words_idf")
        _restore_terms(self._shapes, tensors, "shapes", "shapes_idf")
        self._scale = checked_tensor(tensors, "scale", np.float32, (2, len(self.count_names)))
        return self

    def _make_blocks(self) -> None:
        limits: dict[str, Any] = {
            "min_documents": self.min_documents,
            "max_terms": self.max_terms,
            "sublinear": True,
        }
        self._words = Tfidf(_word_terms, **limits)
        self._shapes = Tfidf(_shape_terms, **limits)


def checked_tensor(
    tensors: Mapping[str, NDArray[Any]], name: str, dtype: type[np.generic], shape: tuple[int | None, ...]
) -> NDArray[Any]:
    """The named tensor, if it has this type and shape (None: any length).

    Raises:
        ArtifactError: it has not.
    """
    if name not in tensors:
        raise ArtifactError(f"The router file lacks the tensor {name!r}: train and save the router again.")
    tensor = tensors[name]
    fits = len(tensor.shape) == len(shape) and all(
        want is None or want == got for want, got in zip(shape, tensor.shape, strict=True)
    )
    if tensor.dtype != np.dtype(dtype) or not fits:
        raise ArtifactError(
            f"The tensor {name!r} of the router file is {tensor.dtype}{list(tensor.shape)}, not "
            f"{np.dtype(dtype)}{['any' if n is None else n for n in shape]}: train and save the router again."
        )
    if np.issubdtype(dtype, np.floating) and not np.isfinite(tensor).all():
        raise ArtifactError(f"The tensor {name!r} of the router file is not finite: train and save the router again.")
    return tensor


def _restore_terms(tfidf: Tfidf, tensors: Mapping[str, NDArray[Any]], terms_name: str, idf_name: str) -> int:
    terms = decode_terms(checked_tensor(tensors, terms_name, np.uint8, (None,)))
    tfidf.restore(terms, checked_tensor(tensors, idf_name, np.float32, (len(terms),)))
    return len(terms)


def _cluster_terms(text: str) -> list[str]:
    tokens = _TOKEN.findall(text.lower())
    return ["#number" if token[0].isdigit() else token for token in tokens]


def _word_terms(text: str) -> list[str]:
    words, folded, sized = _WORD.findall(text.lower()), [], []
    for word in words:
        number = word[0].isdigit()
        folded.append("#" if number else word)
        sized.append(word[0] + "_" * (len(word[:_LONGEST_RUN]) - 1) if number else word)
    pairs = [f"{a} {b}" for a, b in pairwise(folded)]
    with_numbers = [f"{a} {b}" for a, b in pairwise(sized) if a[0].isdigit() or b[0].isdigit()]
    return folded + pairs + [word for word in sized if word[0].isdigit()] + with_numbers


def _shape_terms(runs: list[str]) -> list[str]:
    ones = [run[:_LONGEST_RUN] for run in runs]
    twos = [f"{a} {b}" for a, b in pairwise(ones)]
    return ones + twos + [f"{two} {run}" for two, run in zip(twos, ones[2:], strict=False)]


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


def _counts(text: str, runs: list[str]) -> FloatArray:
    """Logarithms of 1 + each of `TfidfFeatures.count_names`; all but the first from the part that is read."""
    numbers = [len(run) for run in runs if run[0] == "0"]
    capitals = [len(run) for run in runs if run[0] == "A"]
    small = [len(run) for run in runs if run[0] == "a"]
    n_others = len(runs) - len(numbers) - len(capitals) - len(small)
    counts = [
        len(text),
        len(capitals) + len(small),
        len(numbers),
        sum(numbers),
        max(numbers, default=0),
        sum(capitals),
        max(capitals, default=0),
        max(small, default=0),
        n_others,
    ]
    return np.log1p(np.array(counts, dtype=np.float32))
