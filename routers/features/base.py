"""What turns prompts into numbers."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from numpy.typing import NDArray

from routers.estimator import Estimator
from routers.features.rows import Rows

__all__ = ["Features", "Tensors", "clip_text"]

Tensors = dict[str, NDArray[Any]]


class Features(Estimator, ABC):
    """Numbers that describe prompts, by scikit-learn's transformer contract.

    Attributes:
        kind: what specifications of features call it.
        dense: whether rows are dense, of few columns that all matter, so that distances between them mean something.
        slow: whether a prompt takes more than about a millisecond, so that an event loop must not wait for it.
        argument: the parameter that `kind:value` sets, None where there is no such short form.
    """

    kind: ClassVar[str]
    dense: bool = True
    slow: bool = False
    argument: ClassVar[str | None] = None

    @property
    @abstractmethod
    def n_features_(self) -> int:
        """Columns of the rows."""

    @abstractmethod
    def fit(self, texts: Sequence[str], y: Any = None) -> Self:
        """Learn from texts, (n_texts,); y is ignored.

        Raises:
            DataError: there are no texts.
        """

    @abstractmethod
    def transform(self, texts: Sequence[str]) -> Rows:
        """Features of texts, (n_texts, n_features_) float32.

        Raises:
            NotFittedError: nothing has been learned or restored.
        """

    async def transform_async(self, texts: Sequence[str]) -> Rows:
        """The same as `transform`, without holding up the event loop."""
        return await asyncio.to_thread(self.transform, texts) if self.slow else self.transform(texts)

    def settings(self) -> dict[str, Any]:
        """What an artifact's `features` says: the kind and the parameters, as JSON values."""
        return {"kind": self.kind, **self.get_params()}

    @abstractmethod
    def tensors(self) -> Tensors:
        """The learned state, for saving."""

    @abstractmethod
    def restore(self, tensors: Mapping[str, NDArray[Any]]) -> Self:
        """Take the state that `tensors` gave.

        Raises:
            ArtifactError: a tensor is missing or of the wrong type or shape.
        """


def clip_text(text: str, max_chars: int) -> str:
    """The text itself, or its first and last halves of `max_chars` characters where it is longer."""
    if len(text) <= max_chars:
        return text
    half = max_chars // 2
    return f"{text[:half]}\n{text[-half:]}"
