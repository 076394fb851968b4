import asyncio

import pytest

from deployments.experts.simulation.driver import Driver
from deployments.experts.simulation.engine import Engine, QueueFullError, Sequence
from deployments.experts.simulation.timing import Capacity, Timing


class Clock:
    """Time that only passes while somebody sleeps."""

    def __init__(self):
        self.now_s = 100.0
        self.sleeps = 0

    def __call__(self):
        return self.now_s

    async def sleep(self, seconds):
        self.sleeps += 1
        self.now_s += seconds
        # Everybody else gets a turn, as on a real event loop.
        for _ in range(5):
            await asyncio.sleep(0)


def driver_of(clock, timing=None, capacity=None, **options):
    engine = Engine(timing or Timing(step_s=0.1), capacity or Capacity())
    return Driver(engine, clock=clock, sleep=clock.sleep, **options)


async def test_answers_end_when_the_model_says():
    clock = Clock()
    driver = driver_of(clock)
    sequence = Sequence(10, 5)
    await driver.finish(sequence)
    assert clock.now_s == pytest.approx(100.5)
    assert (sequence.submitted_s, sequence.finished_s) == (100.0, pytest.approx(100.5))


async def test_a_thousand_answers_take_one_timer_a_step():
    clock = Clock()
    driver = driver_of(clock, capacity=Capacity(max_sequences=1000))
    await asyncio.gather(*(driver.finish(Sequence(5, 20)) for _ in range(1000)))
    assert clock.sleeps == 20
    assert clock.now_s == pytest.approx(102.0)


async def test_a_stream_gets_its_tokens_one_by_one():
    driver = driver_of(Clock())
    assert [made async for made in driver.stream(Sequence(10, 5))] == [1, 2, 3, 4, 5]


async def test_tokens_can_be_sent_together_but_the_first_comes_at_once():
    driver = driver_of(Clock(), stream_interval=4)
    assert [made async for made in driver.stream(Sequence(10, 10))] == [1, 5, 9, 10]


async def test_delays_do_not_add_up():
    clock = Clock()

    async def slow_sleep(seconds):
        await clock.sleep(seconds + 0.03)

    driver = Driver(Engine(Timing(step_s=0.1), Capacity()), clock=clock, sleep=slow_sleep)
    await driver.finish(Sequence(10, 50))
    assert clock.now_s == pytest.approx(105.0, abs=0.05)
    assert driver.lost_s == 0


async def test_what_cannot_be_caught_up_with_is_counted():
    clock = Clock()

    async def late_once(seconds):
        await clock.sleep(seconds if clock.sleeps != 3 else seconds + 5)

    driver = Driver(Engine(Timing(step_s=0.1), Capacity()), clock=clock, sleep=late_once)
    await driver.finish(Sequence(10, 50))
    assert driver.lost_s == pytest.approx(4.4, abs=0.11)


async def test_a_stream_that_is_left_frees_its_place():
    driver = driver_of(Clock())
    stream = driver.stream(Sequence(10, 1000))
    assert await anext(stream) == 1
    await stream.aclose()
    assert (driver.engine.running, driver.engine.kv_tokens) == (0, 0)


async def test_an_answer_that_is_cancelled_frees_its_place():
    driver = driver_of(Clock())
    task = asyncio.create_task(driver.finish(Sequence(10, 100_000)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert driver.engine.running == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert driver.engine.running == 0


async def test_it_sleeps_while_nothing_is_asked_and_wakes_again():
    clock = Clock()
    driver = driver_of(clock)
    await driver.finish(Sequence(10, 2))
    clock.now_s = 500.0
    await driver.finish(Sequence(10, 2))
    assert clock.now_s == pytest.approx(500.2)


async def test_a_full_queue_is_told_to_the_one_who_asks():
    driver = driver_of(Clock(), capacity=Capacity(max_sequences=1, max_waiting=0))
    running = asyncio.create_task(driver.finish(Sequence(10, 100_000)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    with pytest.raises(QueueFullError):
        await driver.finish(Sequence(10, 2))
    running.cancel()


async def test_an_engine_that_fails_tells_everybody():
    driver = driver_of(Clock())
    driver.engine.finish_step = lambda step, now_s: 1 / 0
    with pytest.raises(RuntimeError, match="simulated engine failed: ZeroDivisionError"):
        await driver.finish(Sequence(10, 2))
    with pytest.raises(ZeroDivisionError):
        await driver._loop


async def test_no_time_at_all_is_possible():
    clock = Clock()
    driver = driver_of(clock, timing=Timing())
    await driver.finish(Sequence(10, 500))
    assert clock.now_s == 100.0


async def test_changes_are_told():
    seen = []
    driver = driver_of(Clock(), on_step=lambda engine: seen.append(engine.running))
    await driver.finish(Sequence(10, 3))
    await asyncio.sleep(0)
    assert seen[0] == 1
    assert seen[-1] == 0
