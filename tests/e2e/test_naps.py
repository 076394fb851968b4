from __future__ import annotations

import time

import psutil

from tests.conftest import Endpoint

SECONDS = 0.8


def test_engines_on_processors_sleep_between_requests(endpoint: Endpoint) -> None:
    """vLLM by itself looks for the next message without pause, in both processes, for a second after the last one."""
    client = endpoint.client()
    client.completions.create(model="small", prompt="calculate", max_tokens=4)
    began_s, used_s = time.perf_counter(), engine_s(endpoint)
    time.sleep(SECONDS)
    used_s = engine_s(endpoint) - used_s
    assert 0 <= used_s < (time.perf_counter() - began_s) / 2


def engine_s(endpoint: Endpoint) -> float:
    """Processor seconds of all engines and their workers."""
    found = [
        process
        for process in psutil.Process(endpoint.pid).children(recursive=True)
        if process.name().startswith("VLLM::") or any("VLLM::" in word for word in process.cmdline())
    ]
    assert len(found) >= 4
    return sum(sum(process.cpu_times()[:2]) for process in found)
