import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from routers import DataError, PointsmanError, RoutingData
from serve.commands.import_ import import_

OWN = "prompt,expert,quality,response,seen\nabcd,[a],1,efgh,true\nabcd,gpt-4-0314,0,ef,true\nxy,gpt-4-0314,1,z,false\n"


def run(*arguments: object) -> Result:
    app = typer.Typer()
    app.command("import")(import_)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own.csv"
    path.write_text(OWN)
    return path


def test_summary_for_people(own: Path, tmp_path: Path) -> None:
    prices, out = tmp_path / "prices.yaml", tmp_path / "new" / "data.parquet"
    prices.write_text("'[a]': {input_per_million: 1, output_per_million: 1}")
    done = run("csv", "--data", own, "--out", out, "--prices", prices)
    assert done.exit_code == 0, done.output
    assert "csv: 2 prompts, 2 experts" in done.stdout
    assert "[a]" in done.stdout
    assert "Not measured: input_tokens: 4 characters a token" in done.stdout
    assert "3 answers" in done.stdout
    assert RoutingData.read(out).experts == ("[a]", "gpt-4-0314")


def test_summary_for_programs(own: Path, tmp_path: Path) -> None:
    out = tmp_path / "data.parquet"
    done = run("csv", "--data", own, "--out", out, "--experts", "gpt-4-0314", "--drop", "seen", "--json")
    summary = json.loads(done.stdout)
    cost = 1e-6 * (30 + 60)
    assert summary.pop("experts") == {"gpt-4-0314": {"quality": 1, "cost": pytest.approx(cost), "n_answers": 1}}
    assert sum(summary.pop("splits").values()) == 1
    assert summary.pop("not_measured")[-1].startswith("cost: ")
    assert summary == {
        "source": "csv",
        "path": str(out),
        "n_prompts": 1,
        "n_rows": 1,
        "dropped": {"seen": 1},
        "left_out": {},
    }


def test_place_that_cannot_be_written(own: Path) -> None:
    error = run("csv", "--data", own, "--out", own / "data.parquet", "--experts", "gpt-4-0314").exception
    assert isinstance(error, DataError)
    assert "cannot be written" in str(error)


def test_unknown_names(own: Path, tmp_path: Path) -> None:
    for arguments, message in [
        (["cvs"], "no source 'cvs'"),
        (["csv", "--experts", "b"], "no expert 'b'"),
        (["csv", "--experts", " ,"], "names no expert"),
        (["csv", "--prices", tmp_path / "none"], "No such file"),
        (["mmlu-pro"], "cannot be read: Not a directory"),
    ]:
        error = run(*arguments, "--data", own, "--out", tmp_path / "data.parquet").exception
        assert isinstance(error, PointsmanError)
        assert message in str(error)
    assert not (tmp_path / "data.parquet").exists()


def test_command_line_says_one_sentence_and_exits_with_2(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from serve.cli import app; app()", "import", "zeroeval"]
    done = subprocess.run(
        [*command, "--data", tmp_path, "--out", tmp_path / "x"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "Error: There is no file" in done.stderr
    assert done.stderr.count("\n") == 1
