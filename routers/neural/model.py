"""What fine-tuned transformers have in common: heads, training, prediction, and their saved form."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from routers.base import Progress
from routers.errors import ArtifactError, ParameterError
from routers.features import checked_tensor
from routers.neural.checkpoint import (
    Task,
    best_device,
    build_config,
    config_fields,
    load_checkpoint,
    model_tensors,
    needed,
    restore_model,
    seeded,
    settle_weights,
)
from routers.neural.side import with_side
from routers.neural.tokens import Reader, Text, largest_id
from routers.neural.training import Augment, Head, Tuning, batches, tune

__all__ = ["TextModel", "longest_text"]

_TOKENS_AT_ONCE = 16_384
_LONGEST = 1_000_000
_OFFSET_TYPES = {"camembert", "data2vec-text", "esm", "ibert", "longformer", "mpnet", "roberta", "roberta-prelayernorm"}
_OFFSET_TYPES |= {"xlm-roberta", "xlm-roberta-xl", "xmod"}
"""Types that count positions from the padding id on, so that they take fewer tokens than they have positions."""


class TextModel(ABC):
    """A transformer that reads texts, with outputs in one or more heads.

    To the logits of the transformer an offset is added, which training does not change: the logit of each output's
    mean label. So training starts from the mean labels, whatever architecture the transformer has.

    The weights are trained in float32 (on a GPU under bfloat16 autocast) and rounded to float16 at the end, which is
    how they are saved.

    Args:
        heads: what the outputs mean, in order.
        max_tokens: most tokens of a text; fewer where the transformer takes fewer.
        side: names of the side information to read as lines before the text.
    """

    task: ClassVar[Task]
    kind: ClassVar[str]

    model: Any
    reader: Reader
    offset: NDArray[np.float32]

    def __init__(self, heads: Sequence[Head], max_tokens: int, side: Sequence[str] = ()) -> None:
        self.heads = tuple(heads)
        self.max_tokens = max_tokens
        self.side = tuple(side)
        self.n_outputs = sum(head.size for head in heads)

    def fit(
        self,
        source: str,
        texts: Sequence[Text],
        targets: NDArray[np.float64],
        settings: Tuning,
        progress: Progress,
        *,
        dropout: float | None = None,
        change: Augment | None = None,
        held: Sequence[int] | None = None,
    ) -> dict[str, Any]:
        """Fine-tune a checkpoint.

        Args:
            source: its folder, or its name on the model hub.
            texts: (n,) texts, at least one; a tuple is read as its texts one after the other.
            targets: (n, n_outputs) soft labels; each softmax head's sum to 1.
            settings: how.
            progress: told what is being done.
            dropout: dropout probability of all layers; None: the checkpoint's own.
            change: makes other texts of the same meaning, anew in each epoch; not for tuples.
            held: places of the texts that are not learned from and pick the best epoch; None: as the settings say.

        Returns:
            What happened, as JSON values.

        Raises:
            ParameterError: the checkpoint cannot be used.
        """
        progress("loading the checkpoint", 0.0)
        with seeded(settings.seed):
            self.model, tokenizer = load_checkpoint(source, self.task, self.n_outputs, dropout)
            self.max_tokens = min(self.max_tokens, longest_text(self.model.config, tokenizer))
            self.reader = self._reader(tokenizer.backend_tokenizer, None)
            if largest_id(self.reader.tokenizer.get_vocab()) >= self._vocabulary():
                rows = largest_id(self.reader.tokenizer.get_vocab()) + 1
                self.model.resize_token_embeddings(rows, mean_resizing=False)
            self.offset = self._prior(targets)
            return self._tune(texts, targets, settings, progress, change, held, trained=False)

    def adapt(
        self,
        texts: Sequence[Text],
        targets: NDArray[np.float64],
        settings: Tuning,
        progress: Progress,
        *,
        change: Augment | None = None,
    ) -> dict[str, Any]:
        """Go on training on other texts, gently: a third of the learning rate, half the epochs.

        The weights as they are count as an epoch, so that they stay where nothing better is found on held-out texts.
        Arguments and result are those of `fit`.
        """
        gentle = replace(settings, learning_rate=settings.learning_rate / 3, epochs=-(-settings.epochs // 2))
        with seeded(settings.seed):
            return self._tune(texts, targets, gentle, progress, change, None, trained=True)

    def predict(self, texts: Sequence[Text]) -> NDArray[np.float32]:
        """Probabilities of texts (n,): (n, n_outputs) float32 in [0, 1]."""
        torch, _ = needed()
        out = np.zeros((len(texts), self.n_outputs), dtype=np.float32)
        ids = self._read(texts)
        with torch.inference_mode(), self._precision():
            for group in batches(ids, range(len(ids)), _TOKENS_AT_ONCE):
                logits = self._logits([ids[place] for place in group]).float()
                out[group] = self._probabilities(logits).cpu().numpy()
        return out

    def settings(self) -> dict[str, Any]:
        """What the artifact's `features` says of this model, as JSON values."""
        return {"kind": self.kind, "model": config_fields(self.model.config), "max_tokens": self.max_tokens}

    def tensors(self) -> dict[str, NDArray[Any]]:
        """The learned state, for saving."""
        weights = model_tensors(self.model, f"{self.kind}.weights.")
        own: dict[str, NDArray[Any]] = {
            f"{self.kind}.tokenizer": self.reader.tensor(),
            f"{self.kind}.offset": self.offset,
        }
        return {**weights, **own}

    def restore(self, settings: Any, tensors: Mapping[str, NDArray[Any]]) -> Self:
        """Take what `settings` and `tensors` gave.

        Raises:
            ArtifactError: something is missing, unknown, or of the wrong type or shape.
        """
        fields = self._checked_fields(settings)
        try:
            self.max_tokens = settings["max_tokens"]
            config = build_config(fields, self.task, self.n_outputs)
            self.model = restore_model(config, self.task, tensors, f"{self.kind}.weights.")
            saved = checked_tensor(tensors, f"{self.kind}.tokenizer", np.uint8, (None,))
            self.reader = self._reader(Reader.parse(saved, self._vocabulary()), settings)
        except ParameterError as error:
            raise ArtifactError(str(error)) from None
        self.offset = checked_tensor(tensors, f"{self.kind}.offset", np.float32, (self.n_outputs,))
        self.model.to(best_device()).eval()
        return self

    def _checked_fields(self, settings: Any) -> dict[str, Any]:
        """The configuration of the transformer in saved settings."""
        known = settings if isinstance(settings, dict) else {}
        fields, longest = known.get("model"), known.get("max_tokens")
        fits = isinstance(longest, int) and 0 < longest <= _LONGEST
        if known.get("kind") != self.kind or not isinstance(fields, dict) or not fits:
            raise ArtifactError(f"The router file does not describe its {self.kind}: train and save the router again.")
        return fields

    @abstractmethod
    def _reader(self, tokenizer: Any, settings: Mapping[str, Any] | None) -> Reader:
        """The reader that suits this kind of model; `settings` are those of a saved model, None for a fresh one."""

    @abstractmethod
    def _logits(self, ids: Sequence[Sequence[int]]) -> Any:
        """Outputs for token ids, (n, n_outputs), on the model's device."""

    def _prior(self, targets: NDArray[np.float64]) -> NDArray[np.float32]:
        least = 0.5 / (len(targets) + 1)
        means = np.clip(targets.mean(axis=0), least, 1 - least)
        logits, start = [], 0
        for head in self.heads:
            mine = means[start : start + head.size]
            logits.append(np.log(mine / mine.sum()) if head.kind == "softmax" else np.log(mine / (1 - mine)))
            start += head.size
        prior: NDArray[np.float32] = np.concatenate(logits).astype(np.float32)
        return prior

    def _tune(
        self,
        texts: Sequence[Text],
        targets: NDArray[np.float64],
        settings: Tuning,
        progress: Progress,
        change: Augment | None,
        held: Sequence[int] | None,
        *,
        trained: bool,
    ) -> dict[str, Any]:
        self.model.to(best_device())
        happened = tune(
            self.model,
            self._logits,
            self._read,
            texts,
            targets,
            self.heads,
            settings,
            progress,
            change=change,
            held=held,
            trained=trained,
        )
        self.model.zero_grad(set_to_none=True)
        self.model.eval()
        settle_weights(self.model)
        progress("fine-tuned", 1.0)
        return happened

    def _read(self, texts: Sequence[Text]) -> list[list[int]]:
        return self.reader.read(with_side(texts, self.side))

    def _probabilities(self, logits: Any) -> Any:
        torch, _ = needed()
        parts = logits.split([head.size for head in self.heads], dim=1)
        kinds = [head.kind for head in self.heads]
        made = [
            part.softmax(dim=1) if kind == "softmax" else part.sigmoid()
            for kind, part in zip(kinds, parts, strict=True)
        ]
        return torch.cat(made, dim=1)

    def _padded(self, ids: Sequence[Sequence[int]], *, left: bool = False) -> tuple[Any, Any]:
        """Token ids and attention mask, (n, longest), padded at one side."""
        torch, _ = needed()
        longest = max(map(len, ids))
        padded = np.full((len(ids), longest), self._pad, dtype=np.int64)
        mask = np.zeros((len(ids), longest), dtype=np.int64)
        for row, one in enumerate(ids):
            part = slice(longest - len(one), None) if left else slice(len(one))
            padded[row, part], mask[row, part] = one, 1
        device = next(self.model.parameters()).device
        return torch.from_numpy(padded).to(device), torch.from_numpy(mask).to(device)

    def _offset_on(self, like: Any) -> Any:
        torch, _ = needed()
        return torch.from_numpy(self.offset).to(like.device)

    @property
    def _pad(self) -> int:
        return int(self.model.config.pad_token_id or 0)

    def _precision(self) -> Any:
        torch, _ = needed()
        on_gpu = next(self.model.parameters()).device.type == "cuda"
        return torch.autocast("cuda", dtype=torch.bfloat16) if on_gpu else nullcontext()

    def _vocabulary(self) -> int:
        return int(self.model.get_input_embeddings().weight.shape[0])


def longest_text(config: Any, tokenizer: Any) -> int:
    """Most tokens that a transformer takes."""
    positions = getattr(config, "max_position_embeddings", None)
    longest = positions if isinstance(positions, int) and positions > 0 else _LONGEST
    if config.model_type in _OFFSET_TYPES:
        longest -= int(config.pad_token_id or 0) + 1
    return max(1, min(longest, int(min(tokenizer.model_max_length, _LONGEST))))
