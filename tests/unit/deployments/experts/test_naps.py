import threading
import time

import pytest
from vllm.distributed.device_communicators.shm_broadcast import MessageQueue, SpinCondition

from deployments.experts.naps import NAPS_ENV, nap_s, register

WAIT_S = 0.5


@pytest.fixture(autouse=True)
def vllm_as_it_was(monkeypatch):
    monkeypatch.setattr(SpinCondition, "wait", SpinCondition.wait)


def test_a_nap_is_short_beside_the_wait_it_belongs_to():
    assert nap_s(0.016) == pytest.approx(0.001)
    assert nap_s(0) == nap_s(0.0005) == 0.0001
    assert nap_s(0.9) == 0.002


@pytest.mark.parametrize("value", [None, "0", ""])
def test_vllm_stays_as_it_is_unless_asked(monkeypatch, value):
    monkeypatch.delenv(NAPS_ENV, raising=False)
    if value is not None:
        monkeypatch.setenv(NAPS_ENV, value)
    before = SpinCondition.wait
    register()
    assert SpinCondition.wait is before


def test_who_waits_for_a_message_leaves_the_processor_and_gets_it(monkeypatch):
    monkeypatch.setenv(NAPS_ENV, "1")
    register()
    writer = MessageQueue(1, 1)
    reader = MessageQueue.create_from_handle(writer.export_handle(), 0)
    connected = threading.Thread(target=reader.wait_until_ready)
    connected.start()
    writer.wait_until_ready()
    connected.join()
    threading.Timer(WAIT_S, writer.enqueue, args=["first"]).start()
    began_s = time.thread_time()
    assert reader.dequeue(timeout=30) == "first"
    assert time.thread_time() - began_s < WAIT_S / 4
    writer.enqueue("second")
    assert reader.dequeue(timeout=30) == "second"
    reader.shutdown()


def test_who_waited_long_is_woken_by_the_message(monkeypatch):
    monkeypatch.setenv(NAPS_ENV, "1")
    waits = []
    monkeypatch.setattr(SpinCondition, "wait", lambda self, timeout_ms=None: waits.append(timeout_ms))
    register()
    parked = SpinCondition.__new__(SpinCondition)
    parked.last_read, parked.busy_loop_s = time.monotonic() - 2, 1
    parked.wait(timeout_ms=7)
    assert waits == [7]
    parked.last_read = time.monotonic()
    parked.wait(timeout_ms=7)
    assert waits == [7]


def test_another_vllm_waits_as_it_does_and_says_so(monkeypatch, caplog):
    monkeypatch.setenv(NAPS_ENV, "1")
    monkeypatch.delattr(SpinCondition, "wait")
    register()
    assert not hasattr(SpinCondition, "wait")
    assert "will not nap" in caplog.text
