from pathlib import Path

import pytest

from loadtests.errors import LoadTestError
from loadtests.scenario import Scenario


def options(scenario):
    """What the locustfile makes of a scenario's options."""
    pairs = (option.removeprefix("--").partition("=") for option in scenario.options())
    return {**{f"load_{n}": v for n, v in Scenario.defaults().items()}, **{n.replace("-", "_"): v for n, _, v in pairs}}


@pytest.mark.parametrize(
    "scenario",
    [
        Scenario(),
        Scenario(shape="steps", steps=(1, 5), think_s=0.5, thinking="azure", fixed_length=True, stream=False),
        Scenario(shape="servegen", rate=12.5, data=Path("/data"), processes=3, model="auto@0.7", seed=9),
    ],
)
def test_it_reaches_the_load_processes_unchanged(scenario):
    assert Scenario.parse(options(scenario)) == scenario


def test_the_page_sends_texts():
    given = Scenario.parse({"load_users": "12", "load_stream": "No", "load_rate": "", "unrelated": 1})
    assert given == Scenario(users=12, stream=False)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"load_users": "many"}, "users cannot be 'many'"),
        ({"load_stream": "maybe"}, "stream cannot be 'maybe'"),
        ({"load_shape": "wave"}, "--shape 'wave' is unknown: use one of constant"),
        ({"load_mix": "poems"}, "--mix 'poems' is unknown"),
        ({"load_thinking": "hard"}, "--thinking 'hard' is unknown"),
        ({"load_seconds": "0"}, "--seconds is 0"),
        ({"load_seconds": "1e6"}, "at most 86,400 s"),
        ({"load_steps": "0,5"}, "--steps"),
    ],
)
def test_wrong_values_are_named(values, message):
    with pytest.raises(LoadTestError, match=message):
        Scenario.parse(values)


def test_stages_and_users():
    assert Scenario(shape="steps", steps=(1, 300, 20)).most_users == 300
    trace = Scenario(shape="azure-code", processes=2)
    assert trace.is_trace
    assert [stage.users for stage in trace.stages] == [2]


def test_only_this_machine_without_leave():
    url = "http://203.0.113.5:8000/v1"
    with pytest.raises(LoadTestError, match=r"203\.0\.113\.5"):
        _ = Scenario(url=url).address
    assert Scenario(url=url, anywhere=True).address == ("203.0.113.5", 8000, "/v1")
