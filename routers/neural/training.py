"""Fine-tuning: batches, warm-up and linear decay, early stopping on held-out texts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from routers.base import Progress
from routers.errors import ParameterError
from routers.learning.augment import augment
from routers.neural.checkpoint import needed
from routers.neural.tokens import Text

__all__ = ["Augment", "Head", "Logits", "Tuning", "batches", "losses_of", "noise", "tune"]

Augment = Callable[[str, np.random.Generator], str]
"""Makes another text of the same meaning."""

Logits = Callable[[Sequence[Sequence[int]]], Any]
"""Outputs of the model for token ids of some texts, (n, n_outputs)."""

_TOKENS_AT_ONCE = 8192
_FEWEST_ROWS = 20
_LARGEST_GRADIENT = 1.0


@dataclass(frozen=True, slots=True)
class Head:
    """Some neighbouring outputs of a model, and what they mean.

    Attributes:
        kind: "softmax" for shares that sum to 1 (loss: cross-entropy), "sigmoid" for independent probabilities (loss:
            binary cross-entropy, averaged over the outputs).
        size: number of outputs.
    """

    kind: Literal["softmax", "sigmoid"]
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """How to fine-tune. The defaults are those of Hybrid LLM's public code.

    Attributes:
        epochs: most passes over the texts.
        batch_size: texts of one step of the optimiser; they go through the model a few at a time.
        learning_rate: peak of the learning rate, of AdamW.
        weight_decay: of weight matrices; biases and normalisation are spared.
        warmup: share of all steps in which the learning rate rises; then it falls to 0 in a straight line.
        max_steps: most steps of the optimiser; None: as many as the epochs make.
        held_out: share of the texts that is not learned from and picks the best epoch; 0: the last epoch is kept. With
            fewer than 20 texts nothing is held out.
        patience: epochs without improvement on the held-out texts after which training stops.
        seed: of the new head, the held-out texts, the order and dropout.
    """

    epochs: int = 5
    batch_size: int = 128
    learning_rate: float = 1e-5
    weight_decay: float = 0.1
    warmup: float = 0.05
    max_steps: int | None = None
    held_out: float = 0.1
    patience: int = 2
    seed: int = 0


def noise(n_copies: float) -> Augment | None:
    """Reads a text as a noisy copy with probability n / (1 + n): the mix of a text and n copies of it, ever new."""
    if not n_copies:
        return None
    share = n_copies / (1 + n_copies)
    return lambda text, rng: augment(text, rng) if rng.random() < share else text


def losses_of(logits: Any, targets: Any, heads: Sequence[Head]) -> Any:
    """Loss of each text, (n,), the sum over heads, from logits and soft labels, (n, n_outputs) both."""
    torch, _ = needed()
    total, start = 0.0, 0
    for head in heads:
        mine = slice(start, start + head.size)
        out, want = logits[:, mine].float(), targets[:, mine]
        if head.kind == "softmax":
            total = total + torch.nn.functional.cross_entropy(out, want, reduction="none")
        else:
            cross = torch.nn.functional.binary_cross_entropy_with_logits(out, want, reduction="none")
            total = total + cross.mean(dim=1)
        start += head.size
    return total


def batches(ids: Sequence[Sequence[int]], places: Sequence[int], at_once: int = _TOKENS_AT_ONCE) -> list[list[int]]:
    """These places in groups of like length, of at most `at_once` tokens with padding; longest groups last."""
    ordered = sorted(places, key=lambda place: (len(ids[place]), place))
    groups: list[list[int]] = []
    for place in ordered:
        if groups and (len(groups[-1]) + 1) * len(ids[place]) <= at_once:
            groups[-1].append(place)
        else:
            groups.append([place])
    return groups


def tune(
    model: Any,
    logits_of: Logits,
    read: Callable[[Sequence[Text]], list[list[int]]],
    texts: Sequence[Text],
    targets: NDArray[np.float64],
    heads: Sequence[Head],
    settings: Tuning,
    progress: Progress,
    *,
    change: Augment | None = None,
    held: Sequence[int] | None = None,
    trained: bool = False,
) -> dict[str, Any]:
    """Fine-tune a model in place; call it with torch seeded.

    The weights of the epoch with the least loss on the held-out texts are kept.

    Args:
        model: the model, on its device.
        logits_of: its outputs.
        read: from texts to token ids.
        texts: (n,) texts.
        targets: (n, n_outputs) soft labels.
        heads: what the outputs mean.
        settings: how.
        progress: told after every epoch.
        change: changes the texts anew in each epoch; held-out texts stay as they are.
        held: places of the texts that are held out; None: chosen at random, as the settings say.
        trained: whether the model as it is counts as an epoch to choose from.

    Returns:
        What happened, as JSON values: `epochs`, `best_epoch`, `steps`, `held_out_loss` of each epoch.

    Raises:
        ParameterError: the weights grew beyond all numbers.
    """
    run = _Run(model, logits_of, heads, settings)
    rng = np.random.default_rng(settings.seed)
    held, rows = _split(len(texts), settings.held_out, rng) if held is None else _without(len(texts), held)
    run.plan(min(settings.epochs * math.ceil(len(rows) / settings.batch_size), settings.max_steps or 2**62))
    ids = read(texts)
    watch = _Watch(run, ids, targets, held)
    if trained:
        watch.look(0)
    epoch = 0
    for epoch in range(1, settings.epochs + 1):
        progress(f"fine-tuning, epoch {epoch} of {settings.epochs}", (epoch - 1) / settings.epochs)
        if change is not None:
            changed = read([change(text, rng) if isinstance(text, str) else text for text in texts])
        run.epoch(ids if change is None else changed, targets, rng.permutation(rows).tolist())
        watch.look(epoch)
        if run.steps >= run.n_steps or epoch - watch.best_epoch >= settings.patience:
            break
    watch.take_best()
    return {"epochs": epoch, "best_epoch": watch.best_epoch, "steps": run.steps, "held_out_loss": watch.losses}


def _split(n: int, held_out: float, rng: np.random.Generator) -> tuple[list[int], list[int]]:
    """Places of the texts that are held out, and of the others."""
    order = rng.permutation(n).tolist()
    n_held = max(1, round(held_out * n)) if held_out and n >= _FEWEST_ROWS else 0
    return order[:n_held], order[n_held:]


def _without(n: int, held: Sequence[int]) -> tuple[list[int], list[int]]:
    """The held-out places, and the others of n."""
    return list(held), np.setdiff1d(np.arange(n), held).tolist()


class _Run:
    """One training: optimiser, learning rate and what a pass over the texts does."""

    def __init__(self, model: Any, logits_of: Logits, heads: Sequence[Head], settings: Tuning) -> None:
        self.torch, _ = needed()
        self.model, self.logits_of, self.heads, self.settings = model, logits_of, heads, settings
        self.device = next(model.parameters()).device
        self.steps = 0
        weights = [p for p in model.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in weights if p.ndim >= 2], "weight_decay": settings.weight_decay},
            {"params": [p for p in weights if p.ndim < 2], "weight_decay": 0.0},
        ]
        self.optimizer = self.torch.optim.AdamW(groups, lr=settings.learning_rate)

    def plan(self, n_steps: int) -> None:
        """Lay out the learning rate over so many steps."""
        from transformers import get_linear_schedule_with_warmup

        warm = math.ceil(self.settings.warmup * n_steps)
        self.schedule = get_linear_schedule_with_warmup(self.optimizer, warm, n_steps + 1)
        self.n_steps = n_steps

    def epoch(self, ids: Sequence[Sequence[int]], targets: NDArray[np.float64], places: list[int]) -> None:
        """One pass over these texts."""
        self.model.train()
        for start in range(0, len(places), self.settings.batch_size):
            if self.steps >= self.n_steps:
                return
            batch = places[start : start + self.settings.batch_size]
            for group in batches(ids, batch):
                (self._losses(ids, targets, group).sum() / len(batch)).backward()
            self.torch.nn.utils.clip_grad_norm_(self.model.parameters(), _LARGEST_GRADIENT)
            self.optimizer.step()
            self.schedule.step()
            self.optimizer.zero_grad()
            self.steps += 1

    def loss(self, ids: Sequence[Sequence[int]], targets: NDArray[np.float64], places: list[int]) -> float:
        """Mean loss of these texts, without learning from them."""
        self.model.eval()
        with self.torch.no_grad():
            sums = [float(self._losses(ids, targets, group).sum()) for group in batches(ids, places)]
        return sum(sums) / len(places)

    def weights(self) -> dict[str, Any]:
        """A copy of the weights as they are."""
        return {name: tensor.detach().cpu().clone() for name, tensor in self.model.state_dict().items()}

    def finite(self) -> bool:
        """Whether all weights are numbers."""
        return all(bool(self.torch.isfinite(weight).all()) for weight in self.model.parameters())

    def _losses(self, ids: Sequence[Sequence[int]], targets: NDArray[np.float64], group: list[int]) -> Any:
        want = self.torch.from_numpy(targets[group].astype(np.float32)).to(self.device)
        half = self.torch.autocast("cuda", dtype=self.torch.bfloat16) if self.device.type == "cuda" else nullcontext()
        with half:
            logits = self.logits_of([ids[place] for place in group])
        return losses_of(logits, want, self.heads)


class _Watch:
    """The loss on held-out texts, and the weights with which it was least; the last ones where none are held out."""

    def __init__(self, run: _Run, ids: Sequence[Sequence[int]], targets: NDArray[np.float64], held: list[int]) -> None:
        self.run, self.ids, self.targets, self.held = run, ids, targets, held
        self.losses: list[float] = []
        self.best_epoch = 0
        self.best: dict[str, Any] | None = None
        self.least = math.inf

    def look(self, epoch: int) -> None:
        """Take note of the weights after an epoch."""
        if not self.held:
            self.best_epoch = epoch
            return
        self.losses.append(self.run.loss(self.ids, self.targets, self.held))
        if self.losses[-1] <= self.least and math.isfinite(self.losses[-1]):
            self.least, self.best_epoch, self.best = self.losses[-1], epoch, self.run.weights()

    def take_best(self) -> None:
        """Give the model the best weights.

        Raises:
            ParameterError: there are none, or they are no numbers.
        """
        if self.best is not None:
            self.run.model.load_state_dict(self.best)
        if (self.held and self.best is None) or not self.run.finite():
            rate = self.run.settings.learning_rate
            raise ParameterError(f"Fine-tuning with the learning rate {rate} diverged: choose a lower one.")
