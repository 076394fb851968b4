import dataclasses

import pytest
from typer.testing import CliRunner

from loadtests.scenario import Scenario
from serve.cli import app
from serve.commands.loadtest import _processes

DOWN = "http://127.0.0.1:9/v1"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([DOWN], f"Nothing answers at {DOWN}"),
        (["http://192.0.2.1/v1"], "'192.0.2.1' is not this machine"),
        (["https://127.0.0.1/v1"], "is not an http:// URL"),
        ([DOWN, "--shape", "wave"], "--shape 'wave' is unknown: use one of constant, steps, spike, azure-conv"),
        ([DOWN, "--mix", "poems"], "--mix 'poems' is unknown: use one of exam"),
        ([DOWN, "--steps", "1,many"], "--steps is '1,many': give whole numbers above 0"),
        ([DOWN, "--shape", "azure-conv", "--data", "nowhere"], "AzureLLMInferenceTrace_conv.csv cannot be read"),
        ([DOWN, "--mix", "zeroeval", "--data", "nowhere"], "zeroeval_scores.csv cannot be read"),
    ],
)
def test_a_users_mistakes_are_one_sentence(options, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["loadtest", *options])
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert result.stderr.count("Error:") == 1
    assert list(tmp_path.iterdir()) == []


def test_processes_follow_the_users_and_the_machine(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1, 2, 3})
    scenario = Scenario(shape="constant", users=1000)
    assert _processes(scenario) == 1
    assert _processes(dataclasses.replace(scenario, users=1001)) == 2
    assert _processes(dataclasses.replace(scenario, users=50_000)) == 4
    assert _processes(Scenario(shape="steps", steps=(1, 2000))) == 2
    assert _processes(Scenario(shape="azure-conv")) == 1


def test_every_value_of_a_scenario_can_be_given():
    help_text = CliRunner().invoke(app, ["loadtest", "--help"], env={"COLUMNS": "200"}).stdout
    for field in dataclasses.fields(Scenario):
        name = "url" if field.name == "url" else f"--{field.name.replace('_', '-')}"
        assert name in help_text
