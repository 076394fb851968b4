from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest

from routers import (
    NotFittedError,
    ParameterError,
    Policy,
    Prediction,
    Router,
    TwoModelRouter,
    check_policy,
    decide,
    without_router,
)
from routers.base import Progress, RouterState


class Told:
    """Answers what it was told, so that every branch of a policy can be reached."""

    name: ClassVar[str] = "told"
    prediction: Prediction

    @property
    def knows_novelty(self) -> bool:
        return self.prediction.novelty is not None

    def _fit(self, data: object, progress: Progress) -> None: ...

    def _adapt(self, data: object, progress: Progress) -> None: ...

    def _predict(self, prompts: Sequence[str]) -> Prediction:
        return self.prediction

    def state(self) -> RouterState:
        raise NotImplementedError

    def restore(self, state: RouterState) -> None:
        raise NotImplementedError


class ToldMany(Told, Router): ...


class ToldPair(Told, TwoModelRouter): ...


def pair(score: float, quality: tuple[float, float] = (0.5, 0.9)) -> ToldPair:
    router = ToldPair()
    router.experts_, router.fallback_, router.novelty_limit_ = ("small", "large"), "large", None
    router.cost_, router.threshold_ = np.array([0.1, 1.0]), 0.5
    router.prediction = Prediction(np.array([quality], np.float32), large_needed=np.array([score], np.float32))
    return router


def many(
    quality: Mapping[str, float],
    cost: Sequence[float],
    choice: int | None = None,
    novelty: float | None = None,
) -> ToldMany:
    router = ToldMany()
    router.experts_, router.fallback_ = tuple(quality), next(iter(quality))
    router.cost_, router.novelty_limit_ = np.array(cost), None if novelty is None else 1.0
    router.prediction = Prediction(
        np.array([list(quality.values())], np.float32),
        choice=None if choice is None else np.array([choice]),
        novelty=None if novelty is None else np.array([novelty], np.float32),
    )
    return router


@pytest.mark.parametrize(
    ("score", "threshold", "expert"),
    [
        (0.5, None, "large"),
        (0.49, None, "small"),
        (0.5, 0.6, "small"),
        (0.0, 0.0, "large"),
        (0.99, 1.0, "small"),
    ],
)
def test_two_models_go_by_the_threshold(score: float, threshold: float | None, expert: str) -> None:
    decision = decide(pair(score), "x", Policy(threshold=threshold))
    assert decision.expert == expert
    assert decision.score == pytest.approx(score)
    assert decision.threshold == (0.5 if threshold is None else threshold)
    assert decision.qualities == pytest.approx({"small": 0.5, "large": 0.9})
    assert "threshold" in decision.reason


def test_many_go_by_the_routers_choice_or_by_quality() -> None:
    quality = {"a": 0.2, "b": 0.9, "c": 0.9}
    assert decide(many(quality, [1, 3, 2], choice=0), "x").expert == "a"
    by_quality = decide(many(quality, [1, 3, 2]), "x")
    assert (by_quality.expert, by_quality.threshold) == ("c", None)
    assert by_quality.score == pytest.approx(0.9)


def test_allowed_experts() -> None:
    router = many({"a": 0.9, "b": 0.5, "c": 0.7}, [1, 2, 3], choice=0)
    assert decide(router, "x", Policy(experts=("b", "c"))).expert == "c"
    assert "only" in decide(router, "x", Policy(experts=("b",))).reason
    assert decide(pair(0.0), "x", Policy(experts=("large",))).expert == "large"


def test_budget() -> None:
    router = many({"a": 0.9, "b": 0.5, "c": 0.7}, [5, 2, 3], choice=0)
    assert decide(router, "x", Policy(budget=5)).expert == "a"
    assert decide(router, "x", Policy(budget=3)).expert == "c"
    assert decide(router, "x", Policy(budget=2.5)).expert == "b"
    assert decide(pair(1.0), "x", Policy(budget=0.5)).expert == "small"


def test_novelty_guard() -> None:
    quality = {"fall": 0.1, "b": 0.9}
    assert decide(many(quality, [1, 1], choice=1, novelty=0.9), "x").expert == "b"
    guarded = decide(many(quality, [1, 1], choice=1, novelty=1.1), "x")
    assert (guarded.expert, guarded.novelty) == ("fall", pytest.approx(1.1))
    assert "unlike" in guarded.reason
    assert decide(many(quality, [1, 1], choice=1, novelty=1.1), "x", Policy(novelty=2.0)).expert == "b"
    assert decide(many(quality, [1, 1], choice=1, novelty=0.6), "x", Policy(novelty=0.5)).expert == "fall"
    assert decide(many(quality, [9, 1], choice=1, novelty=5.0), "x", Policy(budget=2)).expert == "b"


def test_quality_against_cost() -> None:
    router = pair(1.0, quality=(0.5, 0.9))
    assert decide(router, "x", Policy(quality_cost=0.0)).expert == "large"
    assert decide(router, "x", Policy(quality_cost=0.4)).expert == "large"
    # 0.5 - 0.5 * 0.1 against 0.9 - 0.5.
    assert decide(router, "x", Policy(quality_cost=0.5)).expert == "small"
    assert decide(many({"a": 0.9, "b": 0.5}, [0, 0], choice=1), "x", Policy(quality_cost=3)).expert == "a"


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({"experts": ("a", "q")}, "Expert 'q' is unknown to router 'told': it knows a, b"),
        ({"budget": 0.5}, "budget of 0.5 is below the cheapest allowed expert: 'a' costs 1"),
        ({"budget": 1.5, "experts": ("b",)}, "'b' costs 2"),
        ({"threshold": 0.5}, "has no threshold"),
        ({"novelty": 0.5}, "knows no novelty"),
    ],
)
def test_policies_that_cannot_be_followed(policy: dict[str, object], message: str) -> None:
    router = many({"a": 0.9, "b": 0.5}, [1, 2])
    for use in (lambda p: check_policy(router, p), lambda p: decide(router, "x", p)):
        with pytest.raises(ParameterError, match=message):
            use(Policy.parse(policy))


