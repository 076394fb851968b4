"""Training one expert from scratch (or from its parent) on generated tasks, resumable and reproducible."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from demo.batches import draw_tasks, make_batches
from demo.clusters import Clusters
from demo.recipes import Recipe, llama_config

__all__ = ["Progress", "Trainer"]

_CHECKPOINT_EVERY_S = 60.0
_FINAL_RATE_SHARE = 0.02
_CLIP_NORM = 1.0
_WEIGHT_DECAY = 0.05

Progress = Callable[[int, float], None]


def _rate(recipe: Recipe, step: int) -> float:
    """Linear warm-up, then a cosine down to a small share of the peak."""
    if step < recipe.warmup_steps:
        return recipe.peak_rate * (step + 1) / recipe.warmup_steps
    done = (step - recipe.warmup_steps) / max(1, recipe.steps - recipe.warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * done))
    return recipe.peak_rate * (_FINAL_RATE_SHARE + (1 - _FINAL_RATE_SHARE) * cosine)


@dataclass
class Trainer:
    """Trains `recipe`'s model. The forward and backward passes run in bf16, the weights are kept in fp32.

    The batches of a step follow from the recipe's name, its seed and the step alone, so a run that was
    interrupted continues bit for bit from its last checkpoint in `folder`.
    """

    recipe: Recipe
    tokenizer: PreTrainedTokenizerFast
    folder: Path
    parent: dict[str, torch.Tensor] | None = None
    clusters: Clusters | None = None
    compiled: bool = False
    step: int = 0
    trained_s: float = 0.0
    _masters: list[torch.Tensor] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        torch.manual_seed(self.recipe.seed)
        self.model = LlamaForCausalLM(llama_config(self.recipe))
        # On CPUs the fused attention's backward pass in bf16 takes several times as long as the plain one.
        self.model.set_attn_implementation("eager")
        if self.parent is not None:
            self.model.load_state_dict(self.parent, strict=False)
        self._masters = [weight.detach().clone().requires_grad_() for weight in self.model.parameters()]
        decayed = [weight for weight in self._masters if weight.dim() > 1]
        plain = [weight for weight in self._masters if weight.dim() <= 1]
        groups = [{"params": decayed, "weight_decay": _WEIGHT_DECAY}, {"params": plain, "weight_decay": 0.0}]
        self._optimizer = torch.optim.AdamW(groups, lr=self.recipe.peak_rate, betas=(0.9, 0.98), fused=True)
        self.model.to(torch.bfloat16)
        self._body: nn.Module | Callable[..., object] = self.model.model
        if self.compiled:
            self._body = torch.compile(self.model.model, dynamic=False)

    @property
    def checkpoint(self) -> Path:
        """Where the state of an unfinished (or finished) run is kept."""
        return self.folder / f"{self.recipe.name}.pt"

    def resume(self) -> bool:
        """Load the last checkpoint of this recipe, if there is one, and say whether there was."""
        if not self.checkpoint.exists():
            return False
        state = torch.load(self.checkpoint, weights_only=True)
        if state["recipe"] != repr(self.recipe):
            return False
        with torch.no_grad():
            for master, saved in zip(self._masters, state["masters"], strict=True):
                master.copy_(saved)
        self._optimizer.load_state_dict(state["optimizer"])
        self._publish()
        self.step, self.trained_s = state["step"], state["trained_s"]
        return True

    def save(self) -> None:
        """Write the whole state of the run; a crash while writing leaves the previous checkpoint intact."""
        self.folder.mkdir(parents=True, exist_ok=True)
        state = {
            "recipe": repr(self.recipe),
            "masters": [master.detach() for master in self._masters],
            "optimizer": self._optimizer.state_dict(),
            "step": self.step,
            "trained_s": self.trained_s,
        }
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self.checkpoint)

    def run(self, progress: Progress, until: int | None = None) -> None:
        """Train to the recipe's last step (or to step `until`), calling `progress(step, loss)` after each."""
        last = self.recipe.steps if until is None else min(until, self.recipe.steps)
        began = saved = time.monotonic()
        spent = self.trained_s
        while self.step < last:
            loss = self._one_step()
            self.step += 1
            now = time.monotonic()
            self.trained_s = spent + now - began
            if now - saved > _CHECKPOINT_EVERY_S:
                self.save()
                saved = now
            progress(self.step, loss)
        self.save()

    def weights(self) -> dict[str, torch.Tensor]:
        """Return the fp32 weights under their Hugging Face names."""
        names = (name for name, _ in self.model.named_parameters())
        return {name: master.detach().clone() for name, master in zip(names, self._masters, strict=True)}

    def _one_step(self) -> float:
        recipe = self.recipe
        key = f"{recipe.name}/{recipe.seed}/{self.step}"
        count = sum(examples for examples, _ in recipe.batches)
        clusters = self.clusters if recipe.cluster else None
        tasks = draw_tasks(key, count, recipe.emphasis, clusters, recipe.cluster)
        batches = make_batches(tasks, self.tokenizer, recipe.batches)
        answer_tokens = sum(int((batch.targets >= 0).sum()) for batch in batches)
        total = 0.0
        for batch in batches:
            hidden = self._body(input_ids=batch.tokens, use_cache=False).last_hidden_state  # type: ignore[union-attr]
            wanted = batch.targets[:, 1:]
            spots = wanted >= 0
            logits = self.model.lm_head(hidden[:, :-1][spots]).float()
            loss = functional.cross_entropy(logits, wanted[spots], reduction="sum") / answer_tokens
            loss.backward()
            total += loss.item()
        self._update()
        return total

    @torch.no_grad()
    def _update(self) -> None:
        for weight, master in zip(self.model.parameters(), self._masters, strict=True):
            master.grad = None if weight.grad is None else weight.grad.float()
            weight.grad = None
        nn.utils.clip_grad_norm_(self._masters, _CLIP_NORM)
        for group in self._optimizer.param_groups:
            group["lr"] = _rate(self.recipe, self.step)
        self._optimizer.step()
        self._publish()

    @torch.no_grad()
    def _publish(self) -> None:
        for weight, master in zip(self.model.parameters(), self._masters, strict=True):
            weight.copy_(master)
