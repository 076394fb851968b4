"""Encoders (BERT, RoBERTa, DeBERTa, MiniLM ...) with a classification head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from routers.neural.checkpoint import Task
from routers.neural.model import TextModel
from routers.neural.tokens import Reader

__all__ = ["Encoder"]


class Encoder(TextModel):
    """An encoder with the classification head that the library gives its architecture.

    Args:
        heads: what the outputs mean, in order.
        max_tokens: most tokens of a text; of longer ones the first and the last half are read.
        side: names of the side information to read as lines before the text.
    """

    task: ClassVar[Task] = "encoder"
    kind: ClassVar[str] = "encoder"

    def _reader(self, tokenizer: Any, settings: Mapping[str, Any] | None) -> Reader:
        return Reader(tokenizer, self.max_tokens, pad=self._pad)

    def _logits(self, ids: Sequence[Sequence[int]]) -> Any:
        padded, mask = self._padded(ids)
        logits = self.model(input_ids=padded, attention_mask=mask).logits
        return logits + self._offset_on(logits)
