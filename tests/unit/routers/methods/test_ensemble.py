import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from routers import DataError, ParameterError, RoutingData, load_router, save_router
from routers.methods.combining import _folds_by_group, _folds_by_text
from routers.methods.ensemble import EnsembleNRouter, EnsembleRouter
from tests.unit.routers.conftest import make_frame

TEXTS = ["What is 1 + 2 ?", "What is 1 + 2 + 3 + 4 + 5 + 6 + 7 ?", "Sort the letters ABC in order", "zebra", ""]
HYBRID = {"name": "hybrid-prob", "folds": 2}
LENGTH = {"name": "length"}


def two_quantities(n_prompts: int, seed: int) -> RoutingData:
    """The large expert is needed where two quantities are large together; the text says nothing of either."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n_prompts):
        a, b = rng.random(2)
        metadata = {"a": float(a), "b": float(b)}
        text = " ".join(rng.choice(["one", "two", "three", "four"], size=4))
        for expert, cost, quality in (("small", 0.1, float(a + b < 1)), ("large", 1.0, 1.0)):
            rows.append((f"p{seed}-{i}", text, expert, 0, quality, 1, 1, cost, 0.1, metadata))
    names = ["prompt_id", "prompt", "expert", "sample", "quality", "input_tokens", "output_tokens", "cost"]
    return RoutingData(pd.DataFrame(rows, columns=[*names, "latency_s", "metadata"]))


@pytest.fixture(scope="module")
def mean(data: RoutingData) -> EnsembleRouter:
    members = [HYBRID, {"name": "cluster"}]
    return EnsembleRouter(members=members, method="mean", weights=[3.0, 1.0], label="needed").fit(data)


def test_mean_is_weighted_by_hand(mean: EnsembleRouter) -> None:
    hybrid, cluster = (member.predict(TEXTS) for member in mean.members_)
    assert mean.experts_ == ("small", "large")
    assert mean.members_[1].experts_ == ("small", "large")
    said = mean.predict(TEXTS)
    np.testing.assert_allclose(said.quality, 0.75 * hybrid.quality + 0.25 * cluster.quality, atol=1e-6)
    needed = cluster.quality[:, 1] * (1 - cluster.quality[:, 0])
    np.testing.assert_allclose(said.large_needed, 0.75 * hybrid.large_needed + 0.25 * needed, atol=1e-6)
    assert hybrid.novelty is not None
    assert cluster.novelty is not None
    np.testing.assert_allclose(said.novelty, (hybrid.novelty + cluster.novelty) / 2, atol=1e-6)


def test_confidence_falls_with_the_spread_of_the_members(mean: EnsembleRouter) -> None:
    hybrid, cluster = (member.predict(TEXTS) for member in mean.members_)
    needed = cluster.quality[:, 1] * (1 - cluster.quality[:, 0])
    assert hybrid.large_needed is not None
    # Two values with weights 3/4 and 1/4: the standard deviation is their distance times sqrt(3)/4.
    spread = np.abs(hybrid.large_needed - needed) * np.sqrt(3) / 4
    np.testing.assert_allclose(mean.predict(TEXTS).confidence, 1 - 2 * spread, atol=1e-5)


def test_gap_of_members_for_any_number_of_experts(data: RoutingData) -> None:
    members = [{"name": "cluster"}, {"name": "constant"}]
    router = EnsembleRouter(members=members, method="mean", label="gap").fit(data)
    quality = router.predict(TEXTS).quality
    np.testing.assert_allclose(router.predict_large_needed(TEXTS), (1 + quality[:, 1] - quality[:, 0]) / 2, atol=1e-6)


def test_members_that_stand_in(data: RoutingData) -> None:
    for cls in (EnsembleRouter, EnsembleNRouter):
        assert [spec["name"] for spec in cls().member_specs()] == ["linear", "forest", "poly-knn"]
    router = EnsembleRouter(method="mean").fit(data)
    assert router.knows_novelty
    assert not router.slow
    quality = router.predict_quality(TEXTS)
    np.testing.assert_allclose(router.predict_large_needed(TEXTS), (1 + quality[:, 1] - quality[:, 0]) / 2, atol=1e-6)


def test_a_file_with_other_members_standing_in_keeps_them(data: RoutingData, tmp_path: Path) -> None:
    saved = EnsembleRouter(members=[HYBRID, LENGTH], method="mean").fit(data)
    said = saved.predict_large_needed(TEXTS)
    saved.members = None  # as in a file from when these two stood in
    save_router(saved, tmp_path / "old")
    loaded = load_router(tmp_path / "old")
    assert isinstance(loaded, EnsembleRouter)
    assert [member.name for member in loaded.members_] == ["hybrid-prob", "length"]
    np.testing.assert_array_equal(loaded.predict_large_needed(TEXTS), said)
    save_router(loaded.adapt(data), tmp_path / "again")
    again = load_router(tmp_path / "again")
    np.testing.assert_array_equal(again.predict_quality(TEXTS), loaded.predict_quality(TEXTS))


def test_members_share_the_pair(data: RoutingData) -> None:
    router = EnsembleRouter(small="sums", large="letters", members=[HYBRID, LENGTH], method="mean").fit(data)
    assert [member.experts_ for member in router.members_] == [("sums", "letters")] * 2


def auc(score: Any, data: RoutingData) -> float:
    return float(roc_auc_score(data.quality()[:, 1] < 0.5, score))


def test_stack_beats_members_that_know_different_things() -> None:
    train, test = two_quantities(300, 0), two_quantities(300, 1)
    members = [{**HYBRID, "side": [name]} for name in ("a", "b")]
    stack = EnsembleRouter(members=members, folds=3).fit(train)
    single = [auc(member.predict(test.inputs(["a", "b"])).large_needed, test) for member in stack.members_]
    both = auc(stack.predict_large_needed(test.inputs(stack.side)), test)
    assert stack.stacker_ is not None
    assert both > max(single) + 0.05


def test_stack_leaves_out_a_member_that_knows_nothing() -> None:
    train, test = two_quantities(300, 0), two_quantities(300, 1)
    knows = {**HYBRID, "side": ["a", "b"]}
    router = {
        method: EnsembleRouter(members=[knows, {"name": "random"}], method=method, folds=2).fit(train)
        for method in ("mean", "stack")
    }
    scores = {method: auc(made.predict_large_needed(test.inputs(made.side)), test) for method, made in router.items()}
    alone = auc(router["stack"].members_[0].predict(test.inputs(["a", "b"])).large_needed, test)
    assert scores["stack"] > alone - 0.02
    assert scores["stack"] > scores["mean"] + 0.02


def test_equal_texts_fall_in_one_fold() -> None:
    texts = [f"text {i % 30}" for i in range(90)]
    fold = _folds_by_text(texts, 5, 0)
    assert fold is not None
    assert fold.tolist() == fold[:30].tolist() * 3
    assert np.bincount(fold[:30]).tolist() == [6] * 5
    assert _folds_by_text(texts[:19] * 4, 5, 0) is None


def test_groups_fall_in_one_fold_and_fill_folds_evenly() -> None:
    texts = [f"text {i}" for i in range(60)]
    groups = ["large"] * 30 + ["a"] * 12 + ["b"] * 10 + ["c"] * 8
    fold = _folds_by_group(texts, groups, 2)
    assert fold is not None
    assert fold.tolist() == [0] * 30 + [1] * 30
    assert _folds_by_group(texts, groups, 5).max() == 3  # type: ignore[union-attr]
    assert _folds_by_group(texts, ["one"] * 60, 5) is None
    assert _folds_by_group(texts[:19] * 4, groups[:30] * 2 + groups[:16], 5) is None


def test_a_text_of_several_groups_is_in_one_fold() -> None:
    texts = [f"text {i % 30}" for i in range(60)]
    fold = _folds_by_group(texts, ["a", "b"] * 15 + ["b", "a"] * 15, 2)
    assert fold is not None
    assert fold[:30].tolist() == fold[30:].tolist()


def domains_apart(domains: range, seed: int) -> RoutingData:
    """What a domain's word tells of difficulty holds in that domain alone; length tells a little everywhere."""
    rng = np.random.default_rng(seed)
    rows = []
    for domain in domains:
        hard = rng.random() < 0.5
        for i in range(40):
            length = int(rng.integers(1, 9))
            text = " ".join([f"topic{domain}"] * length + [f"{seed}-{domain}-{i}"])
            right = float(rng.random() < (0.1 if hard else 0.9) + (0.1 if length < 5 else -0.1))
            for expert, cost, quality in (("small", 0.1, right), ("large", 1.0, 1.0)):
                row = (f"{domain}-{i}", text, expert, 0, quality, 1, 1, cost, 0.1, str(domain))
                rows.append(row)
    names = ["prompt_id", "prompt", "expert", "sample", "quality", "input_tokens", "output_tokens", "cost"]
    return RoutingData(pd.DataFrame(rows, columns=[*names, "latency_s", "domain"]))


