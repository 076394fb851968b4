"""Dense features: truncated SVD of TF-IDF, at unit length."""

from typing import Any

import numpy as np
import pytest
from sklearn.decomposition import TruncatedSVD

from routers import ArtifactError, ClusterFeatures, DataError, NotFittedError, TfidfFeatures, TfidfSvdFeatures
from routers.features import SparseRows, TfidfSvdCountsFeatures, right_singular_vectors, unit_rows

TEXTS = [
    f"{verb} the {thing} number {i}" for i, verb in enumerate(["paint", "carry"] * 6) for thing in ["red dog", "cat"]
]
KINDS = [ClusterFeatures, TfidfSvdFeatures]


def test_unit_rows_by_hand() -> None:
    rows = unit_rows(np.array([[3, 4], [0, 0], [0, -2]], dtype=np.float32))
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0, 0], [0, -1]], atol=1e-6)


def test_vectors_are_those_of_the_exact_decomposition() -> None:
    x = np.random.default_rng(0).normal(size=(30, 8)).astype(np.float32)
    sparse = SparseRows.of([(np.arange(8), row) for row in x], 8)
    exact = np.linalg.svd(x)[2][:3].T
    for rows in (x, sparse):
        found = right_singular_vectors(rows, 3, 0)
        np.testing.assert_allclose(np.abs((found * exact).sum(axis=0)), 1, atol=1e-3)
    reference = TruncatedSVD(3, random_state=0).fit(x).components_.T
    np.testing.assert_allclose(np.abs(right_singular_vectors(x, 3, 0)), np.abs(reference), atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "k"), [((1, 5), 1), ((2, 5), 2), ((5, 2), 2), ((5, 1), 1), ((1, 1), 1), ((40, 40), 3)]
)
def test_there_are_no_more_dimensions_than_rows_and_columns(shape: tuple[int, int], k: int) -> None:
    found = right_singular_vectors(np.ones(shape, dtype=np.float32), 3, 0)
    assert found.shape == (shape[1], k)
    assert found.flags["C_CONTIGUOUS"]
    np.testing.assert_allclose(np.linalg.norm(found, axis=0), 1, atol=1e-4)


@pytest.mark.parametrize("cls", KINDS)
def test_rows_have_unit_length_or_none(cls: Any) -> None:
    features = cls(4).fit(TEXTS)
    rows = features.transform([*TEXTS, "unknown"])
    assert (rows.shape, rows.dtype) == ((len(TEXTS) + 1, 4), np.float32)
    np.testing.assert_allclose(np.linalg.norm(rows[:-1], axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(np.concatenate([features.transform([text]) for text in TEXTS]), rows[:-1], atol=1e-6)
    assert features.transform([]).shape == (0, 4)


def test_without_a_known_word_there_is_nothing() -> None:
    assert not ClusterFeatures(4).fit(TEXTS).transform(["unknown", "", "the"]).any()


def test_all_dimensions_keep_the_angles_of_the_weights() -> None:
    weights = TfidfFeatures().fit(TEXTS).transform(TEXTS).matrix().toarray()
    rows = TfidfSvdFeatures(10_000).fit(TEXTS).transform(TEXTS)
    unit = weights / np.linalg.norm(weights, axis=1, keepdims=True)
    np.testing.assert_allclose(rows @ rows.T, unit @ unit.T, atol=1e-4)


@pytest.mark.parametrize("cls", KINDS)
@pytest.mark.parametrize("texts", [["same text"] * 5, ["one"], ["", ""], ["the"]])
def test_texts_that_are_all_alike(cls: Any, texts: list[str]) -> None:
    rows = cls().fit(texts).transform([*texts, "another"])
    assert np.isfinite(rows).all()


@pytest.mark.parametrize("cls", KINDS)
def test_saved_and_restored_they_are_the_same(cls: Any) -> None:
    features = cls(5, random_state=3).fit(TEXTS)
    tensors = features.tensors()
    again = cls(5, random_state=3).restore(tensors)
    np.testing.assert_array_equal(again.transform(TEXTS), features.transform(TEXTS))
    np.testing.assert_array_equal(cls(5, random_state=3).fit(TEXTS).components_, features.components_)
    for changed in (
        {"components": tensors["components"][1:]},
        {"components": tensors["components"].astype(np.float64)},
    ):
        with pytest.raises(ArtifactError, match="'components'"):
            cls(5).restore({**tensors, **changed})


@pytest.mark.parametrize("cls", KINDS)
def test_what_comes_before_fit(cls: Any) -> None:
    with pytest.raises(NotFittedError, match="call fit"):
        cls().transform(["x"])
    with pytest.raises(DataError, match="no texts"):
        cls().fit([])


def test_counts_stand_beside_the_dimensions() -> None:
    features = TfidfSvdCountsFeatures(4).fit(TEXTS)
    rows = features.transform(TEXTS)
    n_counts = len(TfidfFeatures.count_names)
    assert (rows.shape, rows.dtype, features.n_features_) == ((len(TEXTS), 4 + n_counts), np.float32, 4 + n_counts)
    np.testing.assert_allclose(rows[:, :4], TfidfSvdFeatures(4).fit(TEXTS).transform(TEXTS), atol=1e-5)
    weights = TfidfFeatures().fit(TEXTS).transform(TEXTS).matrix().toarray()
    np.testing.assert_allclose(rows[:, 4:], weights[:, -n_counts:], atol=1e-6)
    assert features.transform([]).shape == (0, 4 + n_counts)
    again = TfidfSvdCountsFeatures(4).restore(features.tensors())
    np.testing.assert_array_equal(again.transform(TEXTS), rows)
    with pytest.raises(NotFittedError, match="call fit first"):
        TfidfSvdCountsFeatures().transform(TEXTS)
