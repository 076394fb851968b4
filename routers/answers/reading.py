"""What judges have in common that read questions and answers: with a head on features, or with a fine-tuned encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from routers.answers.base import AnswerJudge
from routers.base import Progress, RouterState
from routers.features import Features, FeatureSpec, make_features
from routers.learning.heads import HeadSettings, ProbabilityHead
from routers.neural.encoder import Encoder
from routers.neural.tokens import Text
from routers.neural.training import Head, Tuning

__all__ = ["ReadingJudge", "logits"]

_BLOCKS = ("question", "answer")
_LARGEST_LOGIT = 15.0
_WEIGHT_DECAY = 0.01


class ReadingJudge(AnswerJudge):
    """A judge that takes the parameters named below, and reads by a head on features or by an encoder.

    The head has one output, on as many features as those of a question and of an answer together; the encoder has
    `encoder_outputs`.

    Attributes:
        question_, answer_: the trained features.
        head_: the trained head.
        reader_: the fine-tuned encoder.
    """

    encoder_outputs: ClassVar[int]

    features: FeatureSpec
    head: Literal["linear", "mlp"]
    hidden: int
    max_epochs: int
    C: float
    folds: int
    encoder: str | None
    encoder_max_tokens: int
    encoder_epochs: int
    encoder_batch_size: int
    encoder_learning_rate: float
    encoder_patience: int
    seed: int

    question_: Features
    answer_: Features
    head_: ProbabilityHead
    reader_: Encoder

    @property
    def slow(self) -> bool:
        """An encoder takes more than a millisecond; a head takes as long as its features."""
        return self.encoder is not None or self.question_.slow

    def _learn_features(self, prompts: Sequence[str], answers: Sequence[str]) -> None:
        self.question_, self.answer_ = (self._unfitted_features() for _ in _BLOCKS)
        self.question_.fit(prompts)
        self.answer_.fit(answers)

    def _fit_encoder(
        self, texts: Sequence[Text], targets: NDArray[np.float64], held: list[int], progress: Progress
    ) -> dict[str, Any]:
        """Fine-tune the encoder on texts (n,) and targets (n, encoder_outputs); what happened, as JSON values."""
        settings = Tuning(
            epochs=self.encoder_epochs,
            batch_size=self.encoder_batch_size,
            learning_rate=self.encoder_learning_rate,
            weight_decay=_WEIGHT_DECAY,
            patience=self.encoder_patience,
            seed=self.seed,
        )
        self.reader_ = self._new_reader()
        return self.reader_.fit(str(self.encoder), texts, targets, settings, progress, held=held)

    def _head_settings(self) -> HeadSettings:
        return HeadSettings(
            kind=self.head,
            hidden=self.hidden,
            max_epochs=self.max_epochs,
            C=self.C,
            folds=self.folds,
            seed=self.seed,
        )

    def _unfitted_features(self) -> Features:
        return make_features(self.features, seed=self.seed)

    def _new_reader(self) -> Encoder:
        return Encoder([Head("sigmoid", self.encoder_outputs)], self.encoder_max_tokens)

    def _state(self, calibration: dict[str, Any]) -> RouterState:
        """The state of features and head, or of the encoder, together with this calibration."""
        if self.encoder is not None:
            return RouterState(self.reader_.settings(), calibration, self.reader_.tensors())
        blocks = zip(_BLOCKS, (self.question_, self.answer_), strict=True)
        tensors = {f"{block}.{name}": held for block, one in blocks for name, held in one.tensors().items()}
        return RouterState(self.question_.settings(), calibration, {**tensors, **self.head_.tensors()})

    def restore(self, state: RouterState) -> None:
        """Take what `state` gave.

        Raises:
            ArtifactError: something is missing, or of the wrong type or shape.
        """
        if self.encoder is not None:
            self.reader_ = self._new_reader().restore(state.features, state.tensors)
            return
        self.question_, self.answer_ = (
            self._unfitted_features().restore(
                {name.removeprefix(f"{block}."): held for name, held in state.tensors.items() if name.startswith(block)}
            )
            for block in _BLOCKS
        )
        n_features = self.question_.n_features_ + self.answer_.n_features_
        self.head_ = ProbabilityHead().restore(state.tensors, n_features, 1)


def logits(probability: NDArray[np.float32]) -> NDArray[np.float64]:
    """Logits of probabilities, of their shape, no further from 0 than float32 can tell probabilities from 1."""
    p = probability.astype(np.float64)
    with np.errstate(divide="ignore"):
        raw = np.log(p) - np.log1p(-p)
    clipped: NDArray[np.float64] = np.clip(raw, -_LARGEST_LOGIT, _LARGEST_LOGIT)
    return clipped
