"""Types of the parameters that routers with a transformer share; the bounds are checked before training."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

__all__ = [
    "Augment",
    "BatchSize",
    "Checkpoint",
    "Dropout",
    "Epochs",
    "HeldOut",
    "LearningRate",
    "MaxSteps",
    "MaxTokens",
    "Patience",
    "Seed",
    "Warmup",
    "WeightDecay",
]

Checkpoint = Annotated[str, Field(min_length=1)]
MaxTokens = Annotated[int, Field(ge=8, le=1_000_000)]
Epochs = Annotated[int, Field(ge=1, le=10_000)]
BatchSize = Annotated[int, Field(ge=1, le=100_000)]
LearningRate = Annotated[float, Field(gt=0, le=1)]
WeightDecay = Annotated[float, Field(ge=0, le=1)]
Warmup = Annotated[float, Field(ge=0, lt=1)]
Dropout = Annotated[float, Field(ge=0, lt=1)] | None
MaxSteps = Annotated[int, Field(ge=1)] | None
Augment = Annotated[float, Field(ge=0, le=20)]
HeldOut = Annotated[float, Field(ge=0, le=0.5)]
Patience = Annotated[int, Field(ge=1, le=10_000)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
