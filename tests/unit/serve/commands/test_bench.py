import io
import signal
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from routers import ParameterError
from serve.bench_session import terminable, user_counts, warn_of_strays
from serve.cli import app
from serve.commands.bench import _stacks

CONFIG = Path(__file__).resolve().parents[4] / "config.yaml"


def test_users_are_counted_once_and_in_order():
    assert user_counts("64,1,64") == [1, 64]


@pytest.mark.parametrize("users", ["", "1,x", "0", "-1,2", "1.5"])
def test_wrong_users_are_refused(users):
    with pytest.raises(ParameterError, match="--users is"):
        user_counts(users)


def test_stacks_of_the_demo(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_SERVE_ENABLE_HA_PROXY", "1")
    ours, theirs, floor = _stacks(CONFIG, "small", tmp_path, direct=True, bare=True)
    assert ours.command[1:] == ["serve", str(tmp_path / "pointsman.yaml")]
    assert theirs.command[1:] == ["run", str(tmp_path / "ray-serve-llm.yaml")]
    assert ours.models["Pointsman, expert small"] == "small"
    assert theirs.models == {"ray.serve.llm": "small"}
    assert floor.models == {"bare vLLM": "small"}
    assert len({stack.url for stack in (ours, theirs, floor)}) == 3
    assert ours.environment == theirs.environment
    assert floor.environment.items() >= ours.environment.items()
    assert "RAY_SERVE_ENABLE_HA_PROXY" not in theirs.environment
    assert (theirs.environment["RAY_ADDRESS"], theirs.environment["RAY_worker_niceness"]) == ("local", "0")


def test_being_terminated_is_like_ctrl_c():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), terminable():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--users", "none"], "--users is 'none'"), (["missing.yaml"], "missing.yaml cannot be read")],
)
def test_wrong_arguments_end_with_one_sentence(arguments, said):
    result = CliRunner().invoke(app, ["bench", *arguments])
    assert result.exit_code == 2
    assert said in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize(("used", "warned"), [(7.5, False), (97.0, True)])
def test_other_work_is_warned_of(monkeypatch, used, warned):
    monkeypatch.setattr("psutil.cpu_percent", lambda interval: used)
    console = Console(width=200, record=True, file=io.StringIO())
    warn_of_strays(console)
    assert ("97 % of the processors in use" in console.export_text()) is warned
