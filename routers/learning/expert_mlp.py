"""One hidden layer that says both which of N experts suits a prompt and how good each one's answer will be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from routers.base import Progress
from routers.errors import ParameterError
from routers.features import FloatArray, Rows, SparseRows, Tensors, checked_tensor

if TYPE_CHECKING:
    import torch

__all__ = ["ExpertMlp", "ExpertMlpSettings"]

_FEWEST_ROWS = 20
"""With fewer rows than this nothing is held out, and all epochs are run."""
_HELD_OUT = 0.15
_GENTLER = 0.25


@dataclass(frozen=True, slots=True)
class ExpertMlpSettings:
    """How to train.

    Attributes:
        hidden: rectified hidden units.
        max_epochs: most passes over the data.
        patience: passes without improvement on the held-out rows after which training stops.
        batch_size: rows of one step.
        learning_rate: of AdamW.
        weight_decay: of AdamW.
        dropout: share of the hidden units left out in a step.
        seed: of held-out rows, initial weights, shuffles and dropout.
    """

    hidden: int = 64
    max_epochs: int = 40
    patience: int = 4
    batch_size: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    dropout: float = 0.2
    seed: int = 0


@dataclass(frozen=True, slots=True)
class _Part:
    """Rows and their two targets, (n, n_experts) each."""

    rows: Rows
    shares: torch.Tensor
    quality: torch.Tensor

    def at(self, places: NDArray[np.int64]) -> _Part:
        import torch

        chosen = torch.from_numpy(places)
        return _Part(self.rows[places], self.shares[chosen], self.quality[chosen])


class ExpertMlp:
    """A hidden layer of rectified units with 2 N outputs: N logits of a softmax over experts, N of their qualities.

    The loss is the cross-entropy of the softmax with soft labels plus the mean binary cross-entropy of the sigmoids
    with mean qualities. Training holds 15 % of the rows out, stops when their loss no longer falls, and then learns
    from all rows for as many epochs as were best. The sigmoids' offsets start at the experts' mean qualities.
    """

    def __init__(self) -> None:
        self.layers: list[tuple[FloatArray, FloatArray]] = []

    def fit(
        self,
        rows: Rows,
        shares: NDArray[np.float64],
        quality: NDArray[np.float64],
        settings: ExpertMlpSettings,
        progress: Progress,
    ) -> Self:
        """Learn from features (n, n_features), soft labels and mean qualities, (n, n_experts) each.

        Raises:
            ParameterError: torch is not installed.
        """
        torch = _torch()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            start = _start(rows.shape[1], settings.hidden, quality)
        self._learn(start, rows, shares, quality, settings, progress, least_epochs=1)
        return self

    def adapt(
        self,
        rows: Rows,
        shares: NDArray[np.float64],
        quality: NDArray[np.float64],
        settings: ExpertMlpSettings,
        progress: Progress,
    ) -> Self:
        """Go on from what was learned, at a quarter of the learning rate, for as long as held-out rows gain by it.

        That may be for no epoch at all. With fewer than 20 rows, of which none can be held out, it is one.

        Raises:
            ParameterError: torch is not installed.
        """
        torch = _torch()
        start = [torch.from_numpy(tensor.copy()) for layer in self.layers for tensor in layer]
        few = len(quality) < _FEWEST_ROWS
        settings = ExpertMlpSettings(
            settings.hidden,
            1 if few else settings.max_epochs,
            settings.patience,
            settings.batch_size,
            settings.learning_rate * _GENTLER,
            settings.weight_decay,
            settings.dropout,
            settings.seed,
        )
        self._learn(start, rows, shares, quality, settings, progress, least_epochs=0)
        return self

    def predict(self, rows: Rows) -> tuple[FloatArray, FloatArray]:
        """Softmax over experts and quality of each, (n, n_experts) float32 each, for rows (n, n_features)."""
        (first, bias), (second, offset) = self.layers
        out = np.maximum(rows @ first + bias, 0.0) @ second + offset
        n_experts = out.shape[1] // 2
        logits = out[:, :n_experts]
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        quality: FloatArray = (0.5 * (1.0 + np.tanh(0.5 * out[:, n_experts:]))).astype(np.float32)
        return (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32), quality

    def tensors(self) -> Tensors:
        """The learned state, for saving."""
        named: Tensors = {}
        for i, (weights, bias) in enumerate(self.layers):
            named |= {f"mlp.{i}.weights": weights, f"mlp.{i}.bias": bias}
        return named

    def restore(self, tensors: Mapping[str, NDArray[Any]], n_features: int, n_experts: int) -> Self:
        """Take the state that `tensors` gave.

        Raises:
            ArtifactError: a tensor is missing or of the wrong type or shape.
        """
        first = checked_tensor(tensors, "mlp.0.weights", np.float32, (n_features, None))
        hidden = first.shape[1]
        bias = checked_tensor(tensors, "mlp.0.bias", np.float32, (hidden,))
        second = checked_tensor(tensors, "mlp.1.weights", np.float32, (hidden, 2 * n_experts))
        self.layers = [(first, bias), (second, checked_tensor(tensors, "mlp.1.bias", np.float32, (2 * n_experts,)))]
        return self

    def _learn(
        self,
        start: list[torch.Tensor],
        rows: Rows,
        shares: NDArray[np.float64],
        quality: NDArray[np.float64],
        settings: ExpertMlpSettings,
        progress: Progress,
        *,
        least_epochs: int,
    ) -> None:
        """Find the best number of epochs on held-out rows, then train from the start on all rows for as many."""
        torch = _torch()
        whole = _Part(rows, torch.from_numpy(shares.astype(np.float32)), torch.from_numpy(quality.astype(np.float32)))
        epochs = settings.max_epochs
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            if len(quality) >= _FEWEST_ROWS:
                order = np.random.default_rng(settings.seed).permutation(len(quality))
                n_held = max(1, round(_HELD_OUT * len(order)))
                progress("finding the number of epochs", 0.0)
                epochs, _ = _descend(start, whole.at(order[n_held:]), whole.at(order[:n_held]), settings)
            progress("training on all rows", 0.5)
            torch.manual_seed(settings.seed)
            _, learned = _descend(start, whole, max(epochs, least_epochs), settings)
        flat = [np.ascontiguousarray(tensor.detach().numpy(), dtype=np.float32) for tensor in learned]
        self.layers = [(flat[0], flat[1]), (flat[2], flat[3])]
        progress("training on all rows", 1.0)


def _torch() -> Any:
    try:
        import torch
    except ImportError:
        raise ParameterError("Training an MLP needs torch: install it, or choose another router.") from None
    return torch


def _start(n_features: int, hidden: int, quality: NDArray[np.float64]) -> list[torch.Tensor]:
    """Initial weights and biases of both layers, uniform as torch's linear layers have them."""
    torch = _torch()
    n, n_experts = quality.shape
    mean = (quality.sum(axis=0) + 0.1) / (n + 0.2)
    tensors = []
    for inputs, outputs in ((n_features, hidden), (hidden, 2 * n_experts)):
        limit = inputs**-0.5
        tensors += [torch.empty(inputs, outputs).uniform_(-limit, limit), torch.zeros(outputs)]
    tensors[3][n_experts:] = torch.from_numpy(np.log(mean / (1 - mean)).astype(np.float32))
    return tensors


