import orjson
import pytest
import typer
from typer.testing import CliRunner

from serve.peers.__main__ import peers


@pytest.fixture
def run():
    app = typer.Typer()
    app.command()(peers)
    return lambda *arguments: CliRunner().invoke(app, arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--peer", "nginx"], "There is no peer 'nginx': give one of ray.serve.llm, LiteLLM, RouteLLM"),
        (["--users", "0"], "--users is '0'"),
        (["missing.yaml"], "missing.yaml cannot be read"),
    ],
)
def test_wrong_arguments_end_with_one_sentence(run, arguments, said):
    result = run(*arguments)
    assert result.exit_code == 2
    assert said in result.output
    assert "Traceback" not in result.output


def test_nothing_is_begun_when_time_is_up_and_what_is_left_out_is_said(run, tmp_path):
    file = tmp_path / "peers.json"
    result = run("--minutes", "0", "--installed", str(tmp_path), "--peer", "LiteLLM", "--json", str(file))
    assert result.exit_code == 0
    assert "LiteLLM is left out" in result.output
    assert "Stand-ins: the instant expert has no model" in result.output
    found = orjson.loads(file.read_bytes())
    assert found["instant"]["left_out"][0] == "instant expert is left out: time was up."
    assert found["real"]["left_out"] == [f"{name} is left out: time was up." for name in ("bare vLLM", "Pointsman")]
    for kind, aims in (("instant", 12), ("real", 16)):
        assert found[kind]["points"] == []
        assert len(found[kind]["aims"]) == aims
        assert {aim["met"] for aim in found[kind]["aims"]} == {None}
