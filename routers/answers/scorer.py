"""A scorer of answers: is this a good answer to this question?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from routers.answers.base import AnswerScorer
from routers.answers.pairs import Pairs, held_out_texts
from routers.base import Progress, RouterState
from routers.errors import DataError
from routers.features import Features, FeatureSpec, Rows, beside, make_features
from routers.learning.heads import HeadSettings, ProbabilityHead, fit_platt
from routers.neural.encoder import Encoder
from routers.neural.parameters import BatchSize, Checkpoint, Epochs, HeldOut, LearningRate, MaxTokens, Patience, Seed
from routers.neural.training import Head, Tuning

if TYPE_CHECKING:
    from routers.data import RoutingData

__all__ = ["LearnedScorer"]

_BLOCKS = ("question", "answer")
_FEWEST_TEXTS = 20
_LARGEST_LOGIT = 15.0


class LearnedScorer(AnswerScorer):
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

    question_: Features
    answer_: Features
    head_: ProbabilityHead
    reader_: Encoder
    slope_: float
    offset_: float

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

    @property
    def slow(self) -> bool:
        """An encoder takes more than a millisecond; a head takes as long as its features."""
        return self.encoder is not None or self.question_.slow

    def _fit(self, data: RoutingData, progress: Progress) -> None:
        pairs = Pairs.of(data)
        if not len(pairs):
            raise DataError("There are no answers to learn from: give at least one.")
        n_texts = int(pairs.text.max()) + 1
        held = held_out_texts(pairs.text, self.held_out if n_texts >= _FEWEST_TEXTS else 0.0, self.seed)
        self.slope_, self.offset_ = 1.0, 0.0
        happened: dict[str, Any] = {}
        if self.encoder is None:
            self._fit_head(pairs.part(~held), progress)
        else:
            happened = self._fit_encoder(self.encoder, pairs, np.flatnonzero(held).tolist(), progress)
        if held.any():
            progress("calibrating", 1.0)
            self._calibrate(pairs.part(held))
        self.summary_ = {"answers": len(pairs), "questions": n_texts, "held_out": int(held.sum()), **happened}

    def _fit_head(self, pairs: Pairs, progress: Progress) -> None:
        progress("features", 0.0)
        self.question_, self.answer_ = (self._unfitted_features() for _ in _BLOCKS)
        self.question_.fit(list(dict.fromkeys(pairs.prompts)))
        self.answer_.fit(pairs.answers)
        rows, quality = self._rows(pairs.prompts, pairs.answers), pairs.quality[:, None]
        self.head_ = ProbabilityHead().fit(rows, quality, self._head_settings(), progress, groups=pairs.text)

    def _fit_encoder(self, source: str, pairs: Pairs, held: list[int], progress: Progress) -> dict[str, Any]:
        settings = Tuning(
            epochs=self.encoder_epochs,
            batch_size=self.encoder_batch_size,
            learning_rate=self.encoder_learning_rate,
            weight_decay=0.01,
            patience=self.encoder_patience,
            seed=self.seed,
        )
        texts = list(zip(pairs.prompts, pairs.answers, strict=True))
        self.reader_ = self._new_reader()
        return self.reader_.fit(source, texts, pairs.quality[:, None], settings, progress, held=held)

    def _calibrate(self, pairs: Pairs) -> None:
        """Fit slope and offset to the answers as they were given."""
        logits = np.repeat(self._logits(pairs.prompts, pairs.answers), pairs.count)
        self.slope_, self.offset_ = fit_platt(logits, np.repeat(pairs.quality, pairs.count))

    def _score(self, prompts: Sequence[str], answers: Sequence[str]) -> NDArray[np.float32]:
        logits = self._logits(prompts, answers) * self.slope_ + self.offset_
        scores: NDArray[np.float32] = (0.5 * (1 + np.tanh(0.5 * logits))).astype(np.float32)
        return scores

    def _logits(self, prompts: Sequence[str], answers: Sequence[str]) -> NDArray[np.float64]:
        """Logits (n,) before the calibration, no further from 0 than float32 can tell probabilities from 1."""
        if self.encoder is None:
            raw = self.head_.predict(self._rows(prompts, answers))
        else:
            raw = self.reader_.predict(list(zip(prompts, answers, strict=True)))
        probability = raw[:, 0].astype(np.float64)
        with np.errstate(divide="ignore"):
            logits = np.log(probability) - np.log1p(-probability)
        clipped: NDArray[np.float64] = np.clip(logits, -_LARGEST_LOGIT, _LARGEST_LOGIT)
        return clipped

    def _rows(self, prompts: Sequence[str], answers: Sequence[str]) -> Rows:
        return beside(self.question_.transform(prompts), self.answer_.transform(answers))

    def _unfitted_features(self) -> Features:
        return make_features(self.features, seed=self.seed)

    def _new_reader(self) -> Encoder:
        return Encoder([Head("sigmoid", 1)], self.encoder_max_tokens)

    def _head_settings(self) -> HeadSettings:
        return HeadSettings(
            kind=self.head,
            hidden=self.hidden,
            max_epochs=self.max_epochs,
            C=self.C,
            folds=self.folds,
            seed=self.seed,
        )

    def state(self) -> RouterState:
        """What was learned, for saving."""
        calibration = {"method": "platt", "slope": self.slope_, "offset": self.offset_}
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
        self.slope_, self.offset_ = state.number("slope"), state.number("offset")
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
