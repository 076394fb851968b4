import asyncio
import gc
import weakref
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from deployments.experts.simulated import Script, SimulatedExpert
from deployments.experts.simulation.timing import Capacity, Timing
from deployments.garbage import collect_seldom
from deployments.router import Router, RouterSettings


@pytest.fixture(autouse=True)
def thresholds() -> Iterator[tuple[int, int, int]]:
    before = gc.get_threshold()
    yield before
    gc.set_threshold(*before)


class Node:
    def __init__(self) -> None:
        self.itself = self


def test_garbage_is_looked_for_seldom_but_still_collected(thresholds: tuple[int, int, int]) -> None:
    collect_seldom()
    assert gc.get_threshold()[1:] == thresholds[1:]
    gc.collect()
    gone = weakref.ref(Node())
    kept: list[list[int]] = [[] for _ in range(5_000)]
    assert gone() is not None
    kept += [[] for _ in range(100_000)]
    assert gone() is None


class CalledError(Exception):
    pass


def called() -> None:
    raise CalledError


def test_a_router_collects_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployments.router.collect_seldom", called)
    with pytest.raises(CalledError):
        asyncio.run(Router.__init__(SimpleNamespace(), RouterSettings({}, {}, {})))  # type: ignore[arg-type, func-returns-value]


def test_a_simulated_expert_collects_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployments.experts.simulated.collect_seldom", called)
    with pytest.raises(CalledError):
        SimulatedExpert(Script("answer"), Timing(), Capacity(), stream_interval=1, token="")
