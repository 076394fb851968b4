import pytest

from deployments.experts.simulation.profiles import BANDWIDTH_SHARE, FLOPS_SHARE, GPUS, MEMORY_SHARE, MODELS, profile
from routers import ParameterError


def test_the_documented_formulas():
    model, gpu = MODELS["llama-3.1-8b"], GPUS["h100"]
    timing, capacity = profile(model, gpu)
    assert timing.weights_s == pytest.approx(8.03e9 * 2 / (3350e9 * BANDWIDTH_SHARE))
    assert timing.token_s == pytest.approx(2 * 8.03e9 / (989e12 * FLOPS_SHARE))
    # 32 layers, 8 heads of 128, keys and values, two bytes each.
    assert model.kv_bytes == 131_072
    assert timing.context_token_s == pytest.approx(131_072 / (3350e9 * BANDWIDTH_SHARE))
    assert capacity.kv_tokens == int((80e9 * MEMORY_SHARE - 16.06e9) / 131_072)


def test_more_gpus_are_faster_alone_but_not_as_much_as_they_are_more():
    model, gpu = MODELS["llama-3.1-70b"], GPUS["h100"]

    def step_s(count):
        timing, _ = profile(model, gpu, tensor_parallel=count)
        return timing.duration_s(decoding=32, prompt_tokens=0, context_tokens=32_000, begun=0)

    assert step_s(8) < step_s(4) < step_s(2) < 8 * step_s(8)


def test_fewer_bytes_leave_more_room_and_are_read_faster():
    model, gpu = MODELS["llama-3.1-8b"], GPUS["l4"]
    (full, little), (half, much) = profile(model, gpu), profile(model, gpu, weight_bytes=1)
    assert half.weights_s == pytest.approx(full.weights_s / 2)
    assert half.token_s == full.token_s
    assert much.kv_tokens > little.kv_tokens


def test_weights_that_do_not_fit_are_refused():
    with pytest.raises(ParameterError, match="141 GB of weights leave no room"):
        profile(MODELS["llama-3.1-70b"], GPUS["h100"])


@pytest.mark.parametrize("model", MODELS)
def test_a_model_never_claims_a_longer_context_than_its_cache_holds(model):
    _, capacity = profile(MODELS[model], GPUS["h100"], tensor_parallel=8)
    assert capacity.max_model_tokens <= min(capacity.kv_tokens, MODELS[model].context_tokens)
