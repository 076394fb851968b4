from pathlib import Path

import pytest
import yaml

from routers import ParameterError
from serve.bench_plans import SINGLE, plan_stacks

CONFIG = Path(__file__).parents[3] / "serve" / "configs" / "demo-plans.yaml"


def test_both_servers_run_the_shipped_plans_over_simulated_engines(tmp_path: Path) -> None:
    plans, alone = plan_stacks(CONFIG, tmp_path)
    assert {"small", "auto", "neural", "frugal@0.0", "frugal@1.0", "blend", "small-x4"} <= set(plans.models.values())
    assert SINGLE in plans.models
    assert set(alone.models.values()) == {"small", "auto"}
    for stack, routes in ((plans, 7), (alone, 1)):
        config = yaml.safe_load(Path(stack.command[-1]).read_text())
        endpoint, *engines = config["applications"]
        assert len(endpoint["args"]["routes"]) == routes
        assert {engine["import_path"] for engine in engines} == {"serve.app:simulated"}
        assert {engine["name"] for engine in engines} == set(endpoint["args"]["experts"])


def test_a_configuration_without_plans_is_named(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="has no 'neural'"):
        plan_stacks(CONFIG.parents[2] / "config.yaml", tmp_path)
    with pytest.raises(ParameterError, match="no configuration with plans"):
        plan_stacks(tmp_path / "nothing.yaml", tmp_path)
