"""Dense features from TF-IDF: truncated SVD and unit length, so that distances between prompts mean something."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from routers.errors import DataError, NotFittedError
from routers.features.base import Features, Tensors, clip_text
from routers.features.rows import FloatArray, Rows, as_matrix
from routers.features.tensors import checked_tensor
from routers.features.terms import Tfidf, encode_terms, restore_terms
from routers.features.tfidf import TfidfFeatures

__all__ = ["ClusterFeatures", "TfidfSvdCountsFeatures", "TfidfSvdFeatures", "right_singular_vectors", "unit_rows"]

_TOKEN = re.compile(r"\b(?:\d\w*|\w\w+)\b")


class ClusterFeatures(Features):
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

    kind: ClassVar[str] = "c-btm"
    argument: ClassVar[str | None] = "n_components"

    def __init__(
        self,
        n_components: Annotated[int, Field(ge=1, le=10_000)] = 100,
        *,
        max_terms: Annotated[int, Field(ge=1, le=1_000_000)] = 20_000,
        max_chars: Annotated[int, Field(ge=2, le=1_000_000)] = 2048,
        random_state: Annotated[int, Field(ge=0, lt=2**32)] = 0,
    ) -> None:
        self.n_components = n_components
        self.max_terms = max_terms
        self.max_chars = max_chars
        self.random_state = random_state

    @property
    def n_features_(self) -> int:
        """Dimensions."""
        return int(self.components_.shape[1])

    def fit(self, texts: Sequence[str], y: Any = None) -> Self:
        """Learn words and dimensions from texts, (n_texts,); y is ignored.

        Raises:
            DataError: there are no texts.
        """
        from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

        if not len(texts):
            raise DataError("Features cannot be learned from no texts: give at least one prompt.")
        self._tfidf = self._unfitted()
        clipped = [clip_text(text, self.max_chars) for text in texts]
        self._tfidf.fit(clipped, leave_out=ENGLISH_STOP_WORDS)
        self.components_ = right_singular_vectors(self._tfidf.rows(clipped), self.n_components, self.random_state)
        return self

    def transform(self, texts: Sequence[str]) -> FloatArray:
        """Features of each text, (n_texts, n_dimensions) float32, rows of length 1 (or 0)."""
        if not hasattr(self, "components_"):
            raise NotFittedError("These ClusterFeatures know no words yet: call fit first.")
        return unit_rows(self._tfidf.rows([clip_text(text, self.max_chars) for text in texts]) @ self.components_)

    def tensors(self) -> Tensors:
        """The learned state, for saving."""
        return {"terms": encode_terms(self._tfidf.terms), "idf": self._tfidf.idf, "components": self.components_}

    def restore(self, tensors: Mapping[str, NDArray[Any]]) -> Self:
        """Take the state that `tensors` gave.

        Raises:
            ArtifactError: a tensor is missing or of the wrong type or shape.
        """
        self._tfidf = self._unfitted()
        n_terms = restore_terms(self._tfidf, tensors, "terms", "idf")
        self.components_ = checked_tensor(tensors, "components", np.float32, (n_terms, None))
        return self

    def _unfitted(self) -> Tfidf:
        return Tfidf(_cluster_terms, max_terms=self.max_terms)


class TfidfSvdFeatures(Features):
    """`TfidfFeatures` in few dimensions: truncated SVD, unit Euclidean length.

    Args:
        n_components: dimensions kept by the SVD, or fewer where the data has fewer.
        max_terms: most words and pairs kept, and most shapes kept.
        min_documents: keep terms found in at least this many texts.
        max_chars: characters of a prompt that are read (first and last half of them in longer ones).
        random_state: seed of the randomised SVD.

    Attributes:
        components_: (n_terms, n_dimensions) float32, from TF-IDF weights to dimensions.
    """

    kind: ClassVar[str] = "tfidf-svd"
    argument: ClassVar[str | None] = "n_components"

    def __init__(
        self,
        n_components: Annotated[int, Field(ge=1, le=10_000)] = 128,
        *,
        max_terms: Annotated[int, Field(ge=1, le=1_000_000)] = 20_000,
        min_documents: Annotated[int, Field(ge=1)] = 2,
        max_chars: Annotated[int, Field(ge=2, le=1_000_000)] = 2048,
        random_state: Annotated[int, Field(ge=0, lt=2**32)] = 0,
    ) -> None:
        self.n_components = n_components
        self.max_terms = max_terms
        self.min_documents = min_documents
        self.max_chars = max_chars
        self.random_state = random_state

    @property
    def n_features_(self) -> int:
        """Dimensions."""
        return int(self.components_.shape[1])

    def fit(self, texts: Sequence[str], y: Any = None) -> Self:
        """Learn words, shapes and dimensions from texts, (n_texts,); y is ignored.

        Raises:
            DataError: there are no texts.
        """
        self._tfidf = self._unfitted().fit(texts)
        self.components_ = right_singular_vectors(self._tfidf.transform(texts), self.n_components, self.random_state)
        return self

    def transform(self, texts: Sequence[str]) -> FloatArray:
        """Features of each text, (n_texts, n_dimensions) float32, rows of length 1 (or 0)."""
        if not hasattr(self, "components_"):
            raise NotFittedError("These TfidfSvdFeatures know no words yet: call fit first.")
        return unit_rows(self._tfidf.transform(texts) @ self.components_)

    def tensors(self) -> Tensors:
        """The learned state, for saving."""
        return {**self._tfidf.tensors(), "components": self.components_}

    def restore(self, tensors: Mapping[str, NDArray[Any]]) -> Self:
        """Take the state that `tensors` gave.

        Raises:
            ArtifactError: a tensor is missing or of the wrong type or shape.
        """
        self._tfidf = self._unfitted().restore(tensors)
        self.components_ = checked_tensor(tensors, "components", np.float32, (self._tfidf.n_features_, None))
        return self

    def _unfitted(self) -> TfidfFeatures:
        return TfidfFeatures(self.max_terms, min_documents=self.min_documents, max_chars=self.max_chars)


class TfidfSvdCountsFeatures(TfidfSvdFeatures):
    """`TfidfSvdFeatures` and the counts of `TfidfFeatures` beside them: topic and size, to be cut, not compared.

    Rows are not of unit length: the counts, limited to 1 on either side, come on top. Parameters are those of
    `TfidfSvdFeatures`.
    """

    kind: ClassVar[str] = "tfidf-svd-counts"

    @property
    def n_features_(self) -> int:
        """Dimensions and counts."""
        return super().n_features_ + len(TfidfFeatures.count_names)

    def transform(self, texts: Sequence[str]) -> FloatArray:
        """Features of each text, (n_texts, n_dimensions + n_counts) float32."""
        if not hasattr(self, "components_"):
            raise NotFittedError("These TfidfSvdCountsFeatures know no words yet: call fit first.")
        rows = self._tfidf.transform(texts)
        counts = rows.last_columns(len(TfidfFeatures.count_names))
        return np.concatenate([unit_rows(rows @ self.components_), counts], axis=1)


def unit_rows(x: FloatArray) -> FloatArray:
    """Rows (n, d) scaled to Euclidean length 1; rows of zeros stay zeros."""
    if len(x) == 1:
        # A single prompt is what decisions are about, and numpy's general way takes several times as long.
        length_of_one = math.sqrt(float(x[0] @ x[0]))
        return x / np.float32(length_of_one) if length_of_one > 1e-6 else np.zeros_like(x)
    length = np.sqrt((x**2).sum(axis=1, keepdims=True))
    unit: FloatArray = np.divide(x, length, out=np.zeros_like(x), where=length > 1e-6)
    return unit


def right_singular_vectors(rows: Rows, n_components: int, seed: int) -> FloatArray:
    """The first right singular vectors of rows, (n_columns, min(n_components, n_rows, n_columns)) float32.

    Fewer than two columns stay as they are. The vectors come from the randomised SVD of scikit-learn's `TruncatedSVD`,
    without the explained variance that it works out beside them, which rows that are all alike do not have.
    """
    from sklearn.utils.extmath import randomized_svd

    n_rows, n_columns = rows.shape
    if n_columns < 2:
        return np.eye(n_columns, 1, dtype=np.float32)
    k = min(n_components, n_rows, n_columns)
    _, _, vectors = randomized_svd(as_matrix(rows), k, n_iter=5, random_state=seed)
    return np.ascontiguousarray(vectors.T, dtype=np.float32)


def _cluster_terms(text: str) -> list[str]:
    tokens = _TOKEN.findall(text.lower())
    return ["#number" if token[0].isdigit() else token for token in tokens]
