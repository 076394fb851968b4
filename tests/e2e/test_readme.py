"""The README's commands do what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, Endpoint

README = (ROOT / "README.md").read_text()
DEFAULT_URL = "http://127.0.0.1:8000"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands() -> list[str]:
    joined = "".join(blocks("bash")).replace("\\\n", " ")
    return [line.partition("   #")[0].strip() for line in joined.splitlines() if line.strip()]


def test_every_kind_of_command_is_covered() -> None:
    for command in commands():
        assert command.startswith(("curl ", "make ", ".venv/bin/pointsman ", ".venv/bin/serve run ")), command


@pytest.mark.parametrize("command", [command for command in commands() if command.startswith("curl ")])
def test_requests(endpoint: Endpoint, command: str) -> None:
    script = command.replace("curl ", "curl --silent --show-error --fail-with-body ").replace(DEFAULT_URL, endpoint.url)
    result = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr + result.stdout
    assert "{" in result.stdout


def test_the_first_request_gets_a_models_own_words(endpoint: Endpoint) -> None:
    first = next(command for command in commands() if command.startswith("curl ")).replace(DEFAULT_URL, endpoint.url)
    output = subprocess.run(["bash", "-c", first], capture_output=True, text=True, timeout=60).stdout
    assert re.search(r"^x-pointsman-expert: (small|large)\s*$", output, re.MULTILINE)
    assert '"content":"5"' in output


def test_the_python_example(endpoint: Endpoint) -> None:
    code = blocks("python")[0].replace(DEFAULT_URL, endpoint.url)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert re.fullmatch(r"(small|large) 5\n", result.stdout)


@pytest.mark.parametrize("command", [c for c in commands() if c.startswith(".venv/bin/pointsman ")])
def test_pointsman_commands(command: str) -> None:
    binary = Path(sys.executable).with_name("pointsman")
    script = command.replace(".venv/bin/pointsman", str(binary))
    result = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert result.stdout


@pytest.mark.parametrize("command", [c for c in commands() if c.startswith("make ")])
def test_make_targets_exist(command: str) -> None:
    result = subprocess.run([*command.split(), "--dry-run"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
