import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from routers import ParameterError, PointsmanError
from serve.scaling.judging import Bounds
from serve.scaling.settings import compressed, find_pool, pools_of, read_settings, served, sleepers_of

ROOT = Path(__file__).parents[4]
CONFIG = ROOT / "serve/configs/autoscaling.yaml"


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.chdir(ROOT)
    return read_settings(CONFIG)


def test_pools_of_the_shipped_configuration(settings: dict[str, Any]) -> None:
    pools = {pool.name: pool for pool in pools_of(settings)}
    assert list(pools)[:3] == ["pointsman/Router", "small/Expert", "large/Expert"]
    assert pools["large/Expert"].gpus == 4
    assert pools["large/Expert"].bounds == Bounds(
        least=1, most=4, target=10.0, capacity=16, look_back_s=30.0, hold_s=300.0
    )
    assert pools["pointsman/Router"].expert is None
    assert sleepers_of(settings) == ["arithmetic", "letters", "calendar", "conversion"]


def test_every_pool_aims_below_what_its_engine_can_run(settings: dict[str, Any]) -> None:
    assert all(0.5 <= pool.bounds.target / pool.bounds.capacity <= 0.8 for pool in pools_of(settings) if pool.expert)


def test_nothing_that_is_under_way_is_cut_when_a_replica_goes(settings: dict[str, Any]) -> None:
    apps = settings["applications"]
    longest_s = apps[0]["args"]["limits"]["request_timeout_s"]
    assert all(app["deployments"][0]["graceful_shutdown_timeout_s"] > longest_s for app in apps)


def test_delays_are_compressed_and_nothing_else(settings: dict[str, Any]) -> None:
    before = copy.deepcopy(settings)
    found = compressed(settings, 20.0)
    assert settings == before
    small, asleep = (
        next(app for app in found["applications"] if app["name"] == name)["deployments"][0]["autoscaling_config"]
        for name in ("small", "letters")
    )
    assert small == {
        "min_replicas": 1,
        "max_replicas": 4,
        "target_ongoing_requests": 10,
        "upscale_delay_s": 0.5,
        "downscale_delay_s": 15.0,
        "metrics_interval_s": 0.5,
        "look_back_period_s": 1.5,
    }
    assert asleep["downscale_to_zero_delay_s"] == 30.0


def test_the_server_drains_as_compressed(settings: dict[str, Any], tmp_path: Path) -> None:
    stack = served(settings, tmp_path, factor=20.0)
    assert stack.environment["RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S"] == "1.5"
    written = yaml.safe_load((tmp_path / "pointsman.yaml").read_text())
    assert f":{written['http_options']['port']}/" in stack.url
    assert stack.models == {"auto": "auto"}


def test_what_cannot_be_measured_is_refused(settings: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="'small' is no simulated expert"):
        read_settings(ROOT / "config.yaml")
    with pytest.raises(ParameterError, match="no expert 'nobody'"):
        find_pool(settings, "nobody")
    with pytest.raises(PointsmanError, match="cannot be read"):
        read_settings(tmp_path / "none.yaml")
    still = copy.deepcopy(settings)
    for app in still["applications"]:
        del app["deployments"]
    path = tmp_path / "still.yaml"
    path.write_text(yaml.safe_dump(still))
    with pytest.raises(ParameterError, match="has no autoscaling_config"):
        read_settings(path)
