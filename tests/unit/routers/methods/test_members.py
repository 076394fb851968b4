"""Routers that hold routers: what they take, and that damage of a member is noticed as that of a whole router is."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from safetensors.numpy import load_file, save

from routers import ArtifactError, ParameterError, Router, RoutingData, load_router, make_router, save_router
from routers.methods.members import MOST_LEVELS, MOST_MEMBERS, copy_of, prompts_at, share_of

JSON, TENSORS = "router.json", "router.safetensors"
LENGTH = {"name": "length"}


def nested(levels: int) -> dict[str, Any]:
    """An ensemble of as many levels."""
    spec = LENGTH
    for _ in range(levels - 1):
        spec = {"name": "ensemble", "method": "mean", "members": [spec, LENGTH]}
    return spec


def made(spec: dict[str, Any]) -> Router:
    return make_router(**spec)


def test_nesting_ends_somewhere() -> None:
    assert made(nested(MOST_LEVELS)).name == "ensemble"
    for levels in (MOST_LEVELS + 1, 200):
        with pytest.raises(ParameterError, match=f"more than {MOST_LEVELS} levels deep"):
            made(nested(levels))


def test_a_specification_that_holds_itself_is_refused() -> None:
    spec: dict[str, Any] = {"name": "ensemble", "members": [LENGTH, LENGTH]}
    spec["members"][0] = spec
    with pytest.raises(ParameterError, match="levels deep"):
        made(spec)


def test_number_of_members_is_limited() -> None:
    inner = {"name": "ensemble", "members": [LENGTH] * 22}
    assert MOST_MEMBERS < 3 * 23
    with pytest.raises(ParameterError, match=f"more than {MOST_MEMBERS} members"):
        make_router("ensemble", members=[inner] * 3)


@pytest.mark.parametrize(
    ("member", "message"),
    [
        ({}, "described by its 'name'"),
        ({"name": 3}, "described by its 'name'"),
        ({"name": "hybird"}, "no router 'hybird'"),
        ({"name": "hybrid-prob", "k": 1}, "no parameter 'k'"),
        ({"name": "hybrid-prob", "folds": "many"}, "'folds'"),
        ({"name": "hybrid-prob", "small": "small"}, "leave them out of its members"),
        ("length", "'members.1'"),
    ],
)
def test_members_that_are_none(member: Any, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        make_router("ensemble", members=[LENGTH, member])


def test_seed_and_side_of_members() -> None:
    members = [{"name": "hybrid-prob", "side": ["task", "images"]}, {"name": "hybrid-det", "side": ["language"]}]
    inner = {"name": "ensemble", "members": members}
    router = make_router("ensemble", members=[inner, LENGTH])
    assert getattr(router, "side", None) == ["images", "language", "task"]
    assert getattr(make_router("ensemble", members=[LENGTH, LENGTH]), "side", None) is None


def test_prompts_at_places(data: RoutingData) -> None:
    part = prompts_at(data.select(["sums", "large"]), np.array([5, 2]))
    assert part.experts == ("sums", "large")
    assert part.texts == [data.texts[2], data.texts[5]]
    np.testing.assert_array_equal(part.quality(), data.select(["sums", "large"]).quality()[[2, 5]])


def test_progress_of_a_part() -> None:
    told: list[tuple[str, float]] = []
    part = share_of(lambda doing, share: told.append((doing, share)), 0.5, 0.75)
    part("a", 0.0)
    part("b", 1.0)
    assert told == [("a", 0.5), ("b", 0.75)]


@pytest.fixture(scope="module")
def trained(data: RoutingData) -> Router:
    inner = {"name": "hierarchical", "min_prompts": 1000, "first": {"name": "cluster", "n_clusters": 2}}
    hybrid = {"name": "hybrid-prob", "folds": 2}
    return make_router("ensemble", method="mean", members=[inner, hybrid]).fit(data)


@pytest.fixture
def saved(trained: Router, tmp_path: Path) -> Path:
    save_router(trained, tmp_path / "router")
    return tmp_path / "router"


def forge(saved: Path, change: Callable[[dict[str, Any], dict[str, np.ndarray]], object]) -> None:
    """Change description or tensors as a forger would, with matching sums."""
    fields, tensors = orjson.loads((saved / JSON).read_bytes()), load_file(saved / TENSORS)
    change(fields, tensors)
    blob = save(tensors)
    (saved / TENSORS).write_bytes(blob)
    fields["tensors"] = {"bytes": len(blob), "sha256": hashlib.sha256(blob).hexdigest()}
    del fields["sha256"]
    total = hashlib.sha256(orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)).hexdigest()
    (saved / JSON).write_bytes(orjson.dumps({**fields, "sha256": total}))


def test_a_router_in_a_router_in_a_router(saved: Path, trained: Router, held_out: RoutingData) -> None:
    assert {"members.0.members.0.centers", "members.1.head.slope"} <= set(load_file(saved / TENSORS))
    before, after = trained.predict(held_out.texts), load_router(saved).predict(held_out.texts)
    for field in ("quality", "large_needed", "novelty", "confidence"):
        np.testing.assert_array_equal(getattr(after, field), getattr(before, field))


def test_a_copy_learns_on_by_itself(trained: Router, held_out: RoutingData) -> None:
    before = trained.predict_quality(held_out.texts)
    copy = copy_of(trained)
    np.testing.assert_array_equal(copy.predict_quality(held_out.texts), before)
    copy.adapt(RoutingData(held_out.frame.assign(quality=0.0)))
    assert np.abs(copy.predict_quality(held_out.texts) - before).max() > 0.1
    np.testing.assert_array_equal(trained.predict_quality(held_out.texts), before)
    assert "adapted" not in trained.summary_


def members_of(fields: dict[str, Any]) -> list[Any]:
    members: list[Any] = fields["calibration"]["learned"]["members"]
    return members


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f, t: members_of(f).pop(), "does not hold the 2 members"),
        (lambda f, t: f["calibration"]["learned"].update(members={}), "does not hold the 2 members"),
        (lambda f, t: f["calibration"]["learned"].update(stacked="yes"), "how members are combined"),
        (lambda f, t: f["calibration"]["learned"].update(stacked=True), "how members are combined"),
        (lambda f, t: members_of(f).reverse(), "Member 0 .* is not the one"),
        (lambda f, t: members_of(f)[1].update(name="hybrid-det"), "Member 1 .* is not the one"),
        (lambda f, t: members_of(f)[1]["parameters"].update(seed=7), "Member 1 .* is not the one"),
        (lambda f, t: members_of(f)[1].update(code="x"), "wrong at 'code'"),
        (lambda f, t: members_of(f).__setitem__(1, None), "description is wrong"),
        (lambda f, t: members_of(f)[1].update(experts=["small", "huge"], fallback="huge"), "other experts"),
        (lambda f, t: members_of(f)[1].update(fallback="nobody"), "do not fit together"),
        (lambda f, t: members_of(f)[1]["calibration"].update(threshold=None), "needs a threshold"),
        (lambda f, t: t.pop("members.1.head.slope"), r"lacks the tensor 'head\.slope'"),
        (lambda f, t: t.update({"members.1.head.slope": np.zeros(9, np.float32)}), "not float32"),
        (lambda f, t: members_of(members_of(f)[0]).pop(), "members and clusters differ"),
        (lambda f, t: t.update({"members.0.specialist": np.array([0, 9])}), "out of range"),
        (lambda f, t: t.update({"members.0.count": np.array([-1, 0])}), "out of range"),
        (lambda f, t: f["parameters"].update(members=[nested(9)] * 2), "levels deep"),
    ],
)
def test_forged_members(saved: Path, change: Callable[..., object], message: str) -> None:
    forge(saved, change)
    with pytest.raises(ArtifactError, match=message):
        load_router(saved)
