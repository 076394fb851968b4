"""Training by name: parents come first, finished runs are not repeated, checkpoints are written."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from rich.progress import Progress

import demo.school
from demo.recipes import RECIPES
from demo.school import train_experts
from routers.errors import ParameterError


@pytest.fixture
def short_recipes(monkeypatch: pytest.MonkeyPatch) -> None:
    short = {
        name: dataclasses.replace(recipe, hidden=32, layers=1, feed_forward=32, steps=2, batches=((4, 26),))
        for name, recipe in RECIPES.items()
    }
    monkeypatch.setattr(demo.school, "RECIPES", short)


@pytest.mark.usefixtures("short_recipes")
def test_experts_branch_from_one_seed_model(tmp_path: Path) -> None:
    out, work = tmp_path / "out", tmp_path / "work"
    threads = torch.get_num_threads()
    lines = list(train_experts(["letters", "calendar"], out, work, Progress(), compiled=False, threads=threads))
    assert [line.split(":")[0] for line in lines] == ["seed", "letters", "calendar"]
    assert sorted(folder.name for folder in out.iterdir()) == ["calendar", "letters"]
    before = (work / "letters.pt").stat().st_mtime_ns
    weights = (out / "letters" / "model.safetensors").read_bytes()
    assert len(list(train_experts(["letters"], out, work, Progress(), compiled=False, threads=threads))) == 2
    assert (work / "letters.pt").stat().st_mtime_ns >= before
    assert (out / "letters" / "model.safetensors").read_bytes() == weights


@pytest.mark.usefixtures("short_recipes")
def test_the_checker_is_no_expert(tmp_path: Path) -> None:
    out, work = tmp_path / "out", tmp_path / "work"
    lines = list(train_experts(["checker"], out, work, Progress(), compiled=False, threads=torch.get_num_threads()))
    assert [line.split(":")[0] for line in lines] == ["checker"]
    assert not out.exists()
    assert (work / "checker" / "model.safetensors").exists()


def test_unknown_experts_are_named(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="Unknown expert giant"):
        list(train_experts(["giant"], tmp_path, tmp_path, Progress(), compiled=False, threads=1))
