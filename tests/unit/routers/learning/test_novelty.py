"""Novelty, by hand-computed cases and on the demo's own prompts."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routers import ArtifactError, RoutingData, make_features, make_router
from routers.features import Features, SparseRows
from routers.learning.novelty import NoveltyModel, novelty_words

DEMO = Path(__file__).resolve().parents[4] / "demo/data/small-large.parquet"
FOREIGN = {
    "poem": "Write a poem about the sea in autumn.",
    "haiku": "Compose a short haiku on loneliness",
    "German": "Wie wird das Wetter morgen in Berlin?",
    "Chinese": "请写一首关于大海的诗",
    "Python": "def quicksort(xs):\n    return xs if len(xs) < 2 else quicksort([x for x in xs[1:] if x < xs[0]])",
    "SQL": "SELECT name, COUNT(*) FROM users GROUP BY name HAVING COUNT(*) > 3;",
    "chat": "Explain quantum entanglement to a five year old",
    "one word": "hi",
    "no word": "???!!!",
    "nothing": "",
}


@pytest.fixture(scope="module")
def demo() -> RoutingData:
    return RoutingData.read(DEMO)


def unit(rows: list[list[float]]) -> np.ndarray:
    x = np.array(rows, dtype=np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def sparse(x: np.ndarray) -> SparseRows:
    return SparseRows.of([(np.flatnonzero(row), row[row != 0]) for row in x], x.shape[1])


def test_words_fold_case_and_numbers_and_part_chinese() -> None:
    assert novelty_words("Add 12 and 3,5: OK_go! 你好 été") == [
        *["add", "#", "and", "#", "#", "ok", "go", "你", "好", "été"]
    ]


def test_a_long_text_counts_at_both_ends() -> None:
    words = novelty_words("start " + "x " * 50_000 + "end")
    assert (words[0], words[-1], len(words) < 2000) == ("start", "end", True)


def test_share_of_unknown_words_by_hand() -> None:
    texts = ["red dog", "red cat", "red dog", "red fox", "blue"]
    model = NoveltyModel(quantile=1.0).fit(unit([[1, 0]] * 5), texts)
    assert model.words_ == {"red", "dog"}
    # Others know 'red' four times over, but 'dog' only once: half of each of the first four, all of the last.
    assert model.limits_[2] == pytest.approx(1.0)
    row = unit([[1, 0]])
    assert model.score(row, ["red dog"]) == pytest.approx([0.0], abs=1e-3)
    assert model.score(row, ["red fox dog bird"]) == pytest.approx([0.5])
    assert model.score(row, ["kiwi"]) == pytest.approx([1.0])


def test_without_unknown_words_in_training_one_in_five_is_the_edge() -> None:
    model = NoveltyModel().fit(unit([[1, 0]] * 6), ["a b c"] * 6)
    row = unit([[1, 0]])
    assert model.score(row, ["a b c a new"]) == pytest.approx([1.0])
    assert model.score(row, ["new"]) == pytest.approx([5.0])


@given(st.text(alphabet="aZxy019_ \n+.é", max_size=60), st.booleans())
def test_ascii_texts_are_read_as_all_others(text: str, numbers_known: bool) -> None:
    model = NoveltyModel()
    model.words_ = frozenset({"a", "xy", "zx"} | ({"#"} if numbers_known else set()))
    words = novelty_words(text)
    expected = sum(word not in model.words_ for word in words) / len(words) if words else 1.0
    assert model._unknown(text) == pytest.approx(expected)


def test_t2_and_q_by_hand() -> None:
    x = np.array([[3, 0, 0], [1, 0, 0], [3, 0, 0], [1, 0, 0]], dtype=np.float32)
    texts = ["a"] * 4
    model = NoveltyModel(n_components=1, quantile=1.0).fit(x, texts)
    # Mean 2 and deviation 1 along the only direction: T^2 of every row is 1, the limit.
    assert np.abs(model.components_[:, 0]) == pytest.approx([1, 0, 0], abs=1e-6)
    assert model.score(x, texts) == pytest.approx([1.0] * 4, abs=1e-4)
    assert model.score(np.array([[2, 0, 0]], dtype=np.float32), ["a"]) == pytest.approx([0.0], abs=1e-4)
    assert model.score(np.array([[5, 0, 0]], dtype=np.float32), ["a"]) == pytest.approx([9.0], rel=1e-4)
    # Whatever lies outside of the direction is far beyond what training leaves out, which is nothing.
    assert model.score(np.array([[2, 0.1, 0]], dtype=np.float32), ["a"])[0] > 100


def test_sparse_and_dense_single_and_batch_agree() -> None:
    rng = np.random.default_rng(0)
    x = unit((rng.random((60, 12)) * (rng.random((60, 12)) < 0.4) + 1e-3).tolist())
    texts = [f"word{i % 7} and more" for i in range(60)]
    dense, thin = NoveltyModel(4).fit(x, texts), NoveltyModel(4).fit(sparse(x), texts)
    batch = dense.score(x, texts)
    np.testing.assert_allclose(thin.score(sparse(x), texts), batch, rtol=1e-3, atol=1e-4)
    singles = [float(dense.score(x[[i]], [texts[i]])[0]) for i in range(60)]
    np.testing.assert_allclose(singles, batch, rtol=1e-3, atol=1e-4)
    singles = [float(thin.score(sparse(x[[i]]), [texts[i]])[0]) for i in range(60)]
    np.testing.assert_allclose(singles, batch, rtol=1e-3, atol=1e-4)
    assert dense.score(x[:0], []).shape == (0,)


def test_the_share_asked_for_keeps_within_the_edge() -> None:
    rng = np.random.default_rng(1)
    x = unit(rng.normal(size=(400, 6)).tolist())
    texts = [" ".join(rng.choice(list("abcdefghij"), size=5)) for _ in range(400)]
    for quantile in (0.8, 0.95):
        model = NoveltyModel(3, quantile).fit(x, texts)
        assert (model.score(x, texts) <= 1 + 1e-5).mean() == pytest.approx(quantile, abs=0.01)


def test_one_training_prompt_gives_finite_scores() -> None:
    model = NoveltyModel().fit(unit([[1, 2, 3]]), ["only one"])
    scores = model.score(unit([[1, 2, 3], [3, 2, 1]]), ["only one", ""])
    assert np.isfinite(scores).all()


def test_saved_and_restored_it_scores_the_same() -> None:
    rng = np.random.default_rng(2)
    x, texts = unit(rng.normal(size=(30, 5)).tolist()), [f"prompt about {'abc'[i % 3]}" for i in range(30)]
    model = NoveltyModel().fit(x, texts)
    again = NoveltyModel().restore(model.tensors(), 5)
    np.testing.assert_array_equal(again.score(x, texts), model.score(x, texts))
    np.testing.assert_array_equal(again.score(x[:1], texts[:1]), model.score(x[:1], texts[:1]))


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("novelty.words", np.frombuffer(b"a\nb", np.uint8)),
        ("novelty.limits", np.array([1, 0, 1], np.float32)),
        ("novelty.limits", np.ones(2, np.float32)),
        ("novelty.center", np.zeros((2, 5), np.float32)),
        ("novelty.components", np.zeros((4, 5), np.float32)),
        ("novelty.words", np.frombuffer(b"a\na\n", np.uint8)),
        ("novelty.words", None),
    ],
)
def test_what_does_not_fit_is_refused(name: str, tensor: np.ndarray | None) -> None:
    rng = np.random.default_rng(3)
    tensors = NoveltyModel().fit(unit(rng.normal(size=(30, 5)).tolist()), ["a b"] * 30).tensors()
    changed = {**tensors, name: tensor} if tensor is not None else {k: v for k, v in tensors.items() if k != name}
    with pytest.raises(ArtifactError):
        NoveltyModel().restore(changed, 5)


@pytest.mark.parametrize("kind", ["tfidf", "tfidf-svd"])
def test_prompts_like_the_demos_are_within_the_edge_and_foreign_ones_beyond(kind: str, demo: RoutingData) -> None:
    router = make_router("hybrid-trans", features=kind, folds=2).fit(demo.subset("train"))
    known = router.novelty(demo.subset("calibration").texts)
    foreign = router.novelty(list(FOREIGN.values()))
    assert known is not None
    assert foreign is not None
    assert (known <= 1).mean() > 0.97
    assert {name: score for name, score in zip(FOREIGN, foreign, strict=True) if score <= 1} == {}


def test_a_feature_kind_that_drops_unknown_words_does_not_hide_them(demo: RoutingData) -> None:
    texts = demo.subset("train").texts[:1000]
    features: Features = make_features("c-btm", seed=0).fit(texts)
    model = NoveltyModel().fit(features.transform(texts), texts)
    text = "calculate the flibber of 78 wobbling grommets"
    assert model.score(features.transform([text]), [text])[0] > 1
