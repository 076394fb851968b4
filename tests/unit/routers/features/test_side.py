"""Side information, by hand-computed cases, and what it does for routers."""

import asyncio
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from routers import (
    ArtifactError,
    DataError,
    NotFittedError,
    ParameterError,
    Prompt,
    RoutingData,
    load_router,
    make_features,
    make_router,
    save_router,
)
from routers.features import SideFeatures, SparseRows, WithSide


def prompts(name: str, *values: Any) -> list[Prompt]:
    return [Prompt("same text", {} if value is ... else {name: value}) for value in values]


def rows_of(name: str, training: list[Any], asked: list[Any]) -> list[list[float]]:
    features = SideFeatures((name,)).fit(prompts(name, *training))
    return features.transform(prompts(name, *asked)).tolist()


def test_categories_are_indicators_in_alphabetical_order() -> None:
    assert rows_of("domain", ["law", "art", "law", "zoo"], ["art", "law", "zoo"]) == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_an_unknown_category_is_none_of_the_known() -> None:
    assert rows_of("domain", ["law", "art"], ["cooking"]) == [[0, 0]]


@pytest.mark.parametrize("missing", [..., None, math.nan, math.inf, [1], {"a": 1}])
def test_a_missing_category_reads_as_the_shares_in_training(missing: Any) -> None:
    assert rows_of("domain", ["law", "art", "law", "law"], [missing]) == [[0.25, 0.75]]


def test_where_training_prompts_lack_it_too_a_feature_says_so() -> None:
    assert rows_of("domain", ["law", None, "art", "law"], ["art", None]) == [
        [1, 0, 0],
        [0.3333333432674408, 0.6666666865348816, 1],
    ]
    assert np.ravel(rows_of("images", [1, ..., 1], [1, ...])) == pytest.approx([0, 0, 0, 1], abs=1e-6)


def test_numbers_among_strings_are_categories_by_their_json_form() -> None:
    rows = rows_of("level", ["high", 3, True, 2.5], ["high", 3.0, 3, True, "true", 2.5, 1])
    places = ["2.5", "3", "high", "true"]
    expected = ["high", "3", "3", "true", "true", "2.5", None]
    assert rows == [[float(place == name) for place in places] for name in expected]


def test_line_feeds_in_a_category_do_not_part_it() -> None:
    features = SideFeatures(("kind",)).fit(prompts("kind", "a\nb", "", "\ud800"))
    again = SideFeatures(("kind",)).restore(features.tensors())
    asked = prompts("kind", "a\nb", "", "\ud800")
    np.testing.assert_array_equal(again.transform(asked), features.transform(asked))
    assert again.transform(asked).sum() == 3


def test_a_quantity_is_its_standardised_logarithm() -> None:
    # ln(1 + x) of 0 and e^2 - 1 is 0 and 2: mean 1, deviation 1.
    training = [0, math.e**2 - 1]
    rows = rows_of("images", training, [0, math.e**2 - 1, math.e - 1, -(math.e - 1), 1e300, -1e300])
    assert np.ravel(rows) == pytest.approx([-0.25, 0.25, 0, -0.5, 1, -1], abs=1e-6)


@pytest.mark.parametrize("missing", [..., None, "three", math.nan, -math.inf, 10**400])
def test_a_missing_quantity_reads_as_the_mean(missing: Any) -> None:
    assert rows_of("images", [0, 7], [missing]) == [[0]]


def test_truth_values_are_one_and_zero() -> None:
    # ln 2 and 0: mean ln(2) / 2, deviation ln(2) / 2.
    assert np.ravel(rows_of("json", [True, False], [True, False, 1, 0])) == pytest.approx([0.25, -0.25] * 2)


def test_a_quantity_that_never_varies_in_training_has_a_scale_all_the_same() -> None:
    assert np.ravel(rows_of("images", [1, 1], [1, 3])) == pytest.approx([0, math.log(2) / 4], abs=1e-6)


