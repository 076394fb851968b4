import sys
import time

import pytest

from loadtests.comparison import Comparison, Point
from loadtests.errors import LoadTestError
from loadtests.rounds import Plan, run_rounds
from loadtests.stacks import Stack, free_port

POINTS = [Point(2, stream=False), Point(2, stream=True)]


def expert(name="ours", models=("small",), behind=()):
    port = free_port()
    command = [sys.executable, "-m", "loadtests.instant_expert", "--port", str(port)]
    rows = {f"{name} {model}": model for model in models}
    return Stack(name, command, f"http://127.0.0.1:{port}/v1", rows, behind=behind)


def broken(name):
    return Stack(name, [sys.executable, "-c", "raise ValueError('no')"], "http://127.0.0.1:9/v1", {name: "small"})


def test_every_row_is_measured_under_every_load(tmp_path):
    comparison = Comparison("theirs small")
    stacks = [expert(models=("small", "large")), expert("theirs", behind=[expert("behind")])]
    left_out = run_rounds(stacks, Plan(POINTS, rounds=2, starts=1, seconds=0.2), comparison, tmp_path)
    assert left_out == []
    assert comparison.rows == ["ours small", "ours large", "theirs small"]
    for row in comparison.rows:
        assert [comparison.summary(row, point).rounds for point in POINTS] == [2, 2]
        assert all(comparison.summary(row, point).requests_per_s.low > 0 for point in POINTS)
    assert comparison.memory["ours"].processes == 1
    assert comparison.memory["theirs"].processes == 2
    assert (tmp_path / "theirs-0-behind-0.log").exists()


def test_a_peer_that_does_not_start_is_left_out_with_its_error(tmp_path):
    comparison = Comparison("ours small")
    plan = Plan(POINTS[:1], 1, 1, 0.2, may_fail=frozenset(["theirs"]))
    left_out = run_rounds([broken("theirs"), expert()], plan, comparison, tmp_path)
    assert len(left_out) == 1
    assert "theirs is left out" in left_out[0]
    assert "ValueError: no" in left_out[0]
    assert comparison.rows == ["ours small"]


def test_one_that_must_start_ends_the_run(tmp_path):
    with pytest.raises(LoadTestError, match="ours ended with 1"):
        run_rounds([broken("ours")], Plan(POINTS, 1, 1, 0.2), Comparison("ours"), tmp_path)


def test_nothing_is_begun_when_time_is_up(tmp_path):
    plan = Plan(POINTS, 1, 1, 0.2, end_s=time.monotonic() - 1)
    comparison = Comparison("ours small")
    assert run_rounds([expert()], plan, comparison, tmp_path) == ["ours is left out: time was up."]
    assert comparison.rows == []
