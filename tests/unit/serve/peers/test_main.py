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


def test_the_run_is_bounded_and_says_what_is_left_out_and_what_stands_in(run, tmp_path):
    file = tmp_path / "peers.json"
    result = run("--minutes", "0.1", "--peer", "LiteLLM", "--installed", str(tmp_path), "--experts", "instant",
                 "--users", "1", "--seconds", "0.5", "--json", str(file))  # fmt: skip
    assert "LiteLLM is left out" in result.output
    assert "Stand-ins" in result.output
