"""One step of the study on the running application's simulated experts."""

from __future__ import annotations

import pytest

from loadtests.scenario import Scenario
from serve.study.measuring import Step, measured_step
from serve.study.setups import Engine, Setup
from tests.conftest import Endpoint

TWO = (Engine("sim-small"), Engine("sim-large"))


def test_a_step_on_a_route_over_simulated_experts(endpoint: Endpoint) -> None:
    said: list[str] = []
    load = Scenario(max_tokens=8)
    setup = Setup("auto", "auto", "guess", TWO)
    found = measured_step(f"{endpoint.simulated_url}/v1", setup, Step(10, 1.0, 3.0), load, said.append, slowdown=1.0)
    assert found["users"] == 10
    assert found["failed"] == 0
    assert found["requests"] > 10
    assert 0 < found["first_token_ms"]["p50"] <= found["latency_ms"]["p99"]
    assert set(found["shares"]) <= {"sim-small", "sim-large"}
    assert sum(found["shares"].values()) == pytest.approx(1.0)
    assert found["lost_s"] >= 0
    assert len(said) == 1
    assert said[0].startswith("auto, 10 users: ")


def test_figures_are_those_of_engines_that_are_not_slowed_down(endpoint: Endpoint) -> None:
    # A step of `sim-slow` takes 0.2 s, so it stands for an engine of 0.05 s a step.
    setup = Setup("slow", "all-large", "sim-slow", (Engine("sim-slow"),))
    load = Scenario(max_tokens=5, fixed_length=True)
    url = f"{endpoint.simulated_url}/v1"
    found = measured_step(url, setup, Step(4, 1.0, 4.0), load, lambda doing: None, slowdown=4.0)
    assert 45 < found["token_interval_ms"]["p50"] < 65
    assert 10 < found["requests_per_s"] < 17
    assert found["output_tokens"] == 5
