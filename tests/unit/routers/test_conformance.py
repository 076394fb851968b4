"""What every router must do, whatever its method."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from routers import (
    DataError,
    NotFittedError,
    Policy,
    Router,
    RoutingData,
    TwoModelRouter,
    decide,
    evaluate,
    list_routers,
    load_router,
    make_router,
    save_router,
)

from .checkpoints import tiny_causal, tiny_encoder
from .conftest import make_frame

TUNING: dict[str, Any] = {"epochs": 6, "batch_size": 16, "learning_rate": 5e-3, "max_tokens": 48}
FACTORS: dict[str, Any] = {"learning_rate": 1e-2, "max_epochs": 12, "dim": 32, "batch_size": 32, "folds": 2}
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "hybrid-prob": [
        {},
        {"encoder": tiny_encoder(), **{f"encoder_{name}": value for name, value in TUNING.items()}},
        {"features": "tfidf-svd"},
        {"features": "tfidf-svd:32", "side": ["domain"]},
    ],
    "hybrid-trans": [{}, {"head": "mlp", "max_epochs": 15}],
    "cluster": [{"n_clusters": 2, "fallback": "large"}, {"fallback": "large", "max_drop": 0.1}],
    "cluster-score": [{}, {"n_clusters": 2, "top": 1, "alpha": 0.8, "shrinkage": 0.0}],
    "ensemble": [
        {"folds": 2, "members": [{"name": "hybrid-prob", "folds": 2}, {"name": "cluster-score"}]},
        {
            "method": "mean",
            "weights": [2.0, 1.0],
            "members": [{"name": "hybrid-prob", "folds": 2}, {"name": "cluster"}],
        },
    ],
    "ensemble-n": [
        {"folds": 2, "members": [{"name": "cluster-score"}, {"name": "hybrid-prob", "folds": 2}]},
        {"method": "mean", "members": [{"name": "cluster", "n_clusters": 2}, {"name": "poly-knn"}]},
    ],
    "hierarchical": [
        {"within": {"name": "hybrid-prob", "folds": 2}},
        {
            "first": {"name": "cluster-score", "n_clusters": 2},
            "within": {"name": "hybrid-trans", "folds": 2},
            "max_drop": 0.05,
        },
    ],
    "poly-bert": [{"encoder": tiny_encoder(), **TUNING}],
    "poly-knn": [{"k": 20}, {"k": None, "cost_weight": 0.1}],
    "poly-mlp": [{"max_epochs": 10}],
    "routellm-bert": [{"encoder": tiny_encoder(), **TUNING}],
    "routellm-causal": [{"model": tiny_causal(), **TUNING, "max_tokens": 128}],
    "constant": [{}, {"expert": "sums"}],
    "random": [{"large_share": 0.3, "seed": 5}],
    "routellm-mf": [FACTORS, {"battles": "all", **FACTORS}],
    "routellm-sw": [{}, {"battles": "all", "gamma": 30.0}],
}
POOLS = dict.fromkeys(
    ("cluster-score", "ensemble-n", "poly-bert", "poly-knn", "poly-mlp"), ("letters", "small", "sums")
)
"""Experts for routers that would send everything to the large one, which is best at everything."""

CASES = [
    pytest.param(info.name, parameters, id=f"{info.name}-{number}")
    for info in list_routers()
    for number, parameters in enumerate(VARIANTS.get(info.name, [{}]))
]
TEXTS = ["What is 1 + 2 ?", "Sort the letters ABCDEFGH in order", "", " \n", "x" * 300_000, "数学 🎲 \x00 \ud800"]

pytestmark = pytest.mark.parametrize(("name", "parameters"), CASES)

_trained: dict[str, Router] = {}


@pytest.fixture
def trained(name: str, parameters: dict[str, Any], data: RoutingData) -> Router:
    key = f"{name}{parameters}"
    if key not in _trained:
        _trained[key] = make_router(name, **parameters).fit(data.select(POOLS.get(name, data.experts)))
    return _trained[key]


def fitted_on(frame: pd.DataFrame, name: str, parameters: dict[str, Any]) -> Router:
    return make_router(name, **parameters).fit(RoutingData(frame))


def check_predictions(router: Router, texts: list[str]) -> None:
    quality = router.predict_quality(texts)
    assert quality.shape == (len(texts), len(router.experts_))
    assert quality.dtype == np.float32
    assert ((quality >= 0) & (quality <= 1)).all()
    if isinstance(router, TwoModelRouter):
        needed = router.predict_large_needed(texts)
        assert needed.shape == (len(texts),)
        assert ((needed >= 0) & (needed <= 1)).all()
    novelty = router.novelty(texts)
    assert (novelty is None) == (not router.knows_novelty)
    if novelty is not None:
        assert novelty.shape == (len(texts),)
        assert (np.isfinite(novelty) & (novelty >= 0)).all()


def test_constructor_only_stores(name: str, parameters: dict[str, Any]) -> None:
    router = make_router(name, **parameters)
    assert set(vars(router)) == set(router.parameter_names())
    assert router.get_params() == {**make_router(name).get_params(), **parameters}
    assert clone(router).get_params() == router.get_params()


def test_fit_returns_self_and_leaves_data_and_parameters(name: str, parameters: dict[str, Any]) -> None:
    frame = make_frame(40)
    before = frame.copy()
    data = RoutingData(frame)
    content = data.frame
    router = make_router(name, **parameters)
    assert router.fit(data) is router
    pd.testing.assert_frame_equal(frame, before)
    pd.testing.assert_frame_equal(data.frame, content)
    assert router.get_params() == make_router(name, **parameters).get_params()
    assert router.data_hash_


def test_learned_names_end_in_an_underscore(trained: Router) -> None:
    learned = set(vars(trained)) - set(trained.parameter_names())
    assert all(attribute.endswith("_") for attribute in learned)


def test_shapes_and_ranges(trained: Router, held_out: RoutingData) -> None:
    check_predictions(trained, held_out.texts)
    check_predictions(trained, [])
    assert len(trained.cost_) == len(trained.experts_)
    assert set(trained.experts_) <= set(held_out.experts)
    assert trained.fallback_ in trained.experts_
    if isinstance(trained, TwoModelRouter):
        assert trained.experts_ == (trained.small_, trained.large_)


def test_empty_huge_and_strange_prompts(trained: Router) -> None:
    check_predictions(trained, TEXTS)
    for text in TEXTS:
        assert decide(trained, text).expert in trained.experts_


def test_one_prompt_equals_the_same_prompt_in_a_batch(trained: Router, held_out: RoutingData) -> None:
    texts = held_out.texts[:20]
    batch = trained.predict(texts)
    for row, text in enumerate(texts):
        np.testing.assert_allclose(trained.predict_quality([text])[0], batch.quality[row], atol=1e-5)


def test_seed_makes_it_repeatable(
    name: str, parameters: dict[str, Any], trained: Router, data: RoutingData, held_out: RoutingData
) -> None:
    again = make_router(name, **parameters).fit(data.select(POOLS.get(name, data.experts)))
    np.testing.assert_array_equal(again.predict_quality(held_out.texts), trained.predict_quality(held_out.texts))


def test_saved_and_loaded_it_predicts_the_same(trained: Router, held_out: RoutingData, tmp_path: Path) -> None:
    save_router(trained, tmp_path / "router")
    loaded = load_router(tmp_path / "router")
    assert type(loaded) is type(trained)
    assert loaded.get_params() == trained.get_params()
    assert (loaded.experts_, loaded.fallback_) == (trained.experts_, trained.fallback_)
    before, after = trained.predict(held_out.texts), loaded.predict(held_out.texts)
    for field in ("quality", "large_needed", "choice", "novelty"):
        np.testing.assert_array_equal(getattr(after, field), getattr(before, field))
    assert decide(loaded, "What is 1 + 2 ?") == decide(trained, "What is 1 + 2 ?")
    assert loaded.summary_ == trained.summary_


def test_two_saves_of_one_training_are_equal(trained: Router, tmp_path: Path) -> None:
    for place in ("a", "b"):
        save_router(trained, tmp_path / place)
    for file in ("router.json", "router.safetensors"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_one_training_prompt(name: str, parameters: dict[str, Any]) -> None:
    check_predictions(fitted_on(make_frame(1), name, parameters), TEXTS)


@pytest.mark.parametrize("label", [0.0, 0.5, 1.0])
def test_constant_labels(name: str, parameters: dict[str, Any], label: float) -> None:
    router = fitted_on(make_frame(40, n_samples=1, constant=label), name, parameters)
    check_predictions(router, TEXTS)
    assert np.abs(router.predict_quality(["What is 1 + 2 ?"]) - label).max() < 0.15


def test_missing_labels(name: str, parameters: dict[str, Any], frame: pd.DataFrame) -> None:
    gap = (frame["prompt_id"] == "p7") & (frame["expert"] == "large")
    with pytest.raises(DataError, match="'p7' has no answer of expert 'large'"):
        fitted_on(frame[~gap], name, parameters)


def test_untrained(name: str, parameters: dict[str, Any], tmp_path: Path) -> None:
    router = make_router(name, **parameters)
    for use in (lambda: router.predict_quality(["x"]), lambda: save_router(router, tmp_path / "router")):
        with pytest.raises(NotFittedError, match="not trained"):
            use()


def test_better_than_random_on_prompts_it_has_not_seen(trained: Router, held_out: RoutingData) -> None:
    """It beats a coin that sends the same share of prompts to each expert."""
    if not trained.learns:
        pytest.skip("it makes the same choice whatever it is trained with, or chooses by a coin")
    outcome = evaluate(trained, held_out, Policy())
    quality = held_out.select(trained.experts_).quality().mean(axis=0)
    coin = sum(share * quality[i] for i, share in enumerate(outcome.shares.values()))
    assert outcome.quality > coin + 0.1


def test_training_reports_its_progress(name: str, parameters: dict[str, Any]) -> None:
    shares: list[float] = []
    make_router(name, **parameters).fit(RoutingData(make_frame(40)), lambda doing, share: shares.append(share))
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
