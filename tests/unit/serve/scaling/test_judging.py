import numpy as np
import pytest

from serve.scaling.judging import Bounds, Series, follow, held_s, lag, needed, offered, turns


@pytest.mark.parametrize(
    ("values", "least", "expected"),
    [
        ([], 1, 0),
        ([2, 2, 2], 1, 0),
        ([1, 2, 3, 4], 1, 0),
        ([1, 2, 3, 2, 1], 1, 1),
        ([1, 3, 2, 3, 1], 1, 3),
        ([4, 3, 4], 1, 1),
        ([1, 3, 2, 3, 1], 2, 1),
        ([0.0, 0.9, 0.0, 0.9], 1, 0),
        ([0.0, 1.0, 0.6, 1.4, 0.5, 1.2], 1, 0),
        ([1.0, 0.6, 1.4, 0.3, 1.4], 1, 1),
    ],
)
def test_turns_count_swings_that_go_far_enough(values: list[float], least: float, expected: int) -> None:
    assert turns(values, least) == expected


def test_offered_load_is_what_would_be_under_way_if_nobody_waited() -> None:
    # Two requests a second that take three seconds each: six at a time, once the first three seconds are over.
    sent_s = np.arange(0.25, 20, 0.5)
    load = offered(sent_s, 3.0, seconds=20.0, window_s=1.0)
    assert load.t_s.tolist() == list(range(1, 21))
    assert load.values[:3].tolist() == [2.0, 4.0, 6.0]
    assert set(load.values[2:].tolist()) == {6.0}


def test_offered_load_is_averaged_around_the_moment() -> None:
    load = offered(np.array([5.5]), 1.0, seconds=10.0, window_s=2.0)
    # One request at the full second 6; its two neighbours share it.
    assert load.values.tolist() == pytest.approx([0, 0, 0, 0, 1 / 3, 1 / 3, 1 / 3, 0, 0, 0])


def test_needed_replicas_are_held_before_they_go() -> None:
    load = Series.of(range(8), [10, 11, 10, 35, 10, 10, 0, 0])
    found = needed(load, 10.0, bounds=(1, 3), hold_s=2.0)
    assert found.values.tolist() == [1, 2, 2, 3, 3, 3, 1, 1]


def test_lag_is_taken_level_by_level() -> None:
    load = Series.of([0, 10, 20, 30, 40, 50], [0.5, 1.5, 2.5, 2.5, 0.5, 0.5])
    running = Series.of([0, 12, 27, 60], [1, 2, 3, 1])
    wanted = Series.of([0, 11, 24, 48, 55], [1, 2, 3, 2, 1])
    found = lag(load, running, wanted, least=1, most=4)
    assert found.up_s == (2.0, 7.0)
    assert found.down_s == (25.0, 18.0)
    assert found.never == 0


def test_a_level_that_never_ran_is_counted() -> None:
    load = Series.of([0, 10], [0.5, 3.5])
    running = Series.of([0, 15], [1, 2])
    found = lag(load, running, running, least=1, most=3)
    assert (found.up_s, found.down_s, found.never) == ((5.0,), (), 1)


def test_replicas_that_ran_before_they_were_needed_did_not_lag() -> None:
    load = Series.of([0, 10], [0.5, 1.5])
    running = Series.of([0, 4], [1, 2])
    assert lag(load, running, running, least=1, most=4).up_s == (0.0,)


def test_replica_seconds() -> None:
    # One for 10 s, three for 5 s, two until the end at 20 s; the first value is taken for what was before it.
    assert held_s(Series.of([2, 10, 15], [1, 3, 2]), 20.0) == 10 + 15 + 10
    assert held_s(Series.of([0, 30], [1, 5]), 20.0) == 20
    assert held_s(Series.of([], []), 20.0) == 0


def test_following_a_rise_and_fall_without_oscillation() -> None:
    seconds = np.arange(1.0, 101.0)
    load = Series(seconds, np.where((seconds > 30) & (seconds <= 60), 25.0, 5.0))
    bounds = Bounds(least=1, most=4, target=10.0, capacity=16.0, look_back_s=1.5, hold_s=10.0)
    wanted = Series.of([0, 32, 71], [1, 3, 1])
    running = Series.of([0, 36, 71], [1, 3, 1])
    held = Series.of([0, 32, 75], [1, 3, 1])
    found = follow(load, running, wanted, held, bounds)
    assert (found.turns, found.load_turns, found.excess_turns) == (1, 1, 0)
    assert found.lag.up_s == (5.0, 5.0)
    assert found.lag.down_s == (11.0, 11.0)
    assert (found.least, found.most) == (1, 3)
    assert found.held_s == 32 + 3 * 43 + 25
    assert found.fixed_s == 400
    assert found.saved == pytest.approx(1 - 186 / 400)
    # From second 31 to 35 the one replica, which runs 16 at a time, had 25.
    assert found.short_s == 5


def test_replicas_that_come_and_go_without_the_load_are_oscillation() -> None:
    seconds = np.arange(1.0, 101.0)
    bounds = Bounds(least=1, most=4, target=10.0, capacity=16.0, look_back_s=1.5, hold_s=10.0)
    wanted = Series.of([0, 20, 40, 60, 80], [1, 2, 1, 2, 1])
    found = follow(Series(seconds, np.full(100, 9.0)), wanted, wanted, wanted, bounds)
    assert (found.turns, found.load_turns, found.excess_turns) == (3, 0, 3)
