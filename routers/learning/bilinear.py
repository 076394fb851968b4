"""RouteLLM's matrix factorisation (arXiv 2406.18665, section 4.2): a bilinear score of experts and prompts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from routers.errors import ArtifactError, ParameterError
from routers.features import FloatArray, Tensors, checked_tensor

if TYPE_CHECKING:
    import torch

__all__ = ["Bilinear", "BilinearSettings", "Watch", "train_bilinear"]

Watch = Callable[[int, "Bilinear"], bool]
"""Called after each epoch with its number, from 1, and the weights so far; True ends the training."""

_LEAST_LENGTH = 1e-12


@dataclass(frozen=True, slots=True)
class BilinearSettings:
    """How to train.

    Attributes:
        dim: dimensions that experts and prompts share.
        noise: standard deviation of the Gaussian noise on the prompts' features.
        batch_size: battles a step.
        learning_rate: of Adam.
        weight_decay: of Adam, as an L2 penalty on every weight.
        epochs: passes over the battles.
        seed: of initial weights, shuffles and noise.
    """

    dim: int = 128
    noise: float = 0.1
    batch_size: int = 64
    learning_rate: float = 3e-4
    weight_decay: float = 1e-5
    epochs: int = 100
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Bilinear:
    """delta(M, q) = w2^T (v_M * (W1^T v_q + b)), v_M scaled to length 1.

    Attributes:
        experts: (n_experts, dim) float32, v_M before it is scaled.
        project: (n_features, dim) float32, W1.
        bias: (dim,) float32, b.
        out: (dim,) float32, w2.
    """

    experts: FloatArray
    project: FloatArray
    bias: FloatArray
    out: FloatArray

    def scores(self, rows: FloatArray) -> FloatArray:
        """Delta of every expert for rows (n, n_features): (n, n_experts)."""
        scores: FloatArray = (rows @ self.project + self.bias) @ (self._unit_experts() * self.out).T
        return scores

    def difference(self, first: int, second: int) -> tuple[FloatArray, float]:
        """A vector u (n_features,) and a number c, so that delta(first, q) - delta(second, q) = u^T v_q + c.

        With d = w2 * (v_first - v_second) the difference is d^T (W1^T v_q + b), so u = W1 d and c = b^T d.
        """
        unit = self._unit_experts().astype(np.float64)
        d = self.out * (unit[first] - unit[second])
        return (self.project @ d).astype(np.float32), float(self.bias @ d)

    def _unit_experts(self) -> FloatArray:
        length = np.linalg.norm(self.experts, axis=1, keepdims=True)
        unit: FloatArray = self.experts / np.maximum(length, _LEAST_LENGTH)
        return unit

    def tensors(self) -> Tensors:
        """The weights, for saving."""
        return {"mf.experts": self.experts, "mf.project": self.project, "mf.bias": self.bias, "mf.out": self.out}

    @classmethod
    def restore(cls, tensors: Mapping[str, NDArray[Any]], n_experts: int, n_features: int) -> Self:
        """Take the weights that `tensors` gave.

        Raises:
            ArtifactError: a tensor is missing or of the wrong type or shape.
        """
        experts = checked_tensor(tensors, "mf.experts", np.float32, (n_experts, None))
        dim = experts.shape[1]
        if not dim:
            raise ArtifactError("The router's experts have no dimensions: train and save it again.")
        return cls(
            experts,
            checked_tensor(tensors, "mf.project", np.float32, (n_features, dim)),
            checked_tensor(tensors, "mf.bias", np.float32, (dim,)),
            checked_tensor(tensors, "mf.out", np.float32, (dim,)),
        )


def train_bilinear(
    rows: FloatArray,
    battles: FloatArray,
    settings: BilinearSettings,
    watch: Watch,
    start: Bilinear | None = None,
) -> Bilinear:
    """Minimise the cross-entropy of sigmoid(delta_a - delta_b) against the shares of battles that a wins over b.

    Args:
        rows: (n_prompts, n_features) float32, features of the prompts.
        battles: (n_prompts, n_experts, n_experts), see `battle_table`.
        settings: how to train.
        watch: called after each epoch.
        start: weights to go on from; None: random ones.

    Raises:
        ParameterError: torch is missing.
    """
    try:
        import torch
    except ImportError:
        raise ParameterError("router 'routellm-mf' needs torch to train: install it, or take 'routellm-sw'.") from None

    k = battles.shape[1]
    pairs = np.array(list(combinations(range(k), 2)))
    first, second = torch.from_numpy(pairs[:, 0]), torch.from_numpy(pairs[:, 1])
    won = torch.from_numpy(np.ascontiguousarray(battles[:, pairs[:, 0], pairs[:, 1]]))
    x = torch.from_numpy(np.ascontiguousarray(rows, dtype=np.float32))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        weights = _parameters(start) if start else _initial(k, x.shape[1], settings.dim)
        experts, project, bias, out = weights
        optimizer = torch.optim.Adam(weights, lr=settings.learning_rate, weight_decay=settings.weight_decay)
        cross_entropy = torch.nn.functional.binary_cross_entropy_with_logits
        for epoch in range(1, settings.epochs + 1):
            for batch in torch.randperm(won.numel()).split(settings.batch_size):
                prompt, pair = batch // len(pairs), batch % len(pairs)
                seen = x[prompt] + settings.noise * torch.randn(len(batch), x.shape[1])
                unit = torch.nn.functional.normalize(experts, dim=1)
                z = ((unit[first[pair]] - unit[second[pair]]) * (seen @ project + bias)) @ out
                optimizer.zero_grad()
                cross_entropy(z, won[prompt, pair]).backward()
                optimizer.step()
            if watch(epoch, _numpy(weights)):
                break
    return _numpy(weights)


def _initial(n_experts: int, n_features: int, dim: int) -> list[torch.Tensor]:
    """Random weights as torch's embedding and linear layers begin with, which the public code is made of."""
    import torch

    layers = torch.nn.Embedding(n_experts, dim), torch.nn.Linear(n_features, dim), torch.nn.Linear(dim, 1, bias=False)
    project = layers[1].weight.detach().T.contiguous()
    found = [layers[0].weight.detach(), project, layers[1].bias.detach(), layers[2].weight.detach()[0]]
    return [tensor.clone().requires_grad_() for tensor in found]


def _parameters(weights: Bilinear) -> list[torch.Tensor]:
    import torch

    arrays = (weights.experts, weights.project, weights.bias, weights.out)
    return [torch.tensor(array).requires_grad_() for array in arrays]


def _numpy(weights: list[torch.Tensor]) -> Bilinear:
    return Bilinear(*(tensor.detach().numpy().copy() for tensor in weights))
