import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from routers import ArtifactError
from routers.features.terms import Tfidf, decode_terms, encode_terms

TEXTS = ["a b b c", "b c d", "", "a a a e", "zz b", "c b a"]


@pytest.mark.parametrize("sublinear", [False, True])
@pytest.mark.parametrize("least", [1, 2])
def test_weights_equal_scikit_learns(sublinear: bool, least: int) -> None:
    mine = Tfidf(str.split, min_documents=least, sublinear=sublinear).fit(TEXTS)
    theirs = TfidfVectorizer(analyzer=str.split, min_df=least, sublinear_tf=sublinear).fit(TEXTS)
    assert mine.terms == theirs.get_feature_names_out().tolist()
    asked = [*TEXTS, "b unknown b", "unknown"]
    np.testing.assert_allclose(mine.rows(asked).matrix().toarray(), theirs.transform(asked).toarray(), atol=1e-6)


def test_one_row_equals_the_matrix() -> None:
    tfidf = Tfidf(str.split).fit(TEXTS)
    columns, weights = tfidf.row("a b b")
    np.testing.assert_array_equal(tfidf.rows(["a b b"]).matrix().toarray()[0, columns], weights)


def test_limits_keep_the_terms_of_most_texts() -> None:
    assert Tfidf(str.split, max_terms=2).fit(TEXTS).terms == ["a", "b"]
    assert Tfidf(str.split, min_documents=5).fit(["x y"]).terms == ["x", "y"]
    assert Tfidf(str.split).fit(TEXTS, leave_out={"b"}).terms == ["a", "c", "d", "e", "zz"]


def test_terms_survive_as_bytes() -> None:
    terms = ["a", "é b", "数", "\ud800", ""]
    assert decode_terms(encode_terms(terms)) == terms
    assert decode_terms(encode_terms([])) == []


@pytest.mark.parametrize("raw", [b"\xff\xfe\n", b"a\na\n"])
def test_damaged_terms_are_refused(raw: bytes) -> None:
    with pytest.raises(ArtifactError, match="vocabulary"):
        decode_terms(np.frombuffer(raw, dtype=np.uint8))
