"""Which promise a policy finds, and when there is none."""

from typing import Any

import pytest

from routers import ArtifactError, ParameterError, Policy, Router, RoutingData, check_policy, decide, make_router
from routers.promises import Promise, add_promise, promised_setting, promises_of


def promise(limit: float, value: float, **changes: Any) -> Promise:
    fields = {
        "kind": "max_drop",
        "limit": limit,
        "setting": "threshold",
        "value": value,
        "confidence": 0.95,
        "horizon": 100,
        "n_prompts": 100,
        "n_texts": 100,
        "measured": 0.0,
        "bound": limit,
        "quality": 0.9,
        "cost": 0.5,
        "cost_advantage": 0.4,
        "without_margin": 0.5,
        "reference": "large",
        "data_sha256": "0" * 64,
        "experts": ("small", "large"),
        "n_adapted": 0,
    }
    return Promise.model_validate({**fields, **changes})


@pytest.fixture
def router(data: RoutingData) -> Router:
    router = make_router("random").fit(data.select(["small", "large"]))
    add_promise(router, promise(0.02, 0.4))
    add_promise(router, promise(0.05, 0.7))
    add_promise(router, promise(0.3, 0.9, kind="max_large"))
    return router


@pytest.mark.parametrize(("asked", "value"), [(0.02, 0.4), (0.049, 0.4), (0.05, 0.7), (1.0, 0.7)])
def test_the_largest_promise_that_is_strict_enough(router: Router, asked: float, value: float) -> None:
    assert promised_setting(router, asked) == ("threshold", value)
    assert decide(router, "a", Policy(max_quality_drop=asked)).threshold == value


def test_stricter_than_any_promise(router: Router) -> None:
    with pytest.raises(
        ParameterError, match=r"only promises 0\.02, 0\.05: run `pointsman calibrate ARTIFACT DATA --max"
    ):
        check_policy(router, Policy(max_quality_drop=0.01))
    router.summary_ = {}
    with pytest.raises(ParameterError, match="promises no drop yet"):
        check_policy(router, Policy(max_quality_drop=0.01))


def test_a_promise_made_again_takes_the_place_of_the_first(router: Router) -> None:
    add_promise(router, promise(0.02, 0.3))
    assert promised_setting(router, 0.02) == ("threshold", 0.3)
    assert len(promises_of(router)) == 3


def test_adapting_or_other_experts_make_promises_void(router: Router, data: RoutingData) -> None:
    router.adapt(data)
    assert promises_of(router) == []
    with pytest.raises(ParameterError, match="promises no drop yet"):
        check_policy(router, Policy(max_quality_drop=0.05))
    add_promise(router, promise(0.05, 0.6, n_adapted=1))
    assert [p.value for p in promises_of(router)] == [0.6]
    add_promise(router, promise(0.02, 0.6, n_adapted=1, experts=("large", "small")))
    assert [p.limit for p in promises_of(router)] == [0.05]


@pytest.mark.parametrize("other", [{"threshold": 0.5}, {"budget": 0.5}, {"experts": ["small"]}, {"confidence": 0.1}])
def test_a_promise_stands_alone(router: Router, other: dict[str, Any]) -> None:
    with pytest.raises(ParameterError, match=f"without '{next(iter(other))}'"):
        check_policy(router, Policy.parse({"max_quality_drop": 0.05, **other}))


@pytest.mark.parametrize("held", [5, [{"kind": "max_drop"}], [{**promise(0.1, 0.1).model_dump(), "value": "high"}]])
def test_forged_promises(router: Router, held: Any) -> None:
    router.summary_ = {"promises": held}
    with pytest.raises(ArtifactError, match="calibrate it again"):
        check_policy(router, Policy(max_quality_drop=0.1))


def test_a_threshold_out_of_range_is_no_promise(router: Router) -> None:
    router.summary_ = {"promises": [{**promise(0.1, 0.1).model_dump(mode="json"), "value": 7.0}]}
    with pytest.raises(ArtifactError, match="calibrate it again"):
        check_policy(router, Policy(max_quality_drop=0.1))
