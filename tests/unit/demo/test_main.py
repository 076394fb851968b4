"""The command line of the demo, run as a user does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from demo.__main__ import app
from demo.exam import sample_exam


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "demo", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_exam_writes_a_file(tmp_path: Path) -> None:
    out = tmp_path / "exam.jsonl"
    options = ["--split", "calibration", "--count", "36", "--seed", "4"]
    result = CliRunner().invoke(app, ["exam", "--out", str(out), *options])
    assert result.exit_code == 0, result.output
    prompts = [json.loads(line)["prompt"] for line in out.read_text().splitlines()]
    assert prompts == [task.prompt for task in sample_exam("calibration", 36, 4)]


def test_a_mistake_ends_as_one_sentence(tmp_path: Path) -> None:
    done = demo("exam", "--out", str(tmp_path / "x"), "--split", "final")
    assert done.returncode == 1
    assert done.stderr.strip() == "Error: Unknown split 'final': choose one of train, calibration, test."
    assert done.stdout == ""


def test_an_unknown_expert_is_refused() -> None:
    done = demo("train", "huge")
    assert done.returncode == 1
    assert "Unknown expert huge" in done.stderr
    assert "Traceback" not in done.stderr


def test_clusters_as_json() -> None:
    result = CliRunner().invoke(app, ["clusters", "--prompts", "400", "--json"])
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    assert sum(sum(row.values()) for row in rows.values()) == 400
    assert set(rows) == {"arithmetic", "letters", "calendar", "conversion"}


def test_table_as_json() -> None:
    options = ["--count", "24", "--samples", "2", "--json"]
    result = CliRunner().invoke(app, ["table", "small", "large", *options])
    assert result.exit_code == 0, result.output
    overall = json.loads(result.stdout)["overall"]["all"]
    assert set(overall) == {"small", "large", "small as good"}
    assert 0 <= overall["small"] <= 1
