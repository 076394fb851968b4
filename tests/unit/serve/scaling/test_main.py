import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--only", "night"], "There is no part 'night': use one of day, spike, zero, growth."),
        (["config.yaml"], "is no simulated expert"),
        (["--only", "zero", "--sleeper", "small"], "never sleeps: give one of arithmetic"),
        (["--only", "zero", "--sleeper", "nobody"], "There is no expert 'nobody'"),
        (["--only", "growth", "--experts", "1,x"], "--experts is '1,x': give whole numbers"),
        (["--only", "day", "--compression", "0.5"], "compression"),
    ],
)
def test_wrong_options_are_told_before_anything_starts(options: list[str], said: str) -> None:
    command = [sys.executable, "-m", "serve.scaling", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert said in " ".join(done.stderr.split())
