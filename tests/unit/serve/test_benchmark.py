import itertools
import json
import sys
from pathlib import Path

import pytest
import yaml
from ray.serve.llm import LLMConfig
from ray.serve.schema import ServeDeploySchema

from routers import ParameterError
from serve.app import llm_config_arguments
from serve.benchmark import bare_command, llm_config, pointsman_config, ray_config, read_source
from serve.config import PointsmanSettings, VLLMSettings

PRICE = {"input_per_million": 1.0, "output_per_million": 2.0}


@pytest.fixture
def config(tmp_path):
    """A configuration with two engines, two routes of which one has its artifact, and settings of its own."""
    for name in ("checkpoint", "trained"):
        (tmp_path / name).mkdir()
    (tmp_path / "trained" / "router.json").write_text("{}")
    endpoint = {
        "name": "pointsman",
        "route_prefix": "/",
        "import_path": "serve.app:build",
        "args": {
            "experts": {"small": {"price": PRICE}, "large": {"price": PRICE}},
            "routes": {
                "other": {"router": str(tmp_path / "untrained")},
                "auto": {"router": str(tmp_path / "trained"), "policy": {"threshold": 0.5}},
            },
            "default_route": "other",
        },
        "deployments": [{"name": "Router", "num_replicas": 2, "user_config": {"policies": {"other": {}}}}],
    }
    engines = [
        {
            "name": name,
            "route_prefix": f"/experts/{name}",
            "import_path": "serve.app:vllm",
            "args": {
                "model": str(tmp_path / "checkpoint"),
                "device": "cpu",
                "engine_kwargs": {
                    "max_model_len": 128,
                    "enable_prefix_caching": False,
                    "structured_outputs_config": {"backend": "xgrammar", "disable_any_whitespace": True},
                },
            },
            "deployments": [{"name": "Expert", "autoscaling_config": {"min_replicas": 1, "max_replicas": 1}}],
        }
        for name in ("small", "large")
    ]
    path = tmp_path / "config.yaml"
    settings = {"http_options": {"port": 8000, "request_timeout_s": 77}, "applications": [endpoint, *engines]}
    path.write_text(yaml.safe_dump(settings))
    return path


def test_pointsman_runs_the_one_engine_and_its_route_still_decides(config):
    settings, route = pointsman_config(read_source(config, "small"), 8123)
    ServeDeploySchema.model_validate(settings)
    endpoint, engine = settings["applications"]
    checked = PointsmanSettings.model_validate(endpoint["args"])
    assert route == checked.default_route == "auto"
    assert list(checked.routes) == ["auto"]
    assert checked.routes["auto"].policy.experts == ("small",)
    assert checked.routes["auto"].policy.threshold == 0.5
    assert checked.experts["small"].url is None
    assert (checked.experts["large"].url, checked.experts["large"].probe) == ("http://127.0.0.1:9/v1", False)
    assert engine["name"] == "small"
    assert endpoint["deployments"] == [{"name": "Router", "num_replicas": 2}]
    assert settings["http_options"] == {"host": "127.0.0.1", "port": 8123, "request_timeout_s": 77}


def test_an_upstream_answers_in_the_engines_place_and_routers_are_as_many_as_asked_for(config):
    source = read_source(config, "small")
    settings, route = pointsman_config(source, 8123, upstream="http://127.0.0.1:8100/v1", router_replicas=3)
    ServeDeploySchema.model_validate(settings)
    (endpoint,) = settings["applications"]
    checked = PointsmanSettings.model_validate(endpoint["args"])
    assert checked.experts["small"].url == "http://127.0.0.1:8100/v1"
    assert (route, checked.routes["auto"].policy.experts) == ("auto", ("small",))
    assert endpoint["deployments"] == [{"name": "Router", "num_replicas": 3}]


def test_without_an_artifact_there_is_no_route(config):
    (config.parent / "trained" / "router.json").unlink()
    settings, route = pointsman_config(read_source(config, "small"), 8123)
    assert route is None
    assert PointsmanSettings.model_validate(settings["applications"][0]["args"]).default_route is None


