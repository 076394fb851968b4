import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, TfidfVectorizer

from routers import ArtifactError, ClusterFeatures, DataError, NotFittedError, TfidfFeatures
from routers.features import as_matrix, checked_tensor, clip_text, tfidf

TEXTS = [f"What is {a} + {b}?" for a, b in [(1, 2), (30, 4), (555, 66)]] + [
    "Sort the letters QWE please",
    "Sort the letters ZXCVB please",
    "Reverse the word abandon",
    "",
]


def names(features: TfidfFeatures) -> list[str]:
    return [*features._words.terms, *features._shapes.terms, *features.count_names]


def found(features: TfidfFeatures, text: str) -> dict[str, float]:
    rows = features.transform([text])
    return dict(zip([names(features)[c] for c in rows.columns], rows.values.tolist(), strict=True))


def test_cluster_features_are_the_recipe_of_the_paper() -> None:
    features = ClusterFeatures(3).fit(TEXTS)

    def folded(text: str) -> list[str]:
        tokens = text.lower().replace("?", " ").replace("+", " ").split()
        kept = [token for token in tokens if token.isdigit() or len(token) > 1]
        return ["#number" if t.isdigit() else t for t in kept if t not in ENGLISH_STOP_WORDS]

    weights = TfidfVectorizer(analyzer=folded).fit_transform(TEXTS)
    reduced = TruncatedSVD(3, random_state=0).fit_transform(weights)
    length = np.linalg.norm(reduced, axis=1, keepdims=True)
    expected = np.divide(reduced, length, out=np.zeros_like(reduced), where=length > 1e-6)
    np.testing.assert_allclose(features.transform(TEXTS), expected, atol=1e-5)


def test_cluster_features_fold_numbers_and_leave_stop_words_out() -> None:
    features = ClusterFeatures(3).fit(TEXTS)
    same = features.transform(["sort 7 letters", "please sort the 123456 letters of these", "the of"])
    assert features.transform(["sort 7 letters"]) == pytest.approx(features.transform(["sort 99 the letters"]))
    assert np.linalg.norm(same[0]) == pytest.approx(1.0)
    assert not same[2].any()


@pytest.mark.parametrize("texts", [[""], ["a"], ["word"], ["one two"] * 3, ["the of"]])
def test_cluster_features_of_next_to_nothing(texts: list[str]) -> None:
    features = ClusterFeatures().fit(texts)
    made = features.transform([*texts, "other words"])
    assert made.shape[0] == len(texts) + 1
    assert np.isfinite(made).all()


def test_shapes_show_how_many_digits_and_letters() -> None:
    features = TfidfFeatures(min_documents=1).fit(TEXTS)
    sums = found(features, "What is 12 + 543?")
    assert {"00", "000", "00 +", "#", "what is", "is #", "5__"} <= set(sums)
    assert found(features, "9 + 9").keys() & {"0", "00"} == {"0"}
    assert "AAA" in found(features, "sort QWX")
    assert "aaaaaaa" in found(features, "reverse")


def test_counts_are_standardised_logarithms() -> None:
    features = TfidfFeatures().fit(["1234 AB", "12 words here", "x"])
    column = names(features).index("digits")
    values = np.log1p([4, 2, 0])
    expected = (values - values.mean()) / values.std() / 4
    np.testing.assert_allclose(
        features.transform(["1234 AB", "12 words here", "x"]).matrix().toarray()[:, column], expected, atol=1e-6
    )
    assert np.abs(features.transform(["9" * 2000]).matrix().toarray()).max() <= 1.0


@pytest.mark.parametrize("n_texts", [3, 6, 7])
def test_a_count_that_never_changes_says_nothing(n_texts: int) -> None:
    features = TfidfFeatures().fit(["sort 00"] * n_texts)
    for texts in (["sort 00"], ["sort 00"] * 2):
        counts = features.transform(texts).last_columns(len(features.count_names))
        np.testing.assert_allclose(counts, 0, atol=1e-6)


def test_other_scripts_fold_too() -> None:
    features = TfidfFeatures(min_documents=1).fit(["１２ ΑΒΓ где", "x"])
    assert {"00", "AAA", "aaa", "#", "где"} <= set(found(features, "１２ ΑΒΓ где"))


def one_by_one(features: TfidfFeatures, texts: list[str]) -> np.ndarray:
    """Features of each text by itself, the way decisions find them."""
    return np.concatenate([features.transform([text]).matrix().toarray() for text in texts])


