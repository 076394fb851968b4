from pathlib import Path
from typing import Any

import pytest
import yaml

from routers import PointsmanError
from serve.preflight import check_port, load_config

PRICE = {"input_per_million": 1, "output_per_million": 2}


@pytest.fixture
def config(synthetic_router: Path) -> dict[str, Any]:
    return {
        "applications": [
            {
                "name": "pointsman",
                "route_prefix": "/",
                "import_path": "serve.app:build",
                "args": {
                    "experts": {"sim-small": {"price": PRICE}, "sim-large": {"price": PRICE}},
                    "routes": {"auto": {"router": str(synthetic_router)}},
                    "default_route": "auto",
                },
                "deployments": [{"name": "Router", "user_config": {"policies": {"auto": {"threshold": 0.5}}}}],
            },
            *(
                {"name": name, "route_prefix": f"/experts/{name}", "import_path": "serve.app:simulated", "args": {}}
                for name in ("sim-small", "sim-large")
            ),
        ]
    }


def load(config: Any, tmp_path: Path) -> dict[str, Any]:
    path = tmp_path / "config.yaml"
    path.write_text(config if isinstance(config, str) else yaml.safe_dump(config))
    return load_config(path)


def test_a_good_configuration_passes(config: dict[str, Any], tmp_path: Path) -> None:
    assert load(config, tmp_path) == config


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("applications.0.args.expert", {}, "the key 'expert' is unknown"),
        ("applications.0.args.experts.sim-small.prise", 1, "'experts.sim-small.prise' is unknown"),
        ("applications.0.args.experts.sim-small", {}, "'experts.sim-small.price' is missing"),
        ("applications.1.args.answers", "x", "the key 'answers' is unknown"),
        ("applications.1.args.timing", {"step": 1}, "timing.step is unknown: use step_s"),
        ("applications.1.args.profile", {"model": "m", "gpu": "h100"}, "there is no 'm': use one of llama"),
        (
            "applications.1.args.recorded",
            {"file": "absent.jsonl"},
            "'sim-small': recorded: There is no file absent.jsonl",
        ),
        ("applications.0.args.experts.new", {"price": PRICE}, "neither a url nor an application"),
        ("applications.0.args.experts.new", {"price": PRICE, "url": "ftp://x"}, "must start with http"),
        ("applications.0.args.experts.new", {"price": PRICE, "model": "m"}, "belong to an expert with a url"),
        (
            "applications.0.args.experts.new",
            {"price": PRICE, "url": "http://x/v1", "api_key_env": "NOT_SET_ANYWHERE"},
            "NOT_SET_ANYWHERE is not set",
        ),
        ("applications.0.args.experts.a@b", {"price": PRICE}, "cannot be a name"),
        ("applications.0.args.default_route", "other", "not one of the routes"),
        ("applications.0.args.routes.sim-small", {"router": "x"}, "both a route and an expert"),
        ("applications.0.args.routes.auto.router", "nowhere", "nowhere"),
        ("applications.0.args.routes.auto.policy", {"threshold": 2}, "threshold"),
        ("applications.0.args.routes.auto.policy", {"experts": ["nobody"]}, "nobody"),
        ("applications.0.deployments.0.user_config.policies.auto", {"threshold": -1}, "threshold"),
        ("applications.0.deployments.0.nme", "x", "'nme' is unknown"),
        ("applications.0.deployments.0.autoscaling_config", {"min_replica": 1}, "'min_replica' is unknown"),
        ("http_options", {"prt": 1}, "'prt' is unknown"),
        ("applications.1.args.token", 1, "the key 'token' is unknown"),
        ("applications.1.import_path", "serve.app:vllm", "'model' is missing"),
        ("aplications", [], "unknown"),
    ],
)
def test_what_is_wrong_is_named(config: dict[str, Any], tmp_path: Path, place: str, value: Any, message: str) -> None:
    *path, last = [int(part) if part.isdigit() else part for part in place.split(".")]
    node: Any = config
    for part in path:
        node = node[part]
    node[last] = value
    with pytest.raises(PointsmanError, match=message) as caught:
        load(config, tmp_path)
    assert "\n" not in str(caught.value)


def test_an_artifact_for_other_experts_is_named(config: dict[str, Any], tmp_path: Path) -> None:
    experts = config["applications"][0]["args"]["experts"]
    experts["other"] = experts.pop("sim-large")
    config["applications"][2]["route_prefix"] = "/experts/other"
    with pytest.raises(PointsmanError, match="trained for the expert 'sim-large', which is not configured"):
        load(config, tmp_path)


def test_a_checkpoint_that_is_missing_is_named(config: dict[str, Any], tmp_path: Path) -> None:
    config["applications"][1] |= {"import_path": "serve.app:vllm", "args": {"model": "demo/experts/nobody"}}
    with pytest.raises(PointsmanError, match="no directory 'demo/experts/nobody'"):
        load(config, tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "applications: []", "a: [", "just text"])
def test_files_that_are_no_configuration(tmp_path: Path, text: str) -> None:
    with pytest.raises(PointsmanError):
        load(text, tmp_path)
    with pytest.raises(PointsmanError, match="cannot be read"):
        load_config(tmp_path / "nothing.yaml")


def test_a_port_in_use_is_named() -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PointsmanError, match=f"Port {port} on 127.0.0.1 cannot be used"):
            check_port("127.0.0.1", port)
    check_port("127.0.0.1", port)
