"""All setups have the same resources, and their servers the engines that they need and no others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from routers import ParameterError, RoutingData
from serve.preflight import load_config
from serve.study.answers import FORESIGHT, read_lengths, read_spoken
from serve.study.gpus import N_GPUS, Planner, Split, foresight, simulated_app, simulated_setups, splits
from serve.study.setups import NAMES, Engine, Setup, Source, engine_app, real_setups, server
from tests.serve.study.conftest import CONFIG, RECORDS, ROOT


@pytest.fixture(scope="module")
def planner(tmp_path_factory: pytest.TempPathFactory) -> Planner:
    return Planner(read_spoken(RECORDS), read_lengths(tmp_path_factory.mktemp("no-data"), 256))


def test_real_setups_can_use_both_processors(source: Source) -> None:
    found = {setup.name: setup for setup in real_setups(source)}
    assert list(found) == list(NAMES)
    for setup in found.values():
        assert setup.gpus == 0
        assert sum(engine.replicas for engine in setup.engines) >= 2
    assert found["all-large"].engines == (Engine("large", 2),)
    assert found["auto"].engines == (Engine("small"), Engine("large"))
    assert {engine.expert for engine in found["expert"].engines} > {"large", "letters"}
    assert found["frugal"].engines == (Engine("small"), Engine("large"))


@pytest.fixture(scope="module")
def simulated(source: Source, planner: Planner) -> tuple[list[Setup], dict[str, list[Split]]]:
    kinds = ("all-large", "all-small", "auto", "frugal")
    return simulated_setups(source, planner, kinds, lambda doing: None)


def test_simulated_setups_all_have_eight_gpus(simulated: tuple[list[Setup], dict[str, list[Split]]]) -> None:
    setups, tried = simulated
    assert [setup.name for setup in setups] == ["all-large", "all-large, 2 groups", "all-small", "auto", "frugal"]
    assert {setup.gpus for setup in setups} == {N_GPUS}
    for setup in setups[3:]:
        rates = [one.requests_per_s for one in tried[setup.name]]
        assert rates == sorted(rates, reverse=True)
        assert setup.engines == tried[setup.name][0].engines


def test_smaller_weights_let_all_large_have_more_groups(source: Source, planner: Planner) -> None:
    setups, _ = simulated_setups(source, replace(planner, weight_bytes=1.0), ("all-large",), lambda doing: None)
    assert [setup.name for setup in setups] == ["all-large", "all-large, 4 groups"]
    assert {setup.gpus for setup in setups} == {N_GPUS}


def test_foresight_loses_what_is_allowed_and_keeps_most_off_the_large_one(planner: Planner) -> None:
    data = RoutingData.read(RECORDS / "routes-auto.parquet").select(("small", "large"))
    small, large = data.quality().T
    answered = np.array([planner.spoken.chosen[FORESIGHT][text] for text in data.texts])
    kept = np.where(answered == "small", small, large)
    drop = 1 - kept.mean() / large.mean()
    assert 0.009 < drop <= 0.01
    # Another question would be one that only the large one answers.
    assert (large - small)[answered == "large"].min() >= (large - small)[answered == "small"].max() > 0
    auto = np.array([planner.spoken.chosen["auto"][text] for text in data.texts])
    assert (answered == "small").sum() > (auto == "small").sum()


def test_foresight_would_serve_more_than_the_route(
    planner: Planner, simulated: tuple[list[Setup], dict[str, list[Split]]]
) -> None:
    setups, tried = simulated
    found = foresight(planner, setups)
    assert found is not None
    assert found.split.requests_per_s > tried["auto"][0].requests_per_s
    assert found.ratio > 0
    assert foresight(planner, setups[2:]) is None


def test_every_way_to_share_out_the_gpus_uses_all_of_them() -> None:
    found = list(splits(["a", "b", "large", "c", "d"]))
    assert len(set(found)) == len(found) == 12
    for engines in found:
        assert sum(engine.replicas * engine.gpus for engine in engines) == N_GPUS
        assert [engine.expert for engine in engines] == ["a", "b", "large", "c", "d"]
    assert list(splits([f"expert-{number}" for number in range(8)] + ["large"])) == []


def test_servers_run_what_a_setup_needs_and_can_be_started(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    for setup in real_setups(source):
        apps = [engine_app(source.engines[engine.expert], engine.replicas) for engine in setup.engines]
        stack = server(setup, source, apps, tmp_path, limits={"decision_timeout_s": 7})
        path = Path(stack.command[-1])
        load_config(path)
        endpoint, *engines = yaml.safe_load(path.read_text())["applications"]
        assert {engine["name"]: engine["deployments"][0]["num_replicas"] for engine in engines} == {
            engine.expert: engine.replicas for engine in setup.engines
        }
        assert list(endpoint["args"]["routes"]) == ([setup.model] if setup.model == setup.kind else [])
        assert endpoint["args"]["limits"]["decision_timeout_s"] == 7
        assert ("Scorer" in {of["name"] for of in endpoint["deployments"]}) == (setup.kind == "frugal")
        assert set(stack.models.values()) == {setup.model, *(engine.expert for engine in setup.engines)}


def test_own_settings_of_an_engine_stay_but_for_its_autoscaling() -> None:
    given = {"name": "x", "deployments": [{"name": "Expert", "autoscaling_config": {}, "max_queued_requests": 5}]}
    assert engine_app(given, 2)["deployments"] == [{"max_queued_requests": 5, "name": "Expert", "num_replicas": 2}]


def test_simulated_experts_are_slower_by_the_factor_and_hold_as_much(planner: Planner, tmp_path: Path) -> None:
    def app(slowdown: float) -> dict[str, dict[str, float]]:
        made = simulated_app(
            Engine("large", 1, 4), planner, recorded=tmp_path, slowdown=slowdown, stream_interval=8, max_tokens=16
        )
        args: dict[str, dict[str, float]] = made["args"]
        return args

    as_it_is, slowed = app(1.0), app(3.0)
    assert slowed["timing"] == pytest.approx({name: 3 * value for name, value in as_it_is["timing"].items()})
    assert slowed["capacity"] == as_it_is["capacity"]
    with pytest.raises(ParameterError, match="lower --max-tokens"):
        simulated_app(Engine("large", 1, 2), planner, recorded=tmp_path, slowdown=1, stream_interval=8, max_tokens=8000)


def test_simulated_answers_are_the_demos_with_the_lengths_of_real_ones(planner: Planner, tmp_path: Path) -> None:
    spoken = planner.spoken
    folder = tmp_path / "zeroeval"
    folder.mkdir()
    for model, size in (("8B", 40), ("70B", 400)):
        rows = (f'{{"dataset": "gsm", "id": "{i}", "response": "{"x" * (size + 4 * i)}"}}' for i in range(5))
        (folder / f"responses_Meta-Llama-3.1-{model}-Instruct.jsonl").write_text("\n".join(rows))
    lengths = read_lengths(tmp_path, 102)
    assert set(lengths.small) == {10, 11, 12, 13, 14}
    assert list(lengths.large) == [100, 101, 102, 102, 102]
    auto = next(setup for setup in real_setups(Source({}, {}, dict.fromkeys(NAMES[2:], ("small", "large"))))
                if setup.name == "auto")  # fmt: skip
    calls = spoken.calls(auto, lengths)
    assert len(calls) == len(spoken.prompts) == 1000
    assert {call.expert for one in calls for call in one} == {"small", "large"}
    assert all(len(one) == 1 for one in calls)


def test_a_cascade_asks_the_small_one_first(planner: Planner, source: Source) -> None:
    frugal = next(setup for setup in real_setups(source) if setup.name == "frugal")
    asked = {tuple(call.expert for call in one) for one in planner.spoken.calls(frugal, planner.lengths)}
    assert asked == {("small",), ("small", "large")}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("applications: []", "is no configuration with routes"),
        (": [", "is no configuration with routes"),
        (
            CONFIG.read_text().replace("/experts/large", "/l").replace("name: large", "name: l"),
            "runs no expert 'large'",
        ),
        (CONFIG.read_text().replace("frugal: {", "thrifty: {"), "has no route 'frugal'"),
        (CONFIG.read_text().replace("name: letters", "name: letter"), "runs no expert 'letters'"),
    ],
)
def test_a_configuration_that_lacks_something_is_named(
    text: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ParameterError, match=said):
        Source.read(path)