def test_folds_of_whole_domains_give_weight_to_what_carries_over() -> None:
    train = domains_apart(range(24), 0)
    known = {"name": "poly-knn", "k": 5, "features": {"kind": "tfidf-svd", "n_components": 64}}
    weight = {}
    for group in (None, "domain"):
        router = EnsembleRouter(members=[known, LENGTH], group=group, folds=3).fit(train)
        assert router.stacker_ is not None
        weight[group] = float(router.stacker_.layers[0][0][0, 0])
    assert weight[None] > 3 * weight["domain"]


def test_a_group_that_no_prompt_has(data: RoutingData) -> None:
    router = EnsembleRouter(members=[HYBRID, LENGTH], group="task")
    with pytest.raises(DataError, match="side information 'task'"):
        router.fit(data)


def test_too_few_texts_are_not_stacked(data: RoutingData) -> None:
    few = RoutingData(make_frame(12))
    router = EnsembleRouter(members=[HYBRID, LENGTH]).fit(few)
    assert router.stacker_ is None
    parts = [member.predict(TEXTS).large_needed for member in router.members_]
    np.testing.assert_allclose(router.predict_large_needed(TEXTS), np.mean(parts, axis=0), atol=1e-6)


def test_many_experts_and_a_member_of_two(data: RoutingData) -> None:
    pair = {**HYBRID, "small": "sums", "large": "letters"}
    router = EnsembleNRouter(members=[{"name": "cluster", "n_clusters": 2}, pair], method="mean").fit(data)
    cluster, hybrid = (member.predict_quality(TEXTS) for member in router.members_)
    said = router.predict_quality(TEXTS)
    place = router.experts_.index
    for expert in ("small", "large"):
        np.testing.assert_allclose(said[:, place(expert)], cluster[:, place(expert)], atol=1e-6)
    for i, expert in enumerate(("sums", "letters")):
        np.testing.assert_allclose(said[:, place(expert)], (cluster[:, place(expert)] + hybrid[:, i]) / 2, atol=1e-6)


