"""What every router must do, whatever its method."""

from dataclasses import fields
from functools import cache
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
    Prediction,
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
from routers.data import COLUMNS

from .checkpoints import tiny_causal, tiny_encoder
from .conftest import make_frame

DEMO = Path(__file__).parents[3] / "demo" / "data"
TUNING: dict[str, Any] = {"epochs": 6, "batch_size": 16, "learning_rate": 5e-3, "max_tokens": 48}
FACTORS: dict[str, Any] = {"learning_rate": 1e-2, "max_epochs": 12, "dim": 32, "batch_size": 32, "folds": 2}
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "hybrid-prob": [
        {},
        {"encoder": tiny_encoder(), **{f"encoder_{name}": value for name, value in TUNING.items()}},
        {"features": "tfidf-svd", "C": None},
        {"features": "tfidf-svd:32", "side": ["domain"]},
    ],
    "hybrid-trans": [{}, {"head": "mlp", "max_epochs": 15}],
    "best-route": [
        {"reference": "large", "max_drop": 0.05, "folds": 2},
        {"reference": "large", "threshold": 0.7, "head": "mlp", "max_epochs": 15, "features": "tfidf-svd:32"},
    ],
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
    "forest": [{"n_trees": 20}, {"n_trees": 8, "features": "tfidf-svd:16", "side": ["domain"]}],
    "hierarchical": [
        {"within": {"name": "hybrid-prob", "folds": 2}},
        {
            "first": {"name": "cluster-score", "n_clusters": 2},
            "within": {"name": "hybrid-trans", "folds": 2},
            "max_drop": 0.3,
        },
    ],
    "linear": [{}, {"C": 0.3, "features": "tfidf-svd:32", "side": ["domain"]}],
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
SPECIALISTS = ("letters", "small", "sums")
POOLS = dict.fromkeys(
    ("cluster-score", "ensemble-n", "forest", "linear", "poly-bert", "poly-knn", "poly-mlp"), SPECIALISTS
)
"""Experts for routers that would send everything to the large one, which is best at everything."""

CASES = [
    pytest.param(info.name, parameters, id=f"{info.name}-{number}")
    for info in list_routers()
    for number, parameters in enumerate(VARIANTS.get(info.name, [{}]))
]
TEXTS = [
    "What is 1 + 2 ?",
    "Sort the letters ABCDEFGH in order",
    "",
    " \n",
    "x" * 300_000,
    "sum " * 50_000,
    "数学 🎲 \x00 \ud800",
]

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


@cache
def demo_data(file: str, split: str, n_prompts: int) -> RoutingData:
    """The first prompts of a split of what the demo's experts answered."""
    frame = pd.read_parquet(DEMO / file, columns=[*COLUMNS, "split", "domain"])
    frame = frame[(frame["split"] == split) & (frame["sample"] < 2)]
    return RoutingData(frame[frame["prompt_id"].isin(frame["prompt_id"].unique()[:n_prompts])])


def demo_part(name: str, parameters: dict[str, Any], split: str, n_prompts: int) -> RoutingData:
    """The pair for two-model routers, else the experts of one skill each, and the large one where it is named."""
    if make_router(name).n_models == "two":
        return demo_data("small-large.parquet", split, n_prompts)
    data = demo_data("experts.parquet", split, n_prompts)
    needs_large = name == "hierarchical" or "large" in parameters.values()
    return data if needs_large else data.select([expert for expert in data.experts if expert != "large"])


def check_equal(one: Prediction, other: Prediction) -> None:
    for field in fields(Prediction):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))


def check_predictions(router: Router, texts: list[str]) -> None:
    prediction = router.predict(texts)
    quality = prediction.quality
    assert quality.shape == (len(texts), len(router.experts_))
    assert quality.dtype == np.float32
    assert ((quality >= 0) & (quality <= 1)).all()
    if isinstance(router, TwoModelRouter):
        check_shares(prediction.large_needed, len(texts))
    check_shares(prediction.confidence, len(texts))
    assert (prediction.novelty is None) == (not router.knows_novelty)
    if prediction.novelty is not None:
        assert prediction.novelty.shape == (len(texts),)
        assert (np.isfinite(prediction.novelty) & (prediction.novelty >= 0)).all()


def check_shares(values: np.ndarray | None, n: int) -> None:
    assert values is not None
    assert (values.shape, values.dtype) == ((n,), np.float32)
    assert ((values >= 0) & (values <= 1)).all()


def test_constructor_only_stores(name: str, parameters: dict[str, Any]) -> None:
    router = make_router(name, **parameters)
    assert set(vars(router)) == set(router.parameter_names())
    assert router.get_params() == {**make_router(name).get_params(), **parameters}
    assert clone(router).get_params() == router.get_params()


