import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from loadtests.closed_loop import Load
from serve.bench_stacks import instant_stack
from serve.profiling.__main__ import Spent, measured, profile, tables


@pytest.fixture
def run():
    app = typer.Typer()
    app.command()(profile)
    return lambda *arguments: CliRunner().invoke(app, arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.yaml"], "missing.yaml cannot be read"),
        (["--expert", "huge"], "runs no vLLM expert 'huge': give one of"),
        (["--experts", "none"], "'none' is not one of 'instant', 'real'"),
    ],
)
def test_wrong_arguments_end_with_one_sentence(run, arguments, said):
    result = run(*arguments)
    assert result.exit_code == 2
    assert said in " ".join(result.output.replace("│", " ").split())
    assert "Traceback" not in result.output


def test_a_server_is_loaded_and_its_processes_counted(tmp_path):
    spent = measured(instant_stack("instant expert"), Load("", "", users=4, duration_s=1.0), tmp_path, sampling=True)
    assert spent.requests_per_s > 10
    assert spent.router == {}
    assert list(spent.processor_us) == ["instant expert"]
    # What a request takes cannot be more than the time between two answers.
    assert 0 < spent.processor_us["instant expert"] <= 1.2e6 / spent.requests_per_s


def test_tables_hold_every_server_s_processes_and_the_parts_of_a_router():
    spent = {
        "bare vLLM": Spent(480.0, {"engine's model": 1200.0}),
        "Pointsman": Spent(240.0, {"engine's model": 1300.0, "Router": 800.0}, {"the decision": 0.25, "metrics": 0.05}),
    }
    console = Console(width=100, record=True)
    console.print(*tables(spent, "256 users"), sep="\n")
    rows = [" ".join(line.replace("│", " ").split()) for line in console.export_text().splitlines()]
    assert "engine's model 1,200 1,300" in rows
    assert "Router 800" in rows
    assert "all of them 1,200 2,100" in rows
    assert "requests/s 480 240" in rows
    assert "the decision 200 25%" in rows
    assert "metrics 40 5%" in rows