def _descend(
    start: list[torch.Tensor], train: _Part, watch: _Part | int, settings: ExpertMlpSettings
) -> tuple[int, list[torch.Tensor]]:
    """Train for `watch` epochs, or while the loss on its rows falls; gives the best epoch and the last weights."""
    torch = _torch()
    weights = [tensor.clone().requires_grad_() for tensor in start]
    optimizer = torch.optim.AdamW(weights, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    best_loss, best_epoch = (np.inf, 0) if isinstance(watch, int) else (_held_out_loss(weights, watch), 0)
    for epoch in range(1, (watch if isinstance(watch, int) else settings.max_epochs) + 1):
        for places in torch.randperm(len(train.quality)).split(settings.batch_size):
            optimizer.zero_grad()
            _loss(weights, train.at(places.numpy()), settings.dropout).backward()
            optimizer.step()
        if isinstance(watch, int):
            continue
        loss = _held_out_loss(weights, watch)
        if loss < best_loss:
            best_loss, best_epoch = loss, epoch
        elif epoch - best_epoch >= settings.patience:
            break
    return best_epoch, weights


def _held_out_loss(weights: list[torch.Tensor], part: _Part) -> float:
    torch = _torch()
    with torch.no_grad():
        return float(_loss(weights, part, 0.0))


def _loss(weights: list[torch.Tensor], part: _Part, dropout: float) -> torch.Tensor:
    from torch.nn import functional

    hidden = functional.dropout(functional.relu(_product(part.rows, weights[0]) + weights[1]), dropout)
    out = hidden @ weights[2] + weights[3]
    n_experts = part.quality.shape[1]
    which = functional.cross_entropy(out[:, :n_experts], part.shares)
    return which + functional.binary_cross_entropy_with_logits(out[:, n_experts:], part.quality)


def _product(rows: Rows, weights: torch.Tensor) -> torch.Tensor:
    """Rows times weights, without ever making sparse rows dense."""
    from torch import from_numpy
    from torch.nn.functional import embedding_bag

    if not isinstance(rows, SparseRows):
        return from_numpy(np.ascontiguousarray(rows, dtype=np.float32)) @ weights
    columns, values, starts = (from_numpy(part) for part in (rows.columns, rows.values, rows.starts[:-1]))
    product: torch.Tensor = embedding_bag(columns, weights, starts, mode="sum", per_sample_weights=values)
    return product
