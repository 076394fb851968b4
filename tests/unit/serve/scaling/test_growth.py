import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from routers import ParameterError
from serve.config import PointsmanSettings, SimulatedSettings
from serve.scaling import growth
from serve.scaling.settings import read_settings

ROOT = Path(__file__).parents[4]


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.chdir(ROOT)
    return read_settings(ROOT / "serve/configs/autoscaling.yaml")


def test_every_prompt_goes_to_one_expert(settings: dict[str, Any]) -> None:
    found = growth._configuration(settings, routers=2, expert={"url": "http://127.0.0.1:8100/v1"})
    (endpoint,) = found["applications"]
    args = PointsmanSettings.model_validate(endpoint["args"])
    assert args.routes["auto"].policy.experts == ("small",)
    assert args.experts["small"].url == "http://127.0.0.1:8100/v1"
    assert not args.experts["large"].probe
    assert endpoint["deployments"] == [{"name": "Router", "num_replicas": 2}]


def test_so_many_slow_experts(settings: dict[str, Any]) -> None:
    found = growth._configuration(settings, routers=1, expert={}, replicas=8)
    endpoint, expert = found["applications"]
    assert PointsmanSettings.model_validate(endpoint["args"]).experts["small"].url is None
    assert SimulatedSettings.model_validate(expert["args"]).engine()[1].max_sequences == 8
    assert expert["deployments"] == [{"name": "Expert", "num_replicas": 8}]


def test_a_configuration_without_the_route_is_refused(settings: dict[str, Any]) -> None:
    del settings["applications"][0]["args"]["routes"]["auto"]
    with pytest.raises(ParameterError, match="a route 'auto'"):
        growth._configuration(settings, routers=1, expert={})


def test_processor_time_is_that_of_the_marked_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "_PARTS", {"busy": ("busy-one",), "idle": ("idle-one",)})
    busy = "import time; end = time.monotonic() + 30\nwhile time.monotonic() < end: pass  # busy-one"
    idle = "import time; time.sleep(30)  # idle-one"
    started = [subprocess.Popen([sys.executable, "-c", code]) for code in (busy, idle)]
    try:
        meter = growth._Meter([psutil.Process(process.pid) for process in started])
        meter.look(0.0)
        until_s = time.monotonic() + 20
        while time.monotonic() < until_s:
            time.sleep(0.2)
            meter.look(1.0)
            used = meter.used()
            if used.cpu_s["busy"] > 0.1:
                break
        assert used.cpu_s["busy"] > 0.1 > used.cpu_s["idle"]
        assert 0 < used.machine <= 1.05
        assert used.cpu_s["busy"] <= used.seconds * (os.cpu_count() or 1) * 1.1
    finally:
        for process in started:
            process.kill()
            process.wait()
