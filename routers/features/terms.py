"""TF-IDF over ready-made terms: learned once, asked for one prompt at a time, saved without pickle.

The weights are those of scikit-learn's `TfidfVectorizer` (smoothed idf, L2 norm), whose own transform is
slow for a single text and whose state can only be pickled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from math import log, sqrt
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from routers.errors import ArtifactError
from routers.features.rows import SparseRow, SparseRows
from routers.features.tensors import checked_tensor

__all__ = ["Term", "Tfidf", "decode_terms", "encode_terms", "restore_terms"]

Term = str | tuple[str, ...]
"""A term as analysers give it: a word, or several words as a tuple, which is found without joining them first."""


class Tfidf:
    """Term weights of one analyser.

    Args:
        analyse: text, or what stands for one, -> its terms, as often as they occur; words hold neither blank nor line
            feed. The tuple `("a", "b")` is the term `"a b"`.
        min_documents: keep terms found in at least this many texts (in all, where there are fewer texts).
        max_terms: keep at most this many, those found in most texts.
        sublinear: use 1 + ln(count) for the count.
    """

    def __init__(
        self,
        analyse: Callable[[Any], Iterable[Term]],
        *,
        min_documents: int = 1,
        max_terms: int | None = None,
        sublinear: bool = False,
    ) -> None:
        self.analyse = analyse
        self.min_documents = min_documents
        self.max_terms = max_terms
        self.sublinear = sublinear
        self.restore([], np.zeros(0, dtype=np.float32))

    def fit(self, texts: Sequence[Any], *, leave_out: Collection[str] = ()) -> Self:
        """Learn terms, but not those to leave out, and their idf from texts, (n_texts,)."""
        in_texts: Counter[Term] = Counter()
        for text in texts:
            in_texts.update(set(self.analyse(text)))
        found = {term if isinstance(term, str) else " ".join(term): n for term, n in in_texts.items()}
        least = min(self.min_documents, len(texts))
        ranked = sorted(
            (term for term, n in found.items() if n >= least and term not in leave_out),
            key=lambda term: (-found[term], term),
        )
        terms = sorted(ranked[: self.max_terms])
        documents = np.array([found[term] for term in terms], dtype=np.float64)
        self.restore(terms, (np.log((1 + len(texts)) / (1 + documents)) + 1).astype(np.float32))
        return self

    def restore(self, terms: Sequence[str], idf: NDArray[np.float32]) -> None:
        """Take learned terms and their idf, both (n_terms,)."""
        self.terms = list(terms)
        self.idf = idf
        self._idf: list[float] = idf.tolist()
        self._column: dict[Term, int] = {
            tuple(term.split(" ")) if " " in term else term: column for column, term in enumerate(self.terms)
        }

    def row(self, text: Any) -> SparseRow:
        """Weights of one text, of unit length, or empty when no term is known."""
        columns, weights = self.weights(text)
        return np.array(columns, dtype=np.int64), np.array(weights, dtype=np.float32)

    def weights(self, text: Any) -> tuple[list[int], list[float]]:
        """The columns of a text's terms and their weights, as lists, which take less time than arrays of so few."""
        counts: Counter[int | None] = Counter(map(self._column.get, self.analyse(text)))
        counts.pop(None, None)
        columns = cast("list[int]", list(counts))
        times = [1.0 + log(n) for n in counts.values()] if self.sublinear else counts.values()
        weights = [n * self._idf[column] for n, column in zip(times, columns, strict=True)]
        length = sqrt(sum([weight * weight for weight in weights]))
        return columns, [weight / length for weight in weights]

    def rows(self, texts: Sequence[Any]) -> SparseRows:
        """Weights of texts, (n_texts, n_terms)."""
        return SparseRows.of([self.row(text) for text in texts], len(self.terms))


def encode_terms(terms: Sequence[str]) -> NDArray[np.uint8]:
    """Terms as UTF-8 bytes, one a line."""
    return np.frombuffer("".join(f"{term}\n" for term in terms).encode(errors="surrogatepass"), dtype=np.uint8)


def decode_terms(encoded: NDArray[np.uint8]) -> list[str]:
    """The inverse of `encode_terms`.

    Raises:
        ArtifactError: the bytes are not distinct UTF-8 lines.
    """
    try:
        terms = encoded.tobytes().decode(errors="surrogatepass").split("\n")[:-1]
    except UnicodeDecodeError:
        raise ArtifactError(
            "The vocabulary of the router is not UTF-8 text: train and save the router again."
        ) from None
    if len(set(terms)) != len(terms):
        raise ArtifactError("The router's vocabulary repeats a term: train and save it again.")
    return terms


def restore_terms(tfidf: Tfidf, tensors: Mapping[str, NDArray[Any]], terms_name: str, idf_name: str) -> int:
    """Give back terms and idf saved under these names; returns how many terms there are.

    Raises:
        ArtifactError: a tensor is missing or of the wrong type or shape.
    """
    terms = decode_terms(checked_tensor(tensors, terms_name, np.uint8, (None,)))
    tfidf.restore(terms, checked_tensor(tensors, idf_name, np.float32, (len(terms),)))
    return len(terms)
