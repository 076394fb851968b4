"""What all routers have in common that are a fine-tuned transformer."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from routers.base import Prediction, Progress, Router, RouterState
from routers.neural.model import TextModel
from routers.neural.training import Tuning, noise

if TYPE_CHECKING:
    from routers.data import RoutingData

__all__ = ["TextRouter"]


class TextRouter(Router):
    """A router whose decision a transformer reads out of the prompt's text.

    Subclasses take the parameters named below, say what to learn in `_targets`, and make predictions of the
    transformer's outputs in `_read_out`. Side information becomes lines `name: value` before the text.

    Attributes:
        reader_: the fine-tuned transformer.
    """

    side: list[str] | None
    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    warmup: float
    dropout: float | None
    max_steps: int | None
    held_out: float
    patience: int
    augment: float
    seed: int

    reader_: TextModel

    @property
    def slow(self) -> bool:
        """A transformer takes more than a millisecond."""
        return True

    @abstractmethod
    def _source(self) -> str:
        """Folder or hub's name of the checkpoint."""

    @abstractmethod
    def _new_reader(self) -> TextModel:
        """The transformer before training."""

    @abstractmethod
    def _targets(self, data: RoutingData) -> NDArray[np.float64]:
        """Soft labels, (n_prompts, n_outputs)."""

    @abstractmethod
    def _read_out(self, outputs: NDArray[np.float32]) -> Prediction:
        """What the transformer's outputs say, (n, n_outputs)."""

    def _fit(self, data: RoutingData, progress: Progress) -> None:
        reader, targets = self._new_reader(), self._targets(data)
        happened = reader.fit(
            self._source(),
            data.inputs(self.side),
            targets,
            self._tuning(),
            progress,
            dropout=self.dropout,
            change=noise(self.augment),
        )
        self.reader_ = reader
        self.summary_ = {"training_prompts": len(targets), **happened}

    def _adapt(self, data: RoutingData, progress: Progress) -> None:
        change = noise(self.augment)
        self.reader_.adapt(data.inputs(self.side), self._targets(data), self._tuning(), progress, change=change)

    def _predict(self, prompts: Sequence[str]) -> Prediction:
        return self._read_out(self.reader_.predict(prompts))

    def _tuning(self) -> Tuning:
        return Tuning(
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            warmup=self.warmup,
            max_steps=self.max_steps,
            held_out=self.held_out,
            patience=self.patience,
            seed=self.seed,
        )

    def _own_state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Calibration and tensors beyond the transformer."""
        return {}, {}

    def state(self) -> RouterState:
        """What was learned, for saving."""
        calibration, tensors = self._own_state()
        return RouterState(self.reader_.settings(), calibration, {**self.reader_.tensors(), **tensors})

    def restore(self, state: RouterState) -> None:
        """Take what `state` gave.

        Raises:
            ArtifactError: something is missing, unknown, or of the wrong type or shape.
        """
        self.reader_ = self._new_reader().restore(state.features, state.tensors)
