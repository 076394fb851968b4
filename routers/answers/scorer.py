"""A scorer of answers: is this a good answer to this question?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from routers.answers.calibrated import CalibratedScorer
from routers.answers.pairs import Pairs
from routers.answers.reading import ReadingJudge, logits
from routers.base import Progress, RouterState
from routers.features import FeatureSpec, Rows, beside
from routers.learning.heads import ProbabilityHead
from routers.neural.parameters import BatchSize, Checkpoint, Epochs, HeldOut, LearningRate, MaxTokens, Patience, Seed

__all__ = ["LearnedScorer"]


class LearnedScorer(ReadingJudge, CalibratedScorer):
    """How likely an answer is good, learned from recorded answers and their qualities.

    Either a head reads features of the question beside those of the answer, which takes well under a millisecond, or,
    as FrugalGPT's DistilBERT does, a fine-tuned encoder reads question and answer as a pair, which can compare the two.

    It learns from every different answer to a question once, however often it was given. Held-out questions pick the
    encoder's best epoch, and on their answers, each as often as it was given, the probabilities are calibrated (Platt).
    What differs from the paper: labels may be any quality in [0, 1], and the calibration, which FrugalGPT's thresholds
    do not need.

    Args:
        features: which features the head reads, of the question and of the answer alike.
        head: "linear" or "mlp" (needs torch).
        hidden: hidden units of the MLP.
        max_epochs: most passes of the MLP over the answers.
        C: inverse strength of the linear head's L2 penalty.
        folds: parts for the head's own calibration and early stopping.
        encoder: folder or hub's name of an encoder to fine-tune instead of a head, safetensors weights only; None: the
            head on features.
        encoder_max_tokens: most tokens of question and answer together; the first and the last part of longer ones.
        encoder_epochs: most passes over the answers.
        encoder_batch_size: answers of one step.
        encoder_learning_rate: peak of its learning rate.
        encoder_patience: epochs without improvement after which its training stops.
        held_out: share of the questions that is held out. With fewer than 20 questions nothing is, and nothing is
            calibrated but the head by itself.
        seed: of the held-out questions, folds, initial weights, shuffles and dropout.

    Attributes:
        question_, answer_: the trained features.
        head_: the trained head.
        reader_: the fine-tuned encoder.
        slope_, offset_: the calibration of its logit.
    """

    name: ClassVar[str] = "answer-scorer"
    paper: ClassVar[str] = "FrugalGPT, arXiv 2305.05176"
    describes: ClassVar[str] = "How likely an answer is good, from question and answer."

    encoder_outputs: ClassVar[int] = 1

    def __init__(
        self,
        *,
        features: FeatureSpec = "tfidf",
        head: Literal["linear", "mlp"] = "linear",
        hidden: Annotated[int, Field(ge=1, le=4096)] = 64,
        max_epochs: Annotated[int, Field(ge=1, le=10_000)] = 40,
        C: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 3.0,
        folds: Annotated[int, Field(ge=2, le=20)] = 5,
        encoder: Checkpoint | None = None,
        encoder_max_tokens: MaxTokens = 512,
        encoder_epochs: Epochs = 4,
        encoder_batch_size: BatchSize = 32,
        encoder_learning_rate: LearningRate = 5e-5,
        encoder_patience: Patience = 2,
        held_out: HeldOut = 0.15,
        seed: Seed = 0,
    ) -> None:
        self.features = features
        self.head = head
        self.hidden = hidden
        self.max_epochs = max_epochs
        self.C = C
        self.folds = folds
        self.encoder = encoder
        self.encoder_max_tokens = encoder_max_tokens
        self.encoder_epochs = encoder_epochs
        self.encoder_batch_size = encoder_batch_size
        self.encoder_learning_rate = encoder_learning_rate
        self.encoder_patience = encoder_patience
        self.held_out = held_out
        self.seed = seed

    def _learn(self, pairs: Pairs, held: NDArray[np.bool_], progress: Progress) -> dict[str, Any]:
        if self.encoder is None:
            self._fit_head(pairs.part(~held), progress)
            return {}
        texts = list(zip(pairs.prompts, pairs.answers, strict=True))
        return self._fit_encoder(texts, pairs.quality[:, None], np.flatnonzero(held).tolist(), progress)

    def _fit_head(self, pairs: Pairs, progress: Progress) -> None:
        progress("features", 0.0)
        self._learn_features(list(dict.fromkeys(pairs.prompts)), pairs.answers)
        rows, quality = self._rows(pairs.prompts, pairs.answers), pairs.quality[:, None]
        self.head_ = ProbabilityHead().fit(rows, quality, self._head_settings(), progress, groups=pairs.text)

    def _logits(self, prompts: Sequence[str], answers: Sequence[str]) -> NDArray[np.float64]:
        """Logits (n,) before the calibration."""
        if self.encoder is None:
            return logits(self.head_.predict(self._rows(prompts, answers))[:, 0])
        return logits(self.reader_.predict(list(zip(prompts, answers, strict=True)))[:, 0])

    def _rows(self, prompts: Sequence[str], answers: Sequence[str]) -> Rows:
        return beside(self.question_.transform(prompts), self.answer_.transform(answers))

    def state(self) -> RouterState:
        """What was learned, for saving."""
        return self._state(self._calibration())

    def restore(self, state: RouterState) -> None:
        """Take what `state` gave.

        Raises:
            ArtifactError: something is missing, or of the wrong type or shape.
        """
        CalibratedScorer.restore(self, state)
        ReadingJudge.restore(self, state)
