"""A real engine is measured by the same users as a simulated one, and the timing model is fitted to it."""

import subprocess
import sys
from pathlib import Path

from serve.engine_curve import read_curve

ROOT = Path(__file__).resolve().parents[2]


def test_the_cpu_engine_can_be_measured(tmp_path: Path) -> None:
    out = tmp_path / "curve.json"
    command = [sys.executable, "-m", "serve.engine_curve", "measure", str(out), "--users", "1,8", "--rounds", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    curve = read_curve(out)
    assert curve.about["engine"].startswith("vLLM ")
    assert (curve.capacity.max_model_tokens, curve.capacity.max_sequences) == (512, 128)
    assert curve.capacity.kv_tokens > 100_000
    points = {(point.users, point.prompt_tokens, point.output_tokens): point for point in curve.points}
    assert len(points) == 6
    # Eight together are answered faster than one after the other, and long answers take longer than short ones.
    assert points[8, 16, 16].requests_per_s > 2 * points[1, 16, 16].requests_per_s
    assert points[1, 16, 16].requests_per_s > 2 * points[1, 16, 64].requests_per_s
    assert all(point.first_token_s > point.token_interval_s / 2 for point in curve.points)
