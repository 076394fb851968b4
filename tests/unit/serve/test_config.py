from pathlib import Path

import pytest
from pydantic import ValidationError

from routers import ParameterError
from serve.app import llm_config_arguments
from serve.config import SimulatedSettings, VLLMSettings


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


@pytest.mark.parametrize(("device", "naps"), [("cpu", "1"), ("gpu", None)])
def test_only_engines_on_processors_nap(device: str, naps: str | None) -> None:
    arguments = llm_config_arguments(VLLMSettings.model_validate({"model": "org/model", "device": device}))
    assert arguments["runtime_env"]["env_vars"].get("POINTSMAN_ENGINE_NAPS") == naps


def test_engines_do_without_uvloop_unless_told() -> None:
    settings = {"model": "org/model", "device": "gpu"}
    assert (
        llm_config_arguments(VLLMSettings.model_validate(settings))["runtime_env"]["env_vars"]["RAY_USE_UVLOOP"] == "0"
    )
    settings |= {"runtime_env": {"env_vars": {"RAY_USE_UVLOOP": "1"}}}
    assert (
        llm_config_arguments(VLLMSettings.model_validate(settings))["runtime_env"]["env_vars"]["RAY_USE_UVLOOP"] == "1"
    )


def test_a_simulated_expert_takes_no_time_unless_told():
    timing, capacity = SimulatedSettings().engine()
    assert timing.duration_s(decoding=9, prompt_tokens=900, context_tokens=9000, begun=9) == 0
    assert capacity.max_sequences == 256


def test_a_profile_gives_timing_and_capacity_and_what_is_set_goes_before_it():
    profile = {"model": "llama-3.1-70b", "gpu": "h100", "tensor_parallel": 4}
    settings = {"profile": profile, "timing": {"step_s": 0.5}, "capacity": {"max_sequences": 8, "max_waiting": None}}
    timing, capacity = SimulatedSettings.model_validate(settings).engine()
    assert timing.step_s == 0.5
    assert timing.weights_s == pytest.approx(0.01405, rel=0.01)
    assert capacity.max_sequences == 8
    assert capacity.kv_tokens > 400_000


def test_a_profile_takes_other_models_and_gpus_by_their_figures():
    model = {"parameters_b": 1, "layers": 2, "hidden": 8, "kv_heads": 1, "head_size": 8, "context_tokens": 512}
    gpu = {"tflops": 100, "bandwidth_gb_per_s": 1000, "memory_gb": 10, "link_gb_per_s": 10}
    settings = SimulatedSettings.model_validate({"profile": {"model": model, "gpu": gpu}})
    assert settings.engine()[0].weights_s == pytest.approx(2e9 / 0.75e12)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"timing": {"tokens_s": 1}}, "timing.tokens_s is unknown: use step_s"),
        ({"timing": {"step_s": -1}}, "step_s is -1"),
        ({"capacity": {"kv_tokens": 10}}, "longest request could never run"),
        ({"profile": {"model": "gpt-9", "gpu": "h100"}}, "there is no 'gpt-9': use one of"),
        ({"profile": {"model": "llama-3.1-70b", "gpu": "l4"}}, "leave no room for the cache"),
        ({"token_s": 0.2}, "Extra inputs"),
    ],
)
def test_impossible_simulations_are_refused(settings, message):
    with pytest.raises((ValidationError, ParameterError), match=message):
        SimulatedSettings.model_validate(settings)
