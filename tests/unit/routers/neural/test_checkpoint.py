import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from routers import ArtifactError, ParameterError
from routers.neural.checkpoint import (
    build_config,
    build_model,
    config_fields,
    load_checkpoint,
    model_tensors,
    restore_model,
    settle_weights,
)

SIZES: dict[str, Any] = {
    "vocab_size": 60,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 32,
    "pad_token_id": 0,
}
DEBERTA_V3: dict[str, Any] = {
    "relative_attention": True,
    "position_buckets": 8,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "pos_att_type": "p2c|c2p",
    "position_biased_input": False,
    "type_vocab_size": 0,
}
LLAMA: dict[str, Any] = {"num_key_value_heads": 1, "bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": True}
CONFIGS = {
    "bert": ("encoder", transformers.BertConfig(**SIZES)),
    "roberta": ("encoder", transformers.RobertaConfig(**SIZES, bos_token_id=1, eos_token_id=2)),
    "deberta-v3": ("encoder", transformers.DebertaV2Config(**SIZES, **DEBERTA_V3)),
    "llama": ("causal", transformers.LlamaConfig(**SIZES, **LLAMA)),
}


def made(name: str) -> tuple[str, Any, dict[str, np.ndarray]]:
    task, config = CONFIGS[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_model(build_config(config_fields(config), task, 3), task).eval()
    settle_weights(model)
    return task, model, model_tensors(model, "m.")


@pytest.mark.parametrize("name", CONFIGS)
def test_every_architecture_comes_back_as_it_was(name: str) -> None:
    task, model, tensors = made(name)
    again = restore_model(build_config(config_fields(model.config), task, 3), task, tensors, "m.").eval()
    ids = torch.tensor([[1, 5, 9, 4, 2], [1, 7, 2, 0, 0]])
    mask = (ids > 0).long()
    with torch.no_grad():
        before, after = (one(input_ids=ids, attention_mask=mask).logits for one in (model, again))
    assert torch.equal(before, after)
    assert before.shape[-1] == (3 if task == "encoder" else 60)


def test_tensors_are_halves_and_tied_ones_are_saved_once() -> None:
    _, model, tensors = made("llama")
    assert {tensor.dtype.name for tensor in tensors.values()} == {"float16"}
    assert "m.lm_head.weight" in model.state_dict(prefix="m.")
    assert "m.lm_head.weight" not in tensors


def test_what_overflows_a_half_is_kept_in_full() -> None:
    task, model, _ = made("bert")
    with torch.no_grad():
        model.classifier.bias[0] = 1e6
    settle_weights(model)
    tensors = model_tensors(model, "")
    assert tensors["classifier.bias"].dtype == np.float32
    again = restore_model(model.config, task, tensors, "")
    assert float(again.classifier.bias.detach()[0]) == 1e6


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"auto_map": {"AutoModel": "evil.Model"}}, "'auto_map'"),
        ({"quantization_config": {"quant_method": "x"}}, "'quantization_config'"),
        ({"attn_implementation": "stranger/kernels"}, "'attn_implementation'"),
        ({"_attn_implementation": "stranger/kernels"}, "'_attn_implementation'"),
        ({"model_type": "evil"}, "model type 'evil'"),
        ({"model_type": None}, "model type None"),
        ({"model_type": ["bert"]}, "model type"),
        ({"model_type": "vit"}, "model type 'vit'"),
        ({"num_hidden_layers": 10**9}, "layers"),
        ({"num_hidden_layers": "many"}, "layers"),
        ({"hidden_size": "large"}, "configuration is wrong|cannot be built"),
        ({"num_attention_heads": 5}, "cannot be built"),
        ({"hidden_act": "evil"}, "cannot be built|configuration is wrong"),
    ],
)
def test_configurations_that_are_refused(change: dict[str, Any], said: str) -> None:
    fields = {**config_fields(CONFIGS["bert"][1]), **change}
    with pytest.raises(ArtifactError, match=said):
        build_model(build_config(fields, "encoder", 3), "encoder")


def test_false_sizes_are_refused_before_they_take_memory() -> None:
    _, model, tensors = made("bert")
    fields = {**config_fields(model.config), "intermediate_size": 2**44}
    with pytest.raises(ArtifactError, match=r"intermediate\.dense\.weight"):
        restore_model(build_config(fields, "encoder", 3), "encoder", tensors, "m.")