def test_threshold_and_quality_cost_exclude_each_other() -> None:
    with pytest.raises(ParameterError, match="not both"):
        check_policy(pair(0.5), Policy(threshold=0.5, quality_cost=1.0))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"treshold": 0.5}, "no key 'treshold': it takes threshold, budget, experts"),
        ({"threshold": 1.5}, "threshold is 1.5"),
        ({"threshold": "high"}, "threshold is 'high'"),
        ({"budget": -1}, "budget is -1"),
        ({"experts": []}, "experts is"),
        ({"novelty": float("nan")}, "novelty is nan"),
        (7, "policy is 7"),
    ],
)
def test_policies_that_are_none(values: object, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        Policy.parse(values)


def test_untrained_routers_decide_nothing() -> None:
    with pytest.raises(NotFittedError, match="'told' is not trained"):
        decide(ToldPair(), "x")


def guarded_pair(score: float, novelty: float, limit: float | None = None) -> ToldPair:
    """A pair whose fallback, the large expert, is not what a score below 0.5 leads to."""
    router = pair(score)
    router.novelty_limit_ = limit
    router.prediction = replace(router.prediction, novelty=np.array([novelty], np.float32))
    return router


def test_novelty_guard_of_two_models() -> None:
    assert decide(guarded_pair(0.1, 9.0), "x").expert == "small", "a router without a limit of its own has no guard"
    assert decide(guarded_pair(0.1, 9.0, limit=2.0), "x").expert == "large"
    assert decide(guarded_pair(0.1, 1.5, limit=2.0), "x").expert == "small"
    novel = decide(guarded_pair(0.1, 1.5, limit=2.0), "x", Policy(novelty=1.0))
    assert (novel.expert, novel.threshold) == ("large", None)
    assert novel.reason == "novelty 1.500 is above 1: unlike the training prompts"
    assert decide(guarded_pair(0.1, 1.0), "x", Policy(novelty=1.0)).expert == "small", "the limit itself is within"
    assert decide(guarded_pair(0.1, 9.0), "x", Policy(novelty=1.0, experts=("small",))).expert == "small"
    assert decide(guarded_pair(0.1, 9.0), "x", Policy(novelty=1.0, budget=0.5)).expert == "small"


def test_confidence_guard_of_two_models() -> None:
    # Confidence is |2 p - 1| where the router says nothing of it.
    for score, sure in ((0.1, 0.8), (0.45, 0.1), (0.5, 0.0), (0.9, 0.8)):
        assert decide(pair(score), "x").confidence == pytest.approx(sure)
    assert decide(pair(0.1), "x", Policy(confidence=0.5)).expert == "small"
    unsure = decide(pair(0.3), "x", Policy(confidence=0.5))
    assert (unsure.expert, unsure.threshold, unsure.reason) == ("large", None, "confidence 0.400 is below 0.5")
    assert decide(pair(0.3), "x", Policy(confidence=0.5, experts=("small",))).expert == "small"
    assert decide(pair(0.3), "x", Policy(confidence=0.0)).expert == "small", "nobody is less sure than that"


def test_confidence_guard_of_many() -> None:
    # The lead of the best over the second best: 0.3 and 0.1.
    assert decide(many({"fall": 0.1, "b": 0.9, "c": 0.6}, [1, 1, 1]), "x", Policy(confidence=0.2)).expert == "b"
    unsure = decide(many({"fall": 0.1, "b": 0.9, "c": 0.8}, [1, 1, 1]), "x", Policy(confidence=0.2))
    assert (unsure.expert, unsure.confidence) == ("fall", pytest.approx(0.1))
    told = many({"fall": 0.1, "b": 0.9, "c": 0.8}, [1, 1, 1])
    told.prediction = replace(told.prediction, confidence=np.array([0.7], np.float32))
    assert decide(told, "x", Policy(confidence=0.2)).expert == "b", "a router's own confidence counts"
    assert decide(many({"fall": 0.5, "b": 0.9}, [9, 1]), "x", Policy(confidence=0.5, budget=2)).expert == "b"


def test_novelty_comes_before_confidence() -> None:
    router = guarded_pair(0.45, 3.0, limit=2.0)
    assert "novelty" in decide(router, "x", Policy(confidence=0.9)).reason
    assert "confidence" in decide(router, "x", Policy(confidence=0.9, novelty=5.0)).reason


def test_without_the_router_its_fallback_answers_unless_the_policy_leaves_it_out() -> None:
    router = many({"fall": 0.1, "b": 0.9, "c": 0.6}, [2, 1, 3])
    decision = without_router(router, Policy(), "it was late")
    assert (decision.expert, decision.reason, decision.qualities) == ("fall", "it was late", {})
    assert (decision.score, decision.threshold, decision.novelty, decision.confidence) == (None, None, None, None)
    assert without_router(router, Policy(experts=("b", "c")), "it was late").expert == "c", "the dearest of the others"
    assert without_router(router, Policy(budget=1.5), "it was late").expert == "b"
