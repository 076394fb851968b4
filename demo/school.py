"""Training all experts, the seed model before the experts that branch from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from rich.progress import Progress, TaskID
from safetensors.torch import load_file, save_file

from demo.clusters import find_clusters
from demo.export import export_expert
from demo.recipes import CHECKER, EXPERTS, RECIPES, Recipe
from demo.tokenizer import build_tokenizer
from demo.train import Trainer
from routers.errors import ParameterError

__all__ = ["train_experts"]

_SMOOTHING = 0.98


def _in_order(experts: Sequence[str]) -> list[Recipe]:
    unknown = sorted(set(experts) - set(RECIPES))
    if unknown:
        raise ParameterError(f"Unknown expert {unknown[0]}: choose from {', '.join(EXPERTS)}.")
    order: list[Recipe] = []
    for name in experts or EXPERTS:
        parent = RECIPES[name].parent
        wanted = [RECIPES[parent]] if parent else []
        order += [recipe for recipe in (*wanted, RECIPES[name]) if recipe not in order]
    return order


def train_experts(
    experts: Sequence[str], out: Path, work: Path, bar: Progress, *, compiled: bool, threads: int
) -> Iterator[str]:
    """Train `experts` (all, if empty) with their parents; yield one line on each when it is done.

    Finished checkpoints go to `out`, that of the checker, which is no expert, to `work`. That folder also keeps the
    state of runs and all fp32 weights, so that a second call continues, and does not repeat what is finished.

    Raises:
        ParameterError: an expert is unknown.
    """
    torch.set_num_threads(threads)
    tokenizer = build_tokenizer()
    order = _in_order(experts)
    clusters = find_clusters() if any(recipe.cluster for recipe in order) else None
    for recipe in order:
        parent = load_file(work / f"{recipe.parent}.safetensors") if recipe.parent else None
        trainer = Trainer(recipe, tokenizer, work, parent=parent, clusters=clusters, compiled=compiled)
        trainer.resume()
        task = bar.add_task(recipe.name, total=recipe.steps, completed=trainer.step)
        trainer.run(_Reporter(bar, task, recipe.name))
        weights = trainer.weights()
        save_file(weights, work / f"{recipe.name}.safetensors")
        if recipe.name in EXPERTS:
            export_expert(recipe, weights, tokenizer, out / recipe.name)
        elif recipe.name == CHECKER:
            export_expert(recipe, weights, tokenizer, work / recipe.name)
        size = sum(weight.numel() for weight in weights.values())
        yield f"{recipe.name}: {size:,} parameters, {recipe.steps} steps, {trainer.trained_s / 60:.1f} min"


class _Reporter:
    """Moves the progress bar and shows the smoothed loss."""

    def __init__(self, bar: Progress, task: TaskID, name: str) -> None:
        self._bar, self._task, self._name = bar, task, name
        self._loss: float | None = None

    def __call__(self, step: int, loss: float) -> None:
        self._loss = loss if self._loss is None else _SMOOTHING * self._loss + (1 - _SMOOTHING) * loss
        described = f"{self._name} (loss {self._loss:.3f})"
        self._bar.update(self._task, completed=step, description=described)
