import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from deployments.experts.simulation.fitting import QUANTITIES, Measured, fit_timing, simulate
from deployments.experts.simulation.timing import Capacity, Timing
from routers import DataError
from serve.engine_curve import read_curve, split

ROOT = Path(__file__).resolve().parents[3]
MEASURED = ROOT / "loadtests" / "measured" / "vllm-cpu-small.json"
TRUE = Timing(step_s=2e-3, token_s=5e-5, sequence_s=2e-4, request_s=5e-4)
CAPACITY = Capacity(max_sequences=128, max_step_tokens=2048)


def known_points():
    grid = [(users, prompt, output) for users in (1, 16, 256) for prompt, output in ((20, 16), (20, 64), (300, 16))]
    return [simulate(TRUE, CAPACITY, Measured(*shape, 1.0, 1.0, 1.0)) for shape in grid]


def test_a_known_timing_is_found_again():
    found = fit_timing(known_points(), CAPACITY)
    for name in ("step_s", "token_s", "sequence_s", "request_s"):
        assert getattr(found, name) == pytest.approx(getattr(TRUE, name), rel=0.05), name


def test_one_wrong_point_does_not_spoil_the_fit():
    points = known_points()
    points[4] = replace(points[4], first_token_s=5 * points[4].first_token_s)
    found = fit_timing(points, CAPACITY)
    for point in points[:4]:
        assert simulate(found, CAPACITY, point).requests_per_s == pytest.approx(point.requests_per_s, rel=0.1)


def test_the_fitted_simulation_reproduces_the_real_engine_where_it_was_not_fitted():
    """vLLM on the CPU, measured by `python -m serve.engine_curve measure`, fitted on two thirds of the points."""
    curve = read_curve(MEASURED)
    used, held_out = split(curve.points)
    assert len(held_out) >= 4
    timing = fit_timing(used, curve.capacity)
    off = {}
    for point in held_out:
        given = simulate(timing, curve.capacity, point)
        for name in QUANTITIES:
            off[point, name] = getattr(given, name) / getattr(point, name)
    assert {key: ratio for key, ratio in off.items() if not 0.8 <= ratio <= 1.2} == {}


def test_every_point_is_fitted_or_held_out():
    points = known_points()
    used, held_out = split(points)
    assert {*used, *held_out} == set(points)
    assert len(held_out) == 3
    assert len({point.users for point in held_out}) >= 1


def test_too_few_points_are_refused():
    with pytest.raises(DataError, match="2 measured points are too few"):
        fit_timing(known_points()[:2], CAPACITY)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        (b"{broken", "is not what `measure` writes"),
        (b'{"about": {}, "capacity": {}, "points": [{"users": 1}]}', "A measured point needs users"),
        (b'{"about": {}, "capacity": {"tokens": 1}, "points": []}', "is not what `measure` writes"),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    path = tmp_path / "curve.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_curve(path)


def test_the_command_prints_settings_that_a_configuration_takes(tmp_path):
    import yaml

    from serve.config import SimulatedSettings

    record = {
        "about": {},
        "capacity": {"kv_tokens": 200_000, "max_sequences": 128, "max_step_tokens": 2048},
        "points": [point.as_json() for point in known_points()],
    }
    path = tmp_path / "curve.json"
    path.write_bytes(orjson.dumps(record))
    command = [sys.executable, "-m", "serve.engine_curve", "fit", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    settings = yaml.safe_load(done.stdout.partition("expert:\n")[2])
    timing, capacity = SimulatedSettings.model_validate(settings).engine()
    assert timing.sequence_s == pytest.approx(TRUE.sequence_s, rel=0.1)
    assert capacity.kv_tokens == 200_000
    assert done.stdout.count("left out") == 3


def test_a_users_mistake_is_one_sentence(tmp_path):
    command = [sys.executable, "-m", "serve.engine_curve", "fit", str(tmp_path / "absent.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "Error:" in done.stderr
    assert "Traceback" not in done.stderr