def test_fit_leaves_data_and_parameters_reports_progress_and_is_repeatable(
    name: str, parameters: dict[str, Any], held_out: RoutingData
) -> None:
    frame = make_frame(40)
    before = frame.copy()
    data = RoutingData(frame)
    content = data.frame
    router = make_router(name, **parameters)
    shares: list[float] = []
    assert router.fit(data, lambda doing, share: shares.append(share)) is router
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    pd.testing.assert_frame_equal(frame, before)
    pd.testing.assert_frame_equal(data.frame, content)
    assert router.get_params() == make_router(name, **parameters).get_params()
    assert router.data_hash_
    again = fitted_on(frame, name, parameters)
    check_equal(again.predict(held_out.texts[:40]), router.predict(held_out.texts[:40]))


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


async def test_predicting_beside_the_event_loop_gives_the_same(trained: Router, held_out: RoutingData) -> None:
    check_equal(await trained.predict_async(held_out.texts[:20]), trained.predict(held_out.texts[:20]))


def test_saved_and_loaded_it_predicts_the_same(trained: Router, held_out: RoutingData, tmp_path: Path) -> None:
    save_router(trained, tmp_path / "router")
    loaded = load_router(tmp_path / "router")
    assert type(loaded) is type(trained)
    assert loaded.get_params() == trained.get_params()
    assert (loaded.experts_, loaded.fallback_) == (trained.experts_, trained.fallback_)
    check_equal(loaded.predict(held_out.texts), trained.predict(held_out.texts))
    one, other = (decide(router, "What is 1 + 2 ?") for router in (loaded, trained))
    # How weights lie in memory may change how a processor rounds its product with a single prompt.
    assert (one.expert, one.candidates, one.threshold) == (other.expert, other.candidates, other.threshold)
    assert one.score == pytest.approx(other.score, abs=1e-6)
    assert one.qualities == pytest.approx(other.qualities, abs=1e-6)
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
    router = fitted_on(make_frame(24, n_samples=1, constant=label), name, parameters)
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


def test_better_than_random_on_the_demos_data(name: str, parameters: dict[str, Any]) -> None:
    """Likewise; a two-model router sends half of the prompts to each, since few prompts do not fix a threshold."""
    if parameters not in VARIANTS.get(name, [{}])[:1] or not make_router(name).learns or name == "length":
        pytest.skip("one set of parameters is enough, and the length of the demo's prompts says nothing")
    router = make_router(name, **parameters).fit(demo_part(name, parameters, "train", 240))
    held_out = demo_part(name, parameters, "calibration", 200)
    if isinstance(router, TwoModelRouter):
        router.threshold_ = float(
            np.median(router.predict_large_needed(held_out.inputs(getattr(router, "side", None))))
        )
    outcome = evaluate(router, held_out)
    quality = held_out.select(router.experts_).quality().mean(axis=0)
    coin = sum(share * quality[i] for i, share in enumerate(outcome.shares.values()))
    assert outcome.quality > coin + 0.02


def test_adapting(name: str, trained: Router, held_out: RoutingData, tmp_path: Path) -> None:
    few = RoutingData(make_frame(30, n_samples=2, seed=3))
    save_router(trained, tmp_path / "router")
    router, again = load_router(tmp_path / "router"), load_router(tmp_path / "router")
    shares: list[float] = []
    assert router.adapt(few, lambda doing, share: shares.append(share)) is router
    assert all(0 <= share <= 1 for share in shares)
    assert shares == sorted(shares)
    check_predictions(router, held_out.texts[:40])
    check_predictions(router, TEXTS)
    check_equal(again.adapt(few).predict(held_out.texts[:40]), router.predict(held_out.texts[:40]))
    assert (router.experts_, router.get_params()) == (trained.experts_, trained.get_params())
    assert [noted["prompts"] for noted in router.summary_["adapted"]] == [30]
    assert router.summary_["training"] == trained.summary_["training"]
    assert "adapted" not in trained.summary_
    save_router(router, tmp_path / "adapted")
    loaded = load_router(tmp_path / "adapted")
    check_equal(loaded.predict(held_out.texts[:40]), router.predict(held_out.texts[:40]))
    assert loaded.summary_ == router.summary_


def test_refused_data_leaves_a_router_as_it_was(trained: Router, held_out: RoutingData, tmp_path: Path) -> None:
    save_router(trained, tmp_path / "router")
    router = load_router(tmp_path / "router")
    frame = make_frame(4)
    lacking = frame[frame["expert"] != router.experts_[-1]]
    gap = frame[(frame["expert"] != router.experts_[-1]) | (frame["prompt_id"] != "p2")]
    for refused, message in ((lacking, "no expert"), (gap, "'p2' has no answer")):
        with pytest.raises(DataError, match=message):
            router.adapt(RoutingData(refused))
    check_equal(router.predict(held_out.texts[:20]), trained.predict(held_out.texts[:20]))
    assert router.summary_ == trained.summary_


def test_adapting_what_is_not_trained(name: str, parameters: dict[str, Any], data: RoutingData) -> None:
    with pytest.raises(NotFittedError, match="not trained"):
        make_router(name, **parameters).adapt(data)
