import numpy as np
import pytest

from routers import ArtifactError
from routers.features import SparseRows
from routers.features.hashed_terms import HashedTerms
from routers.features.hashing import term_hashes
from routers.features.terms import Tfidf

TEXTS = ["a b b c", "b c d", "", "zz b a a a"]


def trained(max_terms: int | None = None) -> Tfidf:
    return Tfidf(str.split, max_terms=max_terms, sublinear=True).fit(TEXTS)


def test_weights_are_those_of_each_block_side_by_side() -> None:
    blocks = [(trained(), 0), (trained(2), 9)]
    asked = [*TEXTS, "b unknown a b", "unknown"]
    place = np.repeat(np.arange(len(asked)), [len(text.split()) for text in asked])
    words = [word for text in asked for word in text.split()]
    hashes = np.concatenate([term_hashes(words, added) for _, added in blocks])
    terms = HashedTerms(blocks)
    found = terms.rows(hashes, np.tile(place, 2), len(asked)).matrix().toarray()
    expected = np.hstack([tfidf.rows(asked).matrix().toarray() for tfidf, _ in blocks])
    np.testing.assert_allclose(found, expected, atol=1e-6)
    one_by_one = SparseRows.of([terms.row(hashes[np.tile(place, 2) == text]) for text in range(len(asked))], 7)
    np.testing.assert_allclose(one_by_one.matrix().toarray(), expected, atol=1e-6)


def test_nothing_known_gives_rows_of_zeros() -> None:
    empty = HashedTerms([(Tfidf(str.split), 0), (Tfidf(str.split), 9)])
    assert empty.rows(term_hashes(["a"]), np.zeros(1, np.int64), 2).matrix().toarray().shape == (2, 0)


def test_terms_that_cannot_be_told_apart_are_refused() -> None:
    with pytest.raises(ArtifactError, match="cannot be told apart"):
        HashedTerms([(trained(), 0), (trained(), 0)])
