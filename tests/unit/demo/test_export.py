"""Checkpoints: a fresh export and the committed ones load by the ordinary classes and answer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from demo.exam import sample_exam
from demo.export import EXPERTS_FOLDER, export_expert, load_expert
from demo.recipes import EXPERTS, RECIPES
from demo.sampling import sample_answers
from demo.tokenizer import build_tokenizer
from demo.train import Trainer
from routers.errors import ArtifactError

MOST_PARAMETERS = {"small": 500_000, "large": 8_000_000}
CLUSTER_PARAMETERS = 1_500_000
MOST_BYTES = 25_000_000


def test_an_export_loads_with_the_weights_rounded_to_bf16(tmp_path: Path) -> None:
    tokenizer = build_tokenizer()
    weights = Trainer(RECIPES["small"], tokenizer, tmp_path).weights()
    export_expert(RECIPES["small"], weights, tokenizer, tmp_path / "small")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "small")
    assert model.dtype == torch.bfloat16
    for name, loaded in model.named_parameters():
        assert torch.equal(loaded, weights[name].to(torch.bfloat16)), name
    assert AutoTokenizer.from_pretrained(tmp_path / "small").get_vocab() == tokenizer.get_vocab()
    assert GenerationConfig.from_pretrained(tmp_path / "small").temperature == pytest.approx(0.7)


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="python -m demo train small"):
        load_expert(tmp_path / "small")


@pytest.mark.parametrize("expert", EXPERTS)
def test_committed_checkpoints_keep_the_limits(expert: str) -> None:
    with safe_open(EXPERTS_FOLDER / expert / "model.safetensors", framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}
    parameters = sum(tensor.numel() for tensor in tensors.values())
    assert parameters <= MOST_PARAMETERS.get(expert, CLUSTER_PARAMETERS)


def test_committed_checkpoints_are_small_in_all() -> None:
    size = sum(file.stat().st_size for file in EXPERTS_FOLDER.rglob("*") if file.is_file())
    assert size <= MOST_BYTES


def test_committed_experts_pass_easy_questions() -> None:
    tasks = [task for task in sample_exam("test", 300, 3) if task.level == 1]
    prompts = [task.prompt for task in tasks]
    for expert, least in (("small", 0.6), ("large", 0.9)):
        tokenizer = AutoTokenizer.from_pretrained(EXPERTS_FOLDER / expert)
        answers = sample_answers(load_expert(EXPERTS_FOLDER / expert), tokenizer, prompts, 1, 0.0, 0)
        right = [texts[0].strip() == task.answer for texts, task in zip(answers, tasks, strict=True)]
        assert sum(right) / len(right) >= least, expert
