import asyncio
from typing import Any

import numpy as np
import pandas as pd
import pytest

from routers import ParameterError, Policy, RoutingData, decide, evaluate, make_router
from routers.methods.hierarchical import HierarchicalRouter
from tests.unit.routers.conftest import WORDS

EASY_SUM, HARD_SUM = "What is 1 + 2 ?", "What is 1 + 2 + 3 + 4 + 5 + 6 + 7 + 8 + 9 ?"
EASY_LETTERS, HARD_LETTERS = "Sort the letters ABC in order", "Sort the letters QWERTZUIOP in order"
PROMPTS = [EASY_SUM, HARD_SUM, EASY_LETTERS, HARD_LETTERS]
WITHIN = {"name": "hybrid-prob", "folds": 2}


def make_frame(n_prompts: int, seed: int = 0) -> pd.DataFrame:
    """Two domains and two difficulties: each domain has an expert for its easy prompts, the large one does all."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n_prompts):
        domain, easy = ("sums", "letters")[i % 2], bool(rng.random() < 0.6)
        template, alphabet, glue = WORDS[domain]
        size = int(rng.integers(3, 6) if easy else rng.integers(8, 11))
        text = template.format(glue.join(rng.choice(list(alphabet), size=size)))
        for expert, cost in (("sums", 0.2), ("letters", 0.3), ("large", 1.0)):
            right = 0.98 if expert == "large" or (expert == domain and easy) else 0.05
            row = (f"p{seed}-{i}", text, expert)
            rows += [(*row, k, float(rng.random() < right), 9, 5, cost, 0.1, domain) for k in range(2)]
    names = ["prompt_id", "prompt", "expert", "sample", "quality", "input_tokens", "output_tokens", "cost"]
    return pd.DataFrame(rows, columns=[*names, "latency_s", "domain"])


@pytest.fixture(scope="module")
def data() -> RoutingData:
    return RoutingData(make_frame(240))


@pytest.fixture(scope="module")
def held_out() -> RoutingData:
    return RoutingData(make_frame(200, seed=1))


@pytest.fixture(scope="module")
def router(data: RoutingData) -> HierarchicalRouter:
    return HierarchicalRouter(within=WITHIN).fit(data)


def chosen(router: HierarchicalRouter, prompts: list[str]) -> list[str]:
    choice = router.predict(prompts).choice
    assert choice is not None
    return [router.experts_[i] for i in choice]


def test_easy_prompts_go_to_the_expert_of_their_domain_and_hard_ones_to_the_large_one(
    router: HierarchicalRouter, held_out: RoutingData
) -> None:
    assert chosen(router, PROMPTS) == ["sums", "large", "letters", "large"]
    assert [decide(router, text).expert for text in PROMPTS] == ["sums", "large", "letters", "large"]
    assert sorted(router.summary_["cluster_experts"]) == ["letters", "sums"]
    assert router.fallback_ == "large"


def test_it_beats_both_stages_alone(router: HierarchicalRouter, data: RoutingData, held_out: RoutingData) -> None:
    both = evaluate(router, held_out)
    domains = evaluate(make_router("cluster", fallback="large").fit(data), held_out)
    assert both.quality > domains.quality + 0.2
    pairs = [
        evaluate(make_router(**WITHIN, small=small, large="large").fit(data), held_out) for small in ("sums", "letters")
    ]
    for pair in pairs:
        assert both.quality > pair.quality - 0.02
        assert both.cost < 0.85 * pair.cost


def test_decision_is_that_of_the_cluster_router(router: HierarchicalRouter) -> None:
    said, first = router.predict(PROMPTS), router.first_.predict(PROMPTS)
    cluster = router.first_.assign(router.first_.features_.transform(PROMPTS))
    assert cluster[0] == cluster[1] != cluster[2] == cluster[3]
    for row, text in enumerate(PROMPTS):
        member = router.within_[cluster[row]]
        assert member is not None
        specialist = router.experts_[router.specialist_[cluster[row]]]
        assert member.experts_ == (specialist, "large")
        inner = member.predict([text])
        assert inner.large_needed is not None
        columns = [router.experts_.index(specialist), router.experts_.index("large")]
        np.testing.assert_allclose(said.quality[row, columns], inner.quality[0], atol=1e-6)
        other = next(i for i in range(3) if i not in columns)
        assert said.quality[row, other] == first.quality[row, other]
        assert said.confidence is not None
        assert said.confidence[row] == pytest.approx(abs(2 * inner.large_needed[0] - 1), abs=1e-5)
    np.testing.assert_array_equal(said.novelty, first.novelty)


def test_too_few_prompts_make_a_constant_score_by_hand(data: RoutingData) -> None:
    router = HierarchicalRouter(within=WITHIN, min_prompts=121).fit(data)
    assert router.summary_["constant_clusters"] == [0, 1]
    domain = data.prompts["domain"].to_numpy()
    for c, specialist in enumerate(router.specialist_):
        expert = router.experts_[specialist]
        mine = domain == expert
        assert router.count_[c] == mine.sum() == 120
        small, large = data.samples(expert)[mine], data.samples("large")[mine]
        needed = (small[:, :, None] < large[:, None, :]).mean()
        assert router.score_[c] == pytest.approx(needed, abs=1e-6)
    assert chosen(router, PROMPTS) == ["sums", "sums", "letters", "letters"]
    low = HierarchicalRouter(within=WITHIN, min_prompts=121, threshold=0.2).fit(data)
    assert chosen(low, PROMPTS) == ["large"] * 4


def test_one_label_makes_a_constant_score(data: RoutingData) -> None:
    frame = data.frame
    frame.loc[frame["domain"] == "sums", "quality"] = (frame["expert"] != "letters").astype(float)
    router = HierarchicalRouter(within=WITHIN).fit(RoutingData(frame))
    assert len(router.summary_["constant_clusters"]) == 1
    assert chosen(router, PROMPTS) == ["sums", "sums", "letters", "large"]


def test_of_equal_specialists_the_cheaper_is_taken(data: RoutingData) -> None:
    same = RoutingData(data.frame.assign(quality=1.0))
    router = HierarchicalRouter(within=WITHIN).fit(same)
    assert set(router.summary_["cluster_experts"]) == {"sums"}
    assert chosen(router, PROMPTS) == ["sums"] * 4


def test_max_drop_keeps_the_loss_of_each_cluster_small(data: RoutingData, held_out: RoutingData) -> None:
    outcomes = [evaluate(HierarchicalRouter(within=WITHIN, max_drop=d).fit(data), held_out) for d in (0.05, 0.6)]
    assert outcomes[0].quality_drop < 0.05
    assert outcomes[1].cost_advantage > outcomes[0].cost_advantage
    constant = HierarchicalRouter(within=WITHIN, min_prompts=121, max_drop=0.05).fit(data)
    assert chosen(constant, PROMPTS) == ["large"] * 4
    free = HierarchicalRouter(within=WITHIN, min_prompts=121, max_drop=0.9).fit(data)
    assert chosen(free, PROMPTS) == ["sums", "sums", "letters", "letters"]


def test_prompts_unlike_the_data_go_to_the_large_expert(router: HierarchicalRouter) -> None:
    decision = decide(router, "zebra quagga")
    assert (decision.expert, decision.threshold) == ("large", None)
    assert decision.novelty is not None
    assert decision.novelty > 1
    assert decide(router, "zebra quagga", Policy(novelty=1e6)).reason.startswith("the router's choice")


def test_other_first_stage(data: RoutingData) -> None:
    router = HierarchicalRouter(first={"name": "cluster-score", "n_clusters": 2}, within=WITHIN).fit(data)
    assert chosen(router, PROMPTS) == ["sums", "large", "letters", "large"]


def test_one_expert_is_no_choice(data: RoutingData) -> None:
    router = HierarchicalRouter().fit(data.select(["sums"]))
    assert chosen(router, PROMPTS) == ["sums"] * 4


def test_asked_without_waiting_it_says_the_same(router: HierarchicalRouter) -> None:
    assert not router.slow
    said, waited = router.predict(PROMPTS), asyncio.run(router.predict_async(PROMPTS))
    for field in ("quality", "choice", "novelty", "confidence"):
        np.testing.assert_array_equal(getattr(waited, field), getattr(said, field))


def test_adapting_changes_difficulty_but_not_pairs(data: RoutingData) -> None:
    router = HierarchicalRouter(within=WITHIN, min_prompts=100).fit(data)
    frame = make_frame(120, seed=2)
    frame.loc[frame["expert"] == "sums", "quality"] = 0.0
    pairs, count = router.specialist_.copy(), router.count_.copy()
    sums = router.within_[router.summary_["cluster_experts"].index("sums")]
    assert sums is not None
    before = sums.predict_large_needed([EASY_SUM])[0]
    router.adapt(RoutingData(frame))
    assert sums.predict_large_needed([EASY_SUM])[0] > before + 0.1
    np.testing.assert_array_equal(router.specialist_, pairs)
    assert (router.count_ - count).sum() == 120
    assert chosen(router, PROMPTS)[1:] == ["large", "letters", "large"]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"first": {"name": "hybrid-trans"}}, "must be a router that clusters"),
        ({"within": {"name": "cluster"}}, "give a two-model router"),
        ({"within": {"name": "hybrid-trans", "small": "sums"}}, "without 'small' and 'large'"),
        ({"first": {"name": "cluster"}, "within": {"name": "cluster"}}, "give a two-model router"),
        ({"within": {}}, "described by its 'name'"),
        ({"threshold": 2.0}, "'threshold'"),
    ],
)
def test_parameters_that_do_not_fit(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        HierarchicalRouter(**parameters).check_params()


def test_unknown_large_expert(data: RoutingData) -> None:
    with pytest.raises(ParameterError, match="large='huge' is not an expert of the data"):
        HierarchicalRouter(large="huge").fit(data)
