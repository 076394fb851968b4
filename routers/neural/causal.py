"""Causal language models that answer with one token, a score from 1 to 5."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from routers.errors import ArtifactError
from routers.neural.checkpoint import Task, needed
from routers.neural.model import TextModel
from routers.neural.tokens import Reader
from routers.neural.training import Head

__all__ = ["SCORES", "ScoreModel"]

SCORES = (1, 2, 3, 4, 5)
"""The scores, in the order of the outputs."""

_BEFORE = "Question:\n"
_AFTER = "\n\nHow well will a small language model answer, from 1 (badly) to 5 (well)?\nScore:\n"


class ScoreModel(TextModel):
    """A causal language model fine-tuned to write a score after a question.

    The outputs are the next-token probabilities of the five score tokens after a template, renormalised among the
    five. The tokens are the digits 1 to 5 where each is one token of the tokenizer, else five new tokens `[[1]]` to
    `[[5]]`. The loss is the cross-entropy of the score token alone, among the five; the template and the question are
    only read.

    Args:
        max_tokens: most tokens of template and question; of a longer question the first and the last half are read.
        side: names of the side information to read as lines before the question.
    """

    task: ClassVar[Task] = "causal"
    kind: ClassVar[str] = "causal"

    score_ids: list[int]

    def __init__(self, max_tokens: int, side: Sequence[str] = ()) -> None:
        super().__init__([Head("softmax", len(SCORES))], max_tokens, side)

    def settings(self) -> dict[str, Any]:
        """What the artifact's `features` says of this model, as JSON values."""
        return {**super().settings(), "score_ids": self.score_ids}

    def _reader(self, tokenizer: Any, settings: Mapping[str, Any] | None) -> Reader:
        self.score_ids = _score_ids(tokenizer) if settings is None else _checked_ids(settings, self._vocabulary())
        return Reader(tokenizer, self.max_tokens, before=_BEFORE, after=_AFTER, closing=False, pad=self._pad)

    def _prior(self, targets: NDArray[np.float64]) -> NDArray[np.float32]:
        # A score token is to be written by the language model alone.
        return np.zeros(self.n_outputs, dtype=np.float32)

    def _logits(self, ids: Sequence[Sequence[int]]) -> Any:
        padded, mask = self._padded(ids, left=True)
        takes = inspect.signature(self.model.forward).parameters
        more: dict[str, Any] = {}
        if "position_ids" in takes:
            more["position_ids"] = (mask.cumsum(dim=1) - 1).clamp(min=0)
        if "logits_to_keep" in takes:
            more["logits_to_keep"] = 1
        torch, _ = needed()
        logits = self.model(input_ids=padded, attention_mask=mask, use_cache=False, **more).logits[:, -1]
        return logits[:, torch.tensor(self.score_ids, device=logits.device)] + self._offset_on(logits)


def _score_ids(tokenizer: Any) -> list[int]:
    """Ids of the five score tokens; adds tokens where a digit is not one of its own."""
    from tokenizers import AddedToken

    unknown = getattr(tokenizer.model, "unk_token", None)
    found = [tokenizer.encode(str(score), add_special_tokens=False) for score in SCORES]
    single = [encoding.ids[0] for encoding in found if len(encoding.ids) == 1 and encoding.tokens[0] != unknown]
    if len(set(single)) == len(SCORES):
        return single
    names = [f"[[{score}]]" for score in SCORES]
    tokenizer.add_special_tokens([AddedToken(name, normalized=False) for name in names])
    return [tokenizer.token_to_id(name) for name in names]


def _checked_ids(settings: Mapping[str, Any], vocabulary: int) -> list[int]:
    ids = settings.get("score_ids")
    fits = isinstance(ids, list) and all(type(one) is int and 0 <= one < vocabulary for one in ids)
    if not isinstance(ids, list) or not fits or len(set(ids)) != len(ids) or len(ids) != len(SCORES):
        raise ArtifactError("The router file does not name five score tokens: train and save the router again.")
    return ids