def test_tensors_that_are_refused() -> None:
    _, model, tensors = made("bert")
    name = "m.classifier.weight"
    wrong = {
        "lacks the tensor": {key: value for key, value in tensors.items() if key != name},
        "unknown tensor": {**tensors, "m.extra": np.zeros(1, np.float16)},
        r"float64\[3, 16\], not": {**tensors, name: tensors[name].astype(np.float64)},
        r"float16\[16, 3\], not": {**tensors, name: tensors[name].T},
        "not finite": {**tensors, name: np.full_like(tensors[name], np.nan)},
    }
    for said, changed in wrong.items():
        with pytest.raises(ArtifactError, match=said):
            restore_model(model.config, "encoder", changed, "m.")


def test_only_safetensors_weights_are_read(tiny_encoder_path: str, tmp_path: Path) -> None:
    folder = tmp_path / "pickled"
    shutil.copytree(tiny_encoder_path, folder)
    model = transformers.AutoModel.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(ParameterError, match=r"pickled' cannot be used .*safetensors"):
        load_checkpoint(str(folder), "encoder", 2, None)


def test_code_that_comes_with_a_checkpoint_is_not_run(tiny_encoder_path: str, tmp_path: Path) -> None:
    folder = tmp_path / "coded"
    shutil.copytree(tiny_encoder_path, folder)
    config = transformers.BertConfig.from_pretrained(folder)
    config.auto_map = {"AutoConfig": "evil.Config", "AutoModelForSequenceClassification": "evil.Model"}
    config.save_pretrained(folder)
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'was-run')!r}, 'w')")
    model, _ = load_checkpoint(str(folder), "encoder", 2, None)
    assert type(model) is transformers.BertForSequenceClassification
    assert not (tmp_path / "was-run").exists()


def changed_copy(source: str, folder: Path, **changes: Any) -> str:
    shutil.copytree(source, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    return str(folder)


def test_weights_that_are_missing_are_not_made_up(
    tiny_encoder_path: str, tiny_causal_path: str, tmp_path: Path
) -> None:
    for task, source in (("encoder", tiny_encoder_path), ("causal", tiny_causal_path)):
        deeper = changed_copy(source, tmp_path / f"deeper-{task}", num_hidden_layers=2)
        with pytest.raises(ParameterError, match=r"lacks the weights '.*1\."):
            load_checkpoint(deeper, task, 2, None)
        wider = changed_copy(source, tmp_path / f"wider-{task}", intermediate_size=128)
        with pytest.raises(ParameterError, match="cannot be used"):
            load_checkpoint(wider, task, 2, None)
        packed = changed_copy(source, tmp_path / f"packed-{task}", quantization_config={"quant_method": "gptq"})
        with pytest.raises(ParameterError, match="quantised"):
            load_checkpoint(packed, task, 2, None)


def test_a_head_for_other_labels_is_replaced(tiny_encoder_path: str, tmp_path: Path) -> None:
    first, _ = load_checkpoint(tiny_encoder_path, "encoder", 5, None)
    first.save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(Path(tiny_encoder_path) / name, tmp_path)
    second, _ = load_checkpoint(str(tmp_path), "encoder", 2, None)
    assert second.classifier.weight.shape == (2, 32)
    assert torch.equal(second.bert.pooler.dense.weight, first.bert.pooler.dense.weight)


def test_missing_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="cannot be used"):
        load_checkpoint(str(tmp_path / "nothing"), "encoder", 2, None)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ParameterError, match="cannot be used"):
        load_checkpoint(str(tmp_path / "empty"), "causal", 2, None)


def test_dropout_is_set_everywhere(tiny_encoder_path: str) -> None:
    for dropout, expected in ((0.25, {0.25}), (None, {0.1})):
        model, _ = load_checkpoint(tiny_encoder_path, "encoder", 2, dropout)
        found = {module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)}
        assert found == expected


def test_loading_leaves_the_library_as_it_was(tiny_encoder_path: str) -> None:
    from transformers.utils import logging

    before = (logging.get_verbosity(), logging.is_progress_bar_enabled())
    load_checkpoint(tiny_encoder_path, "encoder", 2, None)
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
