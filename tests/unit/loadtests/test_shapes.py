import pytest

from loadtests.errors import LoadTestError
from loadtests.shapes import STEPS, stages, users_at


def test_constant():
    plan = stages("constant", users=7, seconds=30)
    assert [users_at(plan, time_s) for time_s in (0, 29.9, 30)] == [7, 7, None]


def test_steps_climb_to_a_thousand():
    plan = stages("steps", users=1, seconds=60)
    assert [users_at(plan, 10 * step + 5) for step in range(7)] == [*STEPS, None]


def test_a_spike_comes_and_goes():
    plan = stages("spike", users=200, seconds=100)
    assert [users_at(plan, time_s) for time_s in (0, 39, 41, 59, 61, 99, 100)] == [20, 20, 200, 200, 20, 20, None]


def test_other_shapes_are_refused():
    with pytest.raises(LoadTestError, match="no shape 'wave': use one of constant, steps, spike"):
        stages("wave", users=1, seconds=1)
