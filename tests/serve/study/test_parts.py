"""How a part is run: one slowdown for all setups, servers that do not start, figures that do not get lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from loadtests.errors import LoadTestError
from serve.study import parts
from serve.study.parts import Settings, run_part
from tests.serve.study.conftest import CONFIG, RECORDS, ROOT, step


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(ROOT)
    return Settings(
        config=CONFIG,
        records=RECORDS,
        data=tmp_path,
        kinds=("all-large", "auto"),
        users=(1, 200),
        seconds=2.0,
        think_s=0.0,
        max_tokens=256,
        weight_bytes=2.0,
        relayed_per_s=50.0,
        stream_interval=8,
        seed=0,
        told=lambda doing: None,
    )


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What would be measured: a request a second for each hundred users, of one user few."""
    found: list[Any] = []

    def measured(setup, stack, steps, load, told, *, slowdown=None):
        found.append((setup, steps, load, slowdown))
        if setup.kind == "auto" and slowdown in (None, 1.0):
            raise LoadTestError("it is out of order: mend it.")
        return [step(one.users, one.users / 100, requests=10 if one.users == 1 else 500) for one in steps]

    monkeypatch.setattr(parts, "measured", measured)
    return found


def test_gpus_are_slowed_down_alike_where_the_fastest_setup_needs_it(settings: Settings, asked: list[Any]) -> None:
    found = run_part("simulated", settings)
    slowdowns = found["about"]["slowdown"]
    assert slowdowns["1"] == 1.0
    assert slowdowns["200"] > 1.0
    assert {(setup.name, slowdown) for setup, _, _, slowdown in asked} == {
        (name, slowdown) for name in ("all-large", "all-large, 2 groups", "auto") for slowdown in slowdowns.values()
    }
    assert 0 < found["about"]["foresight"]["large"] < 0.5
    assert found["about"]["foresight"]["ratio"] > 0
    planned = {s["name"]: s["steps"][-1]["planned_per_s"] for s in found["setups"]}
    assert max(planned.values()) / slowdowns["200"] == pytest.approx(settings.relayed_per_s, rel=0.5)
    for _, (one,), _, slowdown in asked:
        # One user must have time for some answers; many must have asked anew before anything is measured.
        assert one.seconds >= (8 if one.users == 1 else 1) * slowdown
        assert one.settle_s >= slowdown


def test_a_setup_whose_server_does_not_start_is_left_out(settings: Settings, asked: list[Any]) -> None:
    found = run_part("real", settings)
    assert [setup["name"] for setup in found["setups"]] == ["all-large"]
    assert found["left_out"] == ["auto is left out: it is out of order: mend it."]
    assert found["aims"] == []
    simulated = run_part("simulated", settings)
    auto = simulated["setups"][-1]
    assert (auto["name"], [one["users"] for one in auto["steps"]]) == ("auto", [200])
    assert simulated["left_out"] == ["auto is left out at a slowdown of 1: it is out of order: mend it."]


def test_endpoints_that_keep_the_engines_waiting_are_named(settings: Settings, asked: list[Any]) -> None:
    def limits(**more: Any) -> list[list[str]]:
        found = run_part("simulated", replace(settings, kinds=("all-small",), **more))
        return [one["limited_by"] for one in found["setups"][0]["steps"]]

    few, many = limits()
    assert few == []
    assert "kept them waiting" in many[0]
    assert limits(think_s=5.0) == [[], []]


def test_quality_is_what_the_demo_measured(settings: Settings, asked: list[Any]) -> None:
    large, groups, auto = run_part("simulated", settings)["setups"]
    assert large["quality"] == groups["quality"]
    assert large["quality"]["drop"] == 0.0
    assert 0 < auto["quality"]["drop"] < 0.01
    assert auto["quality"]["file"] == "routes-auto.parquet"