def by_name(features: TfidfFeatures, texts: list[str]) -> np.ndarray:
    """The same by the names of terms, the way they are learned."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tfidf, "_FEW_CHARS", 1 << 30)
        return one_by_one(features, texts)


def by_hash(features: TfidfFeatures, texts: list[str]) -> np.ndarray:
    """The same by the hashes of terms."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tfidf, "_FEW_CHARS", 0)
        return one_by_one(features, texts)


PIECES = [
    "12",
    "345 days",
    "a",
    "red",
    "Red dog",
    " ",
    "\n",
    "ABC",
    "x1",
    "_",
    "²",
    "٣٤",
    "ß",
    "İ",
    "ς",
    "Σ",
    "数字",
    "é",
    "\ud800",
    "+",
    "¼",
]


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.one_of(st.text(max_size=30), st.lists(st.sampled_from(PIECES)).map("".join)), min_size=1, max_size=8),
    st.integers(1, 8),
)
def test_terms_are_the_same_by_hash_and_by_name(texts: list[str], n_learned: int) -> None:
    features = TfidfFeatures(min_documents=1, max_chars=40).fit(texts[:n_learned])
    expected = by_name(features, texts)
    np.testing.assert_allclose(by_hash(features, texts), expected, atol=1e-6)
    np.testing.assert_allclose(features.transform(texts).matrix().toarray(), expected, atol=1e-6)


def test_long_and_many_texts_are_the_same_as_short_ones_by_themselves() -> None:
    texts = [f"{'Sort the letters' * (i % 7)} {i}, then add {'9' * (i % 20)} to it 数{i}" * (i % 5) for i in range(300)]
    features = TfidfFeatures(100).fit(texts)
    expected = by_name(features, texts)
    np.testing.assert_allclose(features.transform(texts).matrix().toarray(), expected, atol=1e-6)
    np.testing.assert_allclose(one_by_one(features, texts), expected, atol=1e-6)
    assert features.transform([]).shape == (0, features.n_features_)


def test_texts_are_parted_by_their_size(monkeypatch: pytest.MonkeyPatch) -> None:
    features = TfidfFeatures(min_documents=1).fit(TEXTS)
    expected = by_name(features, TEXTS)
    monkeypatch.setattr(tfidf, "_MANY_CHARS", 40)
    assert list(tfidf._parts(TEXTS)) == [(0, 3), (3, 5), (5, 7)]
    np.testing.assert_allclose(features.transform(TEXTS).matrix().toarray(), expected, atol=1e-6)


def test_long_texts_are_read_at_both_ends() -> None:
    assert clip_text("abcdef", 6) == "abcdef"
    assert clip_text("abcdefgh", 4) == "ab\ngh"
    features = TfidfFeatures(min_documents=1, max_chars=20).fit(["alpha beta", "omega 12"])
    ends = found(features, "alpha " + "x" * 10_000 + " omega")
    assert {"alpha", "omega"} <= set(ends)
    assert "beta" not in found(features, "x" * 50 + " beta " + "x" * 50)


@pytest.mark.parametrize("made", [ClusterFeatures(5, max_chars=100), TfidfFeatures(50, max_chars=100)])
def test_state_survives(made: ClusterFeatures | TfidfFeatures) -> None:
    fresh = clone(made)
    made.fit(TEXTS)
    fresh.restore(made.tensors())
    before, after = made.transform(TEXTS), fresh.transform(TEXTS)
    assert abs(as_matrix(before) - as_matrix(after)).max() == 0


@pytest.mark.parametrize("cls", [ClusterFeatures, TfidfFeatures])
def test_errors(cls: type[ClusterFeatures | TfidfFeatures]) -> None:
    with pytest.raises(NotFittedError, match="call fit"):
        cls().transform(["a"])
    with pytest.raises(DataError, match="at least one prompt"):
        cls().fit([])
    with pytest.raises(ArtifactError, match="lacks the tensor"):
        cls().restore({})


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (np.zeros((2, 3), np.float64), r"float64\[2, 3\]"),
        (np.zeros((3, 3), np.float32), r"float32\[3, 3\]"),
        (np.zeros(2, np.float32), r"float32\[2\]"),
        (np.full((2, 1), np.nan, np.float32), "not finite"),
    ],
)
def test_tensors_of_the_wrong_form_are_refused(tensor: np.ndarray, message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        checked_tensor({"x": tensor}, "x", np.float32, (2, None))
