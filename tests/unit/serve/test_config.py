from pathlib import Path

import pytest
from pydantic import ValidationError

from serve.app import llm_config_arguments
from serve.config import VLLMSettings


def test_a_home_directory_is_found_and_stays_off_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "model").mkdir()
    arguments = llm_config_arguments(VLLMSettings(model="~/model", device="cpu"))
    assert arguments["model_loading_config"]["model_source"] == str(tmp_path / "model")
    assert arguments["runtime_env"]["env_vars"]["HF_HUB_OFFLINE"] == "1"
    with pytest.raises(ValidationError, match="no directory"):
        VLLMSettings(model="~/nothing")


def test_what_the_user_gives_wins_over_the_defaults() -> None:
    settings = VLLMSettings.model_validate(
        {
            "model": "org/model",
            "device": "cpu",
            "engine_kwargs": {"dtype": "float32"},
            "runtime_env": {"env_vars": {"VLLM_CPU_KVCACHE_SPACE": "4"}},
            "placement_group_config": {"bundles": [{"CPU": 2}]},
        }
    )
    arguments = llm_config_arguments(settings)
    assert arguments["engine_kwargs"] == {"enforce_eager": True, "dtype": "float32"}
    assert arguments["runtime_env"]["env_vars"]["VLLM_CPU_KVCACHE_SPACE"] == "4"
    assert arguments["placement_group_config"] == {"bundles": [{"CPU": 2}]}
    assert "HF_HUB_OFFLINE" not in arguments["runtime_env"]["env_vars"]