def test_the_most_frequent_thousand_categories_are_kept() -> None:
    often = [f"often{i:04}" for i in range(1000)]
    features = SideFeatures(("id",)).fit(prompts("id", *often, *often, *(f"once{i}" for i in range(50))))
    assert features.n_features_ == 1000
    assert features.transform(prompts("id", "once3", "often0999")).sum(axis=1).tolist() == [0, 1]


def test_columns_stand_side_by_side() -> None:
    training = [Prompt("x", {"domain": "law", "images": 0}), Prompt("y", {"domain": "art", "images": 3})]
    features = SideFeatures(("images", "domain")).fit(training)
    assert features.transform(training).tolist() == [[-0.25, 0, 1], [0.25, 1, 0]]
    assert features.transform(["a plain string"]).tolist() == [[0, 0.5, 0.5]]
    assert features.transform([]).shape == (0, 3)


def test_what_cannot_be_learned_or_read() -> None:
    with pytest.raises(DataError, match="no prompts"):
        SideFeatures(("domain",)).fit([])
    with pytest.raises(DataError, match="has the side information 'domain'"):
        SideFeatures(("domain",)).fit(["x", Prompt("y", {"domain": None, "images": 2})])
    with pytest.raises(NotFittedError, match="call fit"):
        SideFeatures(("domain",)).transform(["x"])


def fitted() -> SideFeatures:
    training = [Prompt("x", {"domain": "law", "images": 0}), Prompt("y", {"domain": "art"})]
    return SideFeatures(("domain", "images")).fit(training)


def test_saved_and_restored_it_reads_the_same() -> None:
    features = fitted()
    again = SideFeatures(features.columns).restore(features.tensors())
    asked = [Prompt("x", {"domain": "art", "images": 3}), "plain", Prompt("y", {"images": "?", "domain": "new"})]
    np.testing.assert_array_equal(again.transform(asked), features.transform(asked))
    assert again.n_features_ == features.n_features_ == 4


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("side.scale", None),
        ("side.scale", np.zeros((2, 2), np.float32)),
        ("side.scale", np.ones((1, 2), np.float32)),
        ("side.missing", np.zeros(3, np.uint8)),
        ("side.0.categories", None),
        ("side.0.categories", np.frombuffer(b"art\nlaw", np.uint8)),
        ("side.0.categories", np.frombuffer(b"art\nart\n", np.uint8)),
        ("side.0.shares", None),
        ("side.0.shares", np.zeros(3, np.float32)),
    ],
)
def test_what_does_not_fit_is_refused(name: str, tensor: np.ndarray | None) -> None:
    tensors = fitted().tensors()
    changed = {**tensors, name: tensor} if tensor is not None else {k: v for k, v in tensors.items() if k != name}
    with pytest.raises(ArtifactError):
        SideFeatures(("domain", "images")).restore(changed)


@pytest.mark.parametrize("kind", ["tfidf", "tfidf-svd"])
def test_beside_a_text_the_columns_come_last(kind: str) -> None:
    training = [Prompt(f"the red dog {i}", {"domain": "ab"[i % 2]}) for i in range(6)]
    both = make_features(kind, side=["domain"]).fit(training)
    text = make_features(kind).fit(training)
    assert isinstance(both, WithSide)
    assert both.n_features_ == text.n_features_ + 2
    assert (both.dense, both.slow) == (text.dense, text.slow)
    assert both.settings() == {**text.settings(), "side": ["domain"]}
    rows = both.transform(training)
    again = asyncio.run(both.transform_async(training))
    whole, alone = as_array(rows), as_array(text.transform(training))
    np.testing.assert_array_equal(as_array(again), whole)
    np.testing.assert_array_equal(whole[:, :-2], alone)
    np.testing.assert_array_equal(whole[:, -2:], [[1, 0], [0, 1]] * 3)
    weights = np.random.default_rng(0).normal(size=(both.n_features_, 3)).astype(np.float32)
    np.testing.assert_allclose(rows @ weights, whole @ weights, atol=1e-5)


def as_array(rows: Any) -> np.ndarray:
    return rows.matrix().toarray() if isinstance(rows, SparseRows) else rows


