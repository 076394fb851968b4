"""How a router names the features it wants."""

from typing import Any

import pytest

from routers import ParameterError, list_features, make_features


def test_the_kinds_there_are() -> None:
    assert list_features() == ("c-btm", "endpoint", "sentence", "side", "tfidf", "tfidf-svd", "tfidf-svd-counts")


@pytest.mark.parametrize(
    ("spec", "kind", "parameters"),
    [
        ("tfidf", "tfidf", {}),
        ("tfidf-svd:64", "tfidf-svd", {"n_components": 64, "random_state": 7}),
        ("tfidf-svd-counts:16", "tfidf-svd-counts", {"n_components": 16, "random_state": 7}),
        ("c-btm:20", "c-btm", {"n_components": 20, "random_state": 7}),
        ("sentence:models/minilm", "sentence", {"model": "models/minilm"}),
        ("sentence:package:some_model", "sentence", {"model": "package:some_model"}),
        ({"kind": "tfidf-svd", "random_state": 1}, "tfidf-svd", {"random_state": 1}),
    ],
)
def test_specifications(spec: Any, kind: str, parameters: dict[str, Any]) -> None:
    features = make_features(spec, seed=7)
    assert features.kind == kind
    assert features.get_params() == {**type(features)().get_params(), **parameters}
    assert make_features(features.settings()).get_params() == features.get_params()


def test_a_specification_stays_as_it_is() -> None:
    spec = {"kind": "tfidf-svd", "n_components": 8}
    make_features(spec, side=["domain"])
    assert spec == {"kind": "tfidf-svd", "n_components": 8}


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("bert", "no features of the kind 'bert': choose one of c-btm, endpoint"),
        ("bert:3", "no features of the kind 'bert:3'"),
        ({}, "no features of the kind None"),
        ({"kind": "tfidf", "n_components": 3}, "no parameter 'n_components'"),
        ("tfidf:3", "'tfidf' take no value after a colon"),
        ("tfidf-svd:many", "'n_components'"),
        ("tfidf-svd:0", "'n_components'"),
        ("endpoint", "'url'"),
    ],
)
def test_what_is_refused(spec: Any, said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        make_features(spec)


def test_a_router_that_measures_distances_needs_dense_rows() -> None:
    with pytest.raises(ParameterError, match="use c-btm, endpoint, sentence, side, tfidf-svd"):
        make_features("tfidf", dense=True)
