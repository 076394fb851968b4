"""A scorer of answers that asks a language model: would you have said that?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from routers.answers.calibrated import CalibratedScorer
from routers.answers.pairs import Pairs
from routers.answers.reading import logits
from routers.base import Progress, RouterState
from routers.errors import ParameterError
from routers.features import Features, FeatureSpec, Rows, beside, checked_tensor, make_features
from routers.learning.heads import HeadSettings, ProbabilityHead
from routers.neural.likelihood import LikelihoodModel
from routers.neural.parameters import Checkpoint, HeldOut, MaxTokens, Seed

__all__ = ["LikelihoodScorer"]

_QUESTION = "question."
_MOST = 15.0
_LEAST = -100.0
_N_LIKELIHOODS = 3


class LikelihoodScorer(CalibratedScorer):
    """How likely an answer is good, from how likely a causal language model finds it after its question.

    The language model, which need not be an expert, reads question and answer once, as its chat template puts them, and
    gives the log-likelihood of each token of the answer, the one that ends it among them (`LikelihoodModel`). It is not
    fine-tuned: a head learns from recorded answers what the sum, the mean and the least of them are worth, beside
    features of the question. Each of the three enters as log-odds, x - log(1 - exp(x)), which tell 0.99 from 0.999, and
    standardised.

    Language models have long rescored the candidates of speech recognisers and translators in this way; the mean is
    minus the logarithm of the perplexity. What differs from FrugalGPT's scorer, a DistilBERT that is fine-tuned to tell
    good answers from bad ones: nothing but the head is trained, and the model knows how to answer, so that it can find
    a well-formed answer wrong. It finds answers to questions that it has itself learned from likelier than those to new
    ones; so give `fit` questions that it has not seen.

    Args:
        language_model: folder or hub's name of a causal language model, safetensors weights only. Needed to fit.
        language_model_max_tokens: most tokens of question, answer and template; of a longer question or answer the
            first and the last part are read.
        features: which features of the question stand beside the likelihoods; None: none.
        head: "linear" or "mlp" (needs torch).
        hidden: hidden units of the MLP.
        max_epochs: most passes of the MLP over the answers.
        C: inverse strength of the linear head's L2 penalty.
        folds: parts for the head's own calibration and early stopping.
        held_out: share of the questions that is held out for the calibration.
        seed: of the held-out questions, folds, initial weights and shuffles.

    Attributes:
        model_: the language model.
        question_: the trained features; None: none.
        center_, spread_: (3,) mean and standard deviation of the log-odds.
        head_: the trained head.
        slope_, offset_: the calibration of its logit.
    """

    name: ClassVar[str] = "likelihood"
    paper: ClassVar[str] = "FrugalGPT, arXiv 2305.05176, with a scorer by perplexity"
    describes: ClassVar[str] = "How likely an answer is good, from how likely a language model finds it."
    needs: ClassVar[tuple[str, ...]] = ("a causal language model",)

    model_: LikelihoodModel
    question_: Features | None
    center_: NDArray[np.float32]
    spread_: NDArray[np.float32]
    head_: ProbabilityHead

    def __init__(
        self,
        *,
        language_model: Checkpoint | None = None,
        language_model_max_tokens: MaxTokens = 512,
        features: FeatureSpec | None = "tfidf",
        head: Literal["linear", "mlp"] = "linear",
        hidden: Annotated[int, Field(ge=1, le=4096)] = 64,
        max_epochs: Annotated[int, Field(ge=1, le=10_000)] = 40,
        C: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 3.0,
        folds: Annotated[int, Field(ge=2, le=20)] = 5,
        held_out: HeldOut = 0.15,
        seed: Seed = 0,
    ) -> None:
        self.language_model = language_model
        self.language_model_max_tokens = language_model_max_tokens
        self.features = features
        self.head = head
        self.hidden = hidden
        self.max_epochs = max_epochs
        self.C = C
        self.folds = folds
        self.held_out = held_out
        self.seed = seed

    @property
    def slow(self) -> bool:
        """A language model takes more than a millisecond."""
        return True

    def _learn(self, pairs: Pairs, held: NDArray[np.bool_], progress: Progress) -> dict[str, Any]:
        if self.language_model is None:
            raise ParameterError("A 'likelihood' judge needs a language model: give the folder of one.")
        progress("loading the language model", 0.0)
        self.model_ = LikelihoodModel(self.language_model_max_tokens).load(self.language_model)
        learned = pairs.part(~held)
        progress("reading answers", 0.0)
        odds = self._log_odds(learned.prompts, learned.answers)
        self.center_, spread = odds.mean(axis=0), odds.std(axis=0)
        self.spread_ = np.where(spread > 0, spread, 1).astype(np.float32)
        self.question_ = self._unfitted_features()
        if self.question_ is not None:
            self.question_.fit(list(dict.fromkeys(learned.prompts)))
        settings = HeadSettings(
            kind=self.head, hidden=self.hidden, max_epochs=self.max_epochs, C=self.C, folds=self.folds, seed=self.seed
        )
        rows = self._rows(learned.prompts, odds)
        self.head_ = ProbabilityHead().fit(rows, learned.quality[:, None], settings, progress, groups=learned.text)
        return {}

    def _logits(self, prompts: Sequence[str], answers: Sequence[str]) -> NDArray[np.float64]:
        rows = self._rows(prompts, self._log_odds(prompts, answers))
        return logits(self.head_.predict(rows)[:, 0])

    def _rows(self, prompts: Sequence[str], odds: NDArray[np.float32]) -> Rows:
        scaled = (odds - self.center_) / self.spread_
        return scaled if self.question_ is None else beside(self.question_.transform(prompts), scaled)

    def _log_odds(self, prompts: Sequence[str], answers: Sequence[str]) -> NDArray[np.float32]:
        """Log-odds (n, 3) of each answer, of its tokens' geometric mean, and of its least likely token."""
        read = self.model_.token_likelihoods(prompts, answers)
        # An answer without any token has nothing that could be unlikely.
        found = np.array([(one.sum(), one.mean(), one.min()) if len(one) else (0.0, 0.0, 0.0) for one in read])
        least = np.minimum(found.reshape(len(read), _N_LIKELIHOODS), -np.exp(-_MOST))
        odds: NDArray[np.float32] = np.clip(least - np.log(-np.expm1(least)), _LEAST, _MOST).astype(np.float32)
        return odds

    def _unfitted_features(self) -> Features | None:
        return None if self.features is None else make_features(self.features, seed=self.seed)

    def state(self) -> RouterState:
        """What was learned, for saving."""
        own = {"center": self.center_, "spread": self.spread_}
        tensors = {**self.model_.tensors(), **self.head_.tensors(), **own}
        settings = self.model_.settings()
        if self.question_ is not None:
            settings = {**settings, "question": self.question_.settings()}
            tensors |= {f"{_QUESTION}{name}": held for name, held in self.question_.tensors().items()}
        return RouterState(settings, self._calibration(), tensors)

    def restore(self, state: RouterState) -> None:
        """Take what `state` gave.

        Raises:
            ArtifactError: something is missing, or of the wrong type or shape.
        """
        super().restore(state)
        self.model_ = LikelihoodModel(self.language_model_max_tokens).restore(state.features, state.tensors)
        self.center_, self.spread_ = (
            checked_tensor(state.tensors, name, np.float32, (_N_LIKELIHOODS,)) for name in ("center", "spread")
        )
        self.question_ = self._unfitted_features()
        n_features = _N_LIKELIHOODS
        if self.question_ is not None:
            mine = {name: held for name, held in state.tensors.items() if name.startswith(_QUESTION)}
            self.question_.restore({name.removeprefix(_QUESTION): held for name, held in mine.items()})
            n_features += self.question_.n_features_
        self.head_ = ProbabilityHead().restore(state.tensors, n_features, 1)