def test_side_information_alone() -> None:
    features = make_features("side", side=["domain"], dense=True)
    assert features.fit(prompts("domain", "a", "b")).transform(prompts("domain", "b")).tolist() == [[0, 1]]
    assert features.settings() == {"kind": "side", "columns": ("domain",)}
    for spec in ("side", {"kind": "side", "columns": ["domain"]}):
        with pytest.raises(ParameterError, match="name it in 'side'"):
            make_features(spec)


def told_by_domain(n_prompts: int = 80, seed: int = 0) -> RoutingData:
    """Prompts whose texts say nothing: in domain `easy` the small expert is right, in `hard` only the large one."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n_prompts):
        domain = ("easy", "hard")[i % 2]
        text = " ".join(rng.choice(["red", "green", "blue", "dog", "cat", "bird"], size=4))
        for expert, cost in (("small", 0.1), ("large", 1.0)):
            quality = float(expert == "large" or domain == "easy")
            rows.append(
                (f"p{i}", text, expert, 0, quality, 5, 5, cost, 0.1, domain, {"images": 3 * (domain == "hard")})
            )
    names = ["prompt_id", "prompt", "expert", "sample", "quality", "input_tokens", "output_tokens", "cost"]
    return RoutingData(pd.DataFrame(rows, columns=[*names, "latency_s", "domain", "metadata"]))


@pytest.mark.parametrize("features", ["tfidf", "tfidf-svd", "side"])
def test_a_hybrid_router_learns_what_only_the_side_information_tells(features: str, tmp_path: Any) -> None:
    data, new = told_by_domain(), told_by_domain(seed=1)
    router = make_router("hybrid-prob", features=features, side=["domain"], C=100.0).fit(data)
    save_router(router, tmp_path / "router")
    hard = new.prompts["domain"].to_numpy() == "hard"
    for asked in (router, load_router(tmp_path / "router")):
        needed = asked.predict(new.inputs(["domain"])).large_needed
        assert needed is not None
        assert needed[hard].min() > 0.8
        assert needed[~hard].max() < 0.2
        unsure = asked.predict(new.texts).large_needed
        assert unsure is not None
        assert np.median(unsure) == pytest.approx(0.5, abs=0.25)


def test_without_side_information_it_cannot_tell() -> None:
    data, new = told_by_domain(), told_by_domain(seed=1)
    needed = make_router("hybrid-prob").fit(data).predict(new.texts).large_needed
    hard = new.prompts["domain"].to_numpy() == "hard"
    assert needed is not None
    assert abs(needed[hard].mean() - needed[~hard].mean()) < 0.1


@pytest.mark.parametrize("features", ["c-btm", "side"])
def test_a_cluster_router_sends_by_side_information(features: str) -> None:
    frame = told_by_domain().frame
    frame["domain"] = frame["domain"].replace({"easy": "law", "hard": "art"})
    # Each of two specialists knows one domain, whatever the words are.
    known = frame["domain"].eq("law") == frame["expert"].eq("small")
    data = RoutingData(frame.assign(quality=known.astype(float), cost=1.0))
    router = make_router("cluster", features=features, side=["domain"], n_clusters=2).fit(data)
    prediction = router.predict([Prompt("red dog", {"domain": domain}) for domain in ("law", "art")])
    assert prediction.choice is not None
    assert [router.experts_[i] for i in prediction.choice] == ["small", "large"]


def test_a_quantity_from_the_metadata_tells_as_well() -> None:
    router = make_router("hybrid-det", side=["images"], C=100.0).fit(told_by_domain())
    needed = router.predict([Prompt("red dog", {"images": n}) for n in (0, 3, 5)]).large_needed
    assert needed is not None
    assert needed[0] < 0.2
    assert needed[1:].min() > 0.8


def test_a_router_without_the_named_side_information_in_its_data_is_refused() -> None:
    with pytest.raises(DataError, match="no side information 'language'"):
        make_router("hybrid-det", side=["language"]).fit(told_by_domain())
