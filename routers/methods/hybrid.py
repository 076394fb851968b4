"""Hybrid LLM (arXiv 2404.14618): is the small model's answer good enough for this prompt?"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from routers.base import Prediction, Progress, RouterState, TwoModelRouter
from routers.featured import FeatureRouter
from routers.features import FeatureSpec, Rows, as_matrix
from routers.learning.augment import noisy_copies
from routers.learning.heads import HeadSettings, ProbabilityHead
from routers.learning.labels import deterministic_labels, find_relaxation, relaxed_labels
from routers.learning.linear import best_penalty
from routers.neural.encoder import Encoder
from routers.neural.parameters import BatchSize, Checkpoint, Epochs, LearningRate, MaxTokens
from routers.neural.training import Head, Tuning, noise

if TYPE_CHECKING:
    from routers.data import RoutingData

__all__ = ["HybridDetRouter", "HybridProbRouter", "HybridTransRouter"]

FloatArray = NDArray[np.float64]

_DROPOUT = 0.05


class HybridRouter(FeatureRouter, TwoModelRouter):
    """What the three routers of the paper share; they differ in their labels (section 3).

    The score is 1 - p_w, p_w being the probability that the small model is good enough. Beyond the paper, the
    same head also predicts the mean quality of both experts, for policies that weigh quality against cost.

    What predicts all this is a head on features of the prompt, which decides in well under a millisecond, or, as in
    the paper, a fine-tuned encoder such as DeBERTa-v3-large (`encoder`). The encoder's settings are by default those of
    the public code (there also: weight decay 0.1, warm-up 0.05, dropout 0.05), and a tenth of the prompts picks the
    best epoch. Novelty always comes from the features.

    Args:
        small: id of the small expert; None: the cheapest of the data.
        large: id of the large expert; None: the dearest of the data.
        features: which features the head reads.
        side: names of the side information to read beside the text.
        head: "linear" or "mlp" (needs torch).
        hidden: hidden units of the MLP.
        max_epochs: most passes of the MLP over the data.
        dropout: share of the MLP's hidden units that are left out at random in each step of training.
        weight_decay: of the MLP (AdamW).
        C: inverse strength of the linear head's L2 penalty; None: chosen on held-out prompts (`best_penalty`), which
            takes longer and pays where answers are noisy.
        prior_strength: of the L2 penalty toward what was learned, in `adapt`; None: as `HeadSettings` says.
        augment: mean number of noisy copies of each prompt to learn from too (`noisy_copies`; not in the paper).
        folds: parts for calibration and early stopping.
        encoder: folder or hub's name of an encoder to fine-tune instead of a head, safetensors weights only; None: the
            head on features.
        encoder_max_tokens: most tokens that it reads; of longer prompts the first and the last half.
        encoder_epochs: most passes over the prompts.
        encoder_batch_size: prompts of one step.
        encoder_learning_rate: peak of its learning rate.
        seed: of folds, initial weights, shuffles, dropout and noise.
    """

    paper: ClassVar[str] = "Hybrid LLM, arXiv 2404.14618"

    def __init__(
        self,
        *,
        small: str | None = None,
        large: str | None = None,
        features: FeatureSpec = "tfidf",
        side: list[str] | None = None,
        head: Literal["linear", "mlp"] = "linear",
        hidden: Annotated[int, Field(ge=1, le=4096)] = 64,
        max_epochs: Annotated[int, Field(ge=1, le=10_000)] = 40,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2,
        weight_decay: Annotated[float, Field(ge=0, le=1)] = 1e-4,
        C: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = 3.0,
        prior_strength: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None,
        augment: Annotated[float, Field(ge=0, le=20)] = 0.0,
        folds: Annotated[int, Field(ge=2, le=20)] = 5,
        encoder: Checkpoint | None = None,
        encoder_max_tokens: MaxTokens = 128,
        encoder_epochs: Epochs = 5,
        encoder_batch_size: BatchSize = 128,
        encoder_learning_rate: LearningRate = 1e-5,
        seed: Annotated[int, Field(ge=0, lt=2**32)] = 0,
    ) -> None:
        self.small = small
        self.large = large
        self.features = features
        self.side = side
        self.head = head
        self.hidden = hidden
        self.max_epochs = max_epochs
        self.dropout = dropout
        self.weight_decay = weight_decay
        self.C = C
        self.prior_strength = prior_strength
        self.augment = augment
        self.folds = folds
        self.encoder = encoder
        self.encoder_max_tokens = encoder_max_tokens
        self.encoder_epochs = encoder_epochs
        self.encoder_batch_size = encoder_batch_size
        self.encoder_learning_rate = encoder_learning_rate
        self.seed = seed

    @abstractmethod
    def labels(self, small: FloatArray, large: FloatArray) -> FloatArray:
        """Labels p_w (n_prompts,) from sampled qualities, (n_prompts, n_samples) each."""

    @property
    def slow(self) -> bool:
        """An encoder takes more than a millisecond; a head takes as long as its features."""
        return self.encoder is not None or super().slow

    def _fit(self, data: RoutingData, progress: Progress) -> None:
        progress("labels", 0.0)
        targets = self._targets(data)
        rows = self._learn_features(data)
        happened: dict[str, Any] = {}
        if self.encoder is None:
            if self.C is None and self.head == "linear":
                happened["C"] = best_penalty(as_matrix(rows), targets, self.seed)
            settings = self._head_settings(happened.get("C"))
            self.head_ = ProbabilityHead().fit(rows, targets, settings, progress, self._copies(data))
        else:
            happened = self._fit_encoder(self.encoder, data, targets, progress)
        self.summary_ = {
            **self._label_summary(),
            "mean_label": float(targets[:, 0].mean()),
            "training_prompts": len(targets),
            **happened,
        }

    def _fit_encoder(self, source: str, data: RoutingData, targets: FloatArray, progress: Progress) -> dict[str, Any]:
        reader, change = self._new_reader(), noise(self.augment)
        prompts, settings = data.inputs(self.side), self._tuning()
        happened = reader.fit(source, prompts, targets, settings, progress, dropout=_DROPOUT, change=change)
        self.reader_ = reader
        return happened

    def _copies(self, data: RoutingData) -> tuple[Rows, NDArray[np.int64]] | None:
        """Features of noisy copies, and the prompt that each is a copy of."""
        if not self.augment:
            return None
        noisy, source = noisy_copies(data.inputs(self.side), self.augment, self.seed)
        return self.features_.transform(noisy), source

    def _adapt(self, data: RoutingData, progress: Progress) -> None:
        targets = self._targets(data)
        if self.encoder is None:
            self.head_.adapt(self._rows_of(data), targets, self._head_settings(), progress)
        else:
            change = noise(self.augment)
            self.reader_.adapt(data.inputs(self.side), targets, self._tuning(), progress, change=change)

    def _targets(self, data: RoutingData) -> FloatArray:
        """Labels p_w and the mean quality of both experts, (n_prompts, 3)."""
        good_enough = self.labels(data.samples(self.small_), data.samples(self.large_))
        return np.column_stack([good_enough, data.quality()])

    def _predict(self, prompts: Sequence[str]) -> Prediction:
        if self.encoder is None:
            return super()._predict(prompts)
        novelty = self.novelty_.score(self.features_.transform(prompts), prompts)
        return _read_out(self.reader_.predict(prompts)).having(novelty=novelty)

    async def _predict_async(self, prompts: Sequence[str]) -> Prediction:
        if self.encoder is None:
            return await super()._predict_async(prompts)
        return await asyncio.to_thread(self._predict, prompts)

    def _predict_rows(self, rows: Rows) -> Prediction:
        return _read_out(self.head_.predict(rows))

    def _new_reader(self) -> Encoder:
        return Encoder([Head("sigmoid", 3)], self.encoder_max_tokens, self.side or ())

    def _tuning(self) -> Tuning:
        return Tuning(
            epochs=self.encoder_epochs,
            batch_size=self.encoder_batch_size,
            learning_rate=self.encoder_learning_rate,
            seed=self.seed,
        )

    def _head_settings(self, chosen: float | None = None) -> HeadSettings:
        return HeadSettings(
            kind=self.head,
            hidden=self.hidden,
            max_epochs=self.max_epochs,
            dropout=self.dropout,
            weight_decay=self.weight_decay,
            C=self.C or chosen or 1.0,
            prior_strength=self.prior_strength,
            folds=self.folds,
            seed=self.seed,
        )

    def _label_summary(self) -> dict[str, float]:
        return {}

    def state(self) -> RouterState:
        """What was learned, for saving."""
        summary = self._label_summary()
        if self.encoder is None:
            return self._feature_state({"method": "platt", **summary}, self.head_.tensors())
        state = self._feature_state({"method": "none", **summary}, self.reader_.tensors())
        return replace(state, features={**state.features, "encoder": self.reader_.settings()})

    def restore(self, state: RouterState) -> None:
        """Take what `state` gave.

        Raises:
            ArtifactError: something is missing, or of the wrong type or shape.
        """
        n_features = self._restore_features(state)
        if self.encoder is None:
            self.head_ = ProbabilityHead().restore(state.tensors, n_features, 3)
        else:
            self.reader_ = self._new_reader().restore(state.features.get("encoder"), state.tensors)


def _read_out(outputs: NDArray[np.float32]) -> Prediction:
    """What p_w and two qualities say, (n, 3)."""
    return Prediction(quality=outputs[:, 1:], large_needed=1 - outputs[:, 0])


class HybridDetRouter(HybridRouter):
    """r_det: learns 1[q(small) >= q(large)] from one sample of each model (section 3.1)."""

    name: ClassVar[str] = "hybrid-det"
    describes: ClassVar[str] = "Whether the small model's answer is as good as the large one's, from one sample each."

    def labels(self, small: FloatArray, large: FloatArray) -> FloatArray:
        """Labels (n_prompts,), 0 or 1, from the first samples of each model."""
        return deterministic_labels(small, large)


class HybridProbRouter(HybridRouter):
    """r_prob: learns Pr[q(small) >= q(large)] over all pairs of samples (section 3.2)."""

    name: ClassVar[str] = "hybrid-prob"
    describes: ClassVar[str] = "How likely the small model's answer is as good as the large one's."

    def labels(self, small: FloatArray, large: FloatArray) -> FloatArray:
        """Soft labels (n_prompts,) from sampled qualities, (n_prompts, n_samples) each."""
        return relaxed_labels(small, large)


class HybridTransRouter(HybridRouter):
    """r_trans: learns Pr[q(small) >= q(large) - t*], t* spreading the labels farthest apart (section 3.3).

    Args:
        t: relaxation; None: t*, searched from 0 to 1 in steps of 0.01 (`find_relaxation`).

    The other parameters are those of the other two.

    Attributes:
        t_: relaxation of the labels.
    """

    name: ClassVar[str] = "hybrid-trans"
    describes: ClassVar[str] = (
        "How likely the small model's answer is nearly as good as the large one's, from transformed labels."
    )

    def __init__(
        self,
        *,
        small: str | None = None,
        large: str | None = None,
        t: Annotated[float, Field(ge=0, le=1)] | None = None,
        features: FeatureSpec = "tfidf",
        side: list[str] | None = None,
        head: Literal["linear", "mlp"] = "linear",
        hidden: Annotated[int, Field(ge=1, le=4096)] = 64,
        max_epochs: Annotated[int, Field(ge=1, le=10_000)] = 40,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2,
        weight_decay: Annotated[float, Field(ge=0, le=1)] = 1e-4,
        C: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = 3.0,
        prior_strength: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None,
        augment: Annotated[float, Field(ge=0, le=20)] = 0.0,
        folds: Annotated[int, Field(ge=2, le=20)] = 5,
        encoder: Checkpoint | None = None,
        encoder_max_tokens: MaxTokens = 128,
        encoder_epochs: Epochs = 5,
        encoder_batch_size: BatchSize = 128,
        encoder_learning_rate: LearningRate = 1e-5,
        seed: Annotated[int, Field(ge=0, lt=2**32)] = 0,
    ) -> None:
        super().__init__(
            small=small,
            large=large,
            features=features,
            side=side,
            head=head,
            hidden=hidden,
            max_epochs=max_epochs,
            dropout=dropout,
            weight_decay=weight_decay,
            C=C,
            prior_strength=prior_strength,
            augment=augment,
            folds=folds,
            encoder=encoder,
            encoder_max_tokens=encoder_max_tokens,
            encoder_epochs=encoder_epochs,
            encoder_batch_size=encoder_batch_size,
            encoder_learning_rate=encoder_learning_rate,
            seed=seed,
        )
        self.t = t

    def labels(self, small: FloatArray, large: FloatArray) -> FloatArray:
        """Soft labels (n_prompts,) from sampled qualities, (n_prompts, n_samples) each; sets `t_`.

        A router that has its t* already keeps it.
        """
        if not hasattr(self, "t_"):
            self.t_ = find_relaxation(small, large)[0] if self.t is None else float(self.t)
        return relaxed_labels(small, large, self.t_)

    def _fit(self, data: RoutingData, progress: Progress) -> None:
        self.__dict__.pop("t_", None)
        super()._fit(data, progress)

    def _label_summary(self) -> dict[str, float]:
        return {"t": self.t_}

    def restore(self, state: RouterState) -> None:
        """Take what `state` gave.

        Raises:
            ArtifactError: a tensor is missing or of the wrong type or shape.
        """
        self.t_ = state.number("t")
        super().restore(state)
