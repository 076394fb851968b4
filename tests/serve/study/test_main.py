"""Wrong options of the study, one sentence each, before anything starts."""

from __future__ import annotations

import pytest
import typer
from typer.testing import CliRunner

from serve.study.__main__ import study
from tests.serve.study.conftest import ROOT


@pytest.fixture
def run(monkeypatch):
    monkeypatch.chdir(ROOT)
    app = typer.Typer()
    app.command()(study)
    return lambda *arguments: CliRunner().invoke(app, arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "imagined"], "--only 'imagined' is unknown: use one of real, simulated."),
        (["--setup", "all-medium"], "--setup 'all-medium' is unknown: use one of all-large"),
        (["--users", "1,none"], "--users is '1,none'"),
        (["--out", "nowhere"], "nowhere/load.md cannot be read"),
        (["--config", "nowhere.yaml"], "nowhere.yaml is no configuration with routes"),
    ],
)
def test_wrong_options_end_with_one_sentence(run, arguments, said):
    result = run(*arguments)
    assert result.exit_code == 2
    assert said in " ".join(result.output.split())
    assert "Traceback" not in result.output
