import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from ray.serve.schema import ServeDeploySchema
from safetensors.numpy import load_file

from serve.benchmark import read_source
from serve.peers.servers import LITELLM, PEERS, ROUTELLM, instant_stacks, missing, real_stacks

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture
def source(monkeypatch):
    monkeypatch.chdir(ROOT)
    return read_source(ROOT / "config.yaml", "small")


def by_name(stacks):
    return {stack.name: stack for stack in stacks}


def test_peers_without_an_environment_are_missing(tmp_path):
    assert missing(tmp_path, PEERS) == [LITELLM, ROUTELLM]
    python = tmp_path / "litellm" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    assert missing(tmp_path, PEERS) == [ROUTELLM]


def test_every_proxy_stands_in_front_of_an_instant_expert(source, tmp_path):
    stacks = by_name(instant_stacks(source, tmp_path, tmp_path, peers=PEERS, workers=2))
    assert list(stacks) == ["instant expert", "Pointsman", "ray.serve.llm", "LiteLLM", "RouteLLM"]
    for name in ("Pointsman", "LiteLLM", "RouteLLM"):
        assert "loadtests.instant_expert" in stacks[name].behind[0].command
    pointsman = yaml.safe_load((tmp_path / "pointsman.yaml").read_text())
    ServeDeploySchema.model_validate(pointsman)
    assert pointsman["applications"][0]["args"]["experts"]["small"]["url"] == stacks["Pointsman"].behind[0].url
    assert pointsman["applications"][0]["deployments"][0]["num_replicas"] == 2
    assert list(stacks["Pointsman"].models) == ["Pointsman, route auto"]
    ray = yaml.safe_load((tmp_path / "ray-serve-llm.yaml").read_text())
    (engine,) = ray["applications"][0]["args"]["llm_configs"]
    variables = engine["runtime_env"]["env_vars"]
    assert variables["RAYLLM_VLLM_ENGINE_CLS"] == "serve.peers.instant_engine:InstantEngine"
    assert len({stack.url for stack in stacks.values()}) == 5


def test_litellm_has_as_many_workers_as_there_are_routers(source, tmp_path):
    stack = by_name(instant_stacks(source, tmp_path, tmp_path, peers=[LITELLM], workers=2))[LITELLM]
    assert stack.command[0] == str(tmp_path / "litellm" / "bin" / "litellm")
    assert stack.command[stack.command.index("--num_workers") + 1] == "2"
    config = yaml.safe_load((tmp_path / "litellm.yaml").read_text())
    (model,) = config["model_list"]
    assert model["model_name"] in stack.models.values()
    assert model["litellm_params"]["api_base"] == stack.behind[0].url
    assert "PYTHONPATH" not in stack.environment


def test_routellm_gets_random_weights_of_its_own_sizes_and_embeddings_from_this_machine(source, tmp_path):
    stacks = by_name(real_stacks(source, tmp_path, tmp_path, peers=[ROUTELLM], workers=1))
    assert list(stacks) == ["bare vLLM", "Pointsman", "RouteLLM"]
    stack = stacks[ROUTELLM]
    assert "vllm.entrypoints.openai.api_server" in stack.behind[0].command
    assert stack.command[stack.command.index("--base-url") + 1] == stack.behind[0].url
    assert stack.environment["OPENAI_BASE_URL"] == stack.behind[1].url
    assert "loadtests.instant_expert" in stack.behind[1].command
    weights = load_file(tmp_path / "routellm-mf" / "model.safetensors")
    assert weights["text_proj.0.weight"].shape == (128, 1536)
    assert weights["P.weight"].dtype == np.float32
    assert json.loads((tmp_path / "routellm-mf" / "config.json").read_text())["num_models"] == 64
    # Its server drops ignore_eos, so the engine is kept from ending its answers in another way.
    assert stack.body == {"logit_bias": {"1": -100}}
    assert stacks["Pointsman"].body == {}


def test_what_make_installs_is_what_is_looked_for():
    makefile = (ROOT / "Makefile").read_text()
    made = re.search(r"^PEERS := (.*)$", makefile, re.MULTILINE)[1].split()
    folders = {Path(stack).name for stack in made}
    assert folders == {"litellm", "routellm"}
    assert all((ROOT / "requirements" / f"peers-{name}.txt").is_file() for name in made)