def test_all_servers_get_the_same_engine(config):
    source = read_source(config, "small")
    engine = llm_config(source)
    settings, _ = pointsman_config(source, 8123)
    ours = llm_config_arguments(VLLMSettings.model_validate({**settings["applications"][1]["args"], "id": "small"}))
    for key in ("model_loading_config", "engine_kwargs", "accelerator_config", "placement_group_config"):
        assert engine[key] == ours[key]
    of_servers = {"RAYLLM_ENABLE_REQUEST_PROMPT_LOGS": "0", "RAY_USE_UVLOOP": "0"}
    assert engine["runtime_env"]["env_vars"] | of_servers == ours["runtime_env"]["env_vars"]
    assert not of_servers.keys() & engine["runtime_env"]["env_vars"].keys()
    scaling = settings["applications"][1]["deployments"][0]["autoscaling_config"]
    assert engine["deployment_config"] == {**ours["deployment_config"], "autoscaling_config": scaling}
    assert LLMConfig(**engine).model_id == "small"


def test_ray_serve_llm_gets_nothing_but_the_engine(config):
    source = read_source(config, "small")
    engine = llm_config(source)
    settings = ray_config(source, engine, 8124)
    ServeDeploySchema.model_validate(settings)
    assert settings["applications"][0]["args"] == {"llm_configs": [engine]}
    assert settings["http_options"]["port"] == 8124


def test_bare_server(config):
    command, variables = bare_command(llm_config(read_source(config, "small")), 8125)
    assert command[:3] == [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    given = dict(itertools.pairwise(command))
    assert given["--port"] == "8125"
    assert given["--model"] == str(config.parent / "checkpoint")
    assert given["--served-model-name"] == "small"
    assert given["--max-model-len"] == "128"
    assert json.loads(given["--structured-outputs-config"]) == {"backend": "xgrammar", "disable_any_whitespace": True}
    assert "--enforce-eager" in command
    assert "--no-enable-prefix-caching" in command
    assert variables["VLLM_CPU_KVCACHE_SPACE"] == "1"
    assert variables["OMP_NUM_THREADS"] == "1", "as many as behind the other servers"


def test_settings_with_settings_of_their_own_are_json_for_the_bare_server(config):
    engine = llm_config(read_source(config, "small"))
    engine["engine_kwargs"] = {"structured_outputs_config": {"backend": "xgrammar", "disable_any_whitespace": True}}
    command, _ = bare_command(engine, 8125)
    given = json.loads(command[command.index("--structured-outputs-config") + 1])
    assert given == {"backend": "xgrammar", "disable_any_whitespace": True}


def test_what_belongs_to_servers_stays_as_the_user_set_it(config):
    settings = yaml.safe_load(config.read_text())
    env_vars = {"RAYLLM_ENABLE_REQUEST_PROMPT_LOGS": "1", "RAY_USE_UVLOOP": "1"}
    settings["applications"][1]["args"]["runtime_env"] = {"env_vars": env_vars}
    config.write_text(yaml.safe_dump(settings))
    assert llm_config(read_source(config, "small"))["runtime_env"]["env_vars"].items() >= env_vars.items()


def test_a_wrong_setting_of_the_expert_is_named(config):
    settings = yaml.safe_load(config.read_text())
    settings["applications"][1]["args"]["device"] = "tpu"
    config.write_text(yaml.safe_dump(settings))
    with pytest.raises(ParameterError, match="'small': Input should be 'gpu' or 'cpu'"):
        llm_config(read_source(config, "small"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read"),
        ("applications: {", "not a Ray Serve configuration"),
        ("experts: 3", "not a Ray Serve configuration"),
        ("applications: [{import_path: x}]", "has no application of serve.app:build"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path, text, message):
    path = tmp_path / "config.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ParameterError, match=message):
        read_source(path, "small")


def test_an_expert_without_an_engine_is_refused(config):
    with pytest.raises(ParameterError, match="no vLLM expert 'medium': give one of small, large"):
        read_source(config, "medium")


def test_the_demo_can_be_measured():
    path = Path(__file__).resolve().parents[3] / "config.yaml"
    assert read_source(path, "small").engine["name"] == "small"