def test_an_expert_that_no_member_knows(data: RoutingData) -> None:
    router = EnsembleNRouter(members=[HYBRID, LENGTH], method="mean")
    with pytest.raises(ParameterError, match="No member says how good expert 'letters' is"):
        router.fit(data)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"weights": [1.0, 1.0]}, "leave 'weights' out"),
        ({"method": "mean", "weights": [1.0, 1.0, 1.0]}, "one weight"),
        ({"method": "mean", "weights": [0.0, 0.0]}, "one weight"),
        ({"method": "mean", "weights": [-1.0, 1.0]}, "'weights.0'"),
        ({"method": "vote"}, "'method'"),
        ({"members": [LENGTH]}, "'members'"),
    ],
)
def test_parameters_that_do_not_fit(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        EnsembleRouter(**{"members": [HYBRID, LENGTH], **parameters}).check_params()


def test_asked_without_waiting_it_says_the_same(mean: EnsembleRouter) -> None:
    assert not mean.slow
    said = asyncio.run(mean.predict_async(TEXTS))
    np.testing.assert_array_equal(said.large_needed, mean.predict(TEXTS).large_needed)


def test_adapting_moves_members_and_stack_to_the_new_prompts() -> None:
    train, turned = two_quantities(200, 0), two_quantities(200, 1)
    frame = turned.frame
    small = frame["expert"] == "small"
    frame.loc[small, "quality"] = 1.0 - frame.loc[small, "quality"]
    turned = RoutingData(frame)
    router = EnsembleRouter(members=[{**HYBRID, "side": ["a", "b"]}, LENGTH], folds=2).fit(train)
    assert router.stacker_ is not None
    weights = router.stacker_.layers[0][0].copy()
    before = auc(router.predict_large_needed(turned.inputs(router.side)), turned)
    router.adapt(turned)
    assert auc(router.predict_large_needed(turned.inputs(router.side)), turned) > before + 0.2
    assert np.abs(router.stacker_.layers[0][0] - weights).max() > 1e-3
    assert all(member.summary_["adapted"] for member in router.members_)
