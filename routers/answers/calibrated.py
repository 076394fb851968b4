"""What scorers of answers have in common that learn from recorded answers: held-out questions and a calibration."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from routers.answers.base import AnswerScorer
from routers.answers.pairs import Pairs, held_out_texts
from routers.base import Progress, RouterState
from routers.errors import DataError
from routers.learning.heads import fit_platt

if TYPE_CHECKING:
    from routers.data import RoutingData

__all__ = ["CalibratedScorer"]

_FEWEST_TEXTS = 20


class CalibratedScorer(AnswerScorer):
    """A scorer that learns from every different answer once, but for those to the share `held_out` of the questions.

    On the held-out answers, each as often as it was given, its probabilities are calibrated (Platt). With fewer than 20
    questions nothing is held out.

    Attributes:
        slope_, offset_: the calibration of its logit.
    """

    held_out: float
    seed: int

    slope_: float
    offset_: float

    def _fit(self, data: RoutingData, progress: Progress) -> None:
        pairs = Pairs.of(data)
        if not len(pairs):
            raise DataError("There are no answers to learn from: give at least one.")
        n_texts = int(pairs.text.max()) + 1
        held = held_out_texts(pairs.text, self.held_out if n_texts >= _FEWEST_TEXTS else 0.0, self.seed)
        self.slope_, self.offset_ = 1.0, 0.0
        happened = self._learn(pairs, held, progress)
        if held.any():
            progress("calibrating", 1.0)
            self._calibrate(pairs.part(held))
        self.summary_ = {"answers": len(pairs), "questions": n_texts, "held_out": int(held.sum()), **happened}

    def _calibrate(self, pairs: Pairs) -> None:
        """Fit slope and offset to the answers as they were given."""
        found = np.repeat(self._logits(pairs.prompts, pairs.answers), pairs.count)
        self.slope_, self.offset_ = fit_platt(found, np.repeat(pairs.quality, pairs.count))

    def _score(self, prompts: Sequence[str], answers: Sequence[str]) -> NDArray[np.float32]:
        calibrated = self._logits(prompts, answers) * self.slope_ + self.offset_
        scores: NDArray[np.float32] = (0.5 * (1 + np.tanh(0.5 * calibrated))).astype(np.float32)
        return scores

    @abstractmethod
    def _learn(self, pairs: Pairs, held: NDArray[np.bool_], progress: Progress) -> dict[str, Any]:
        """Learn from the pairs (n,) that are not held out, (n,); what happened, as JSON values."""

    @abstractmethod
    def _logits(self, prompts: Sequence[str], answers: Sequence[str]) -> NDArray[np.float64]:
        """Logits (n,) before the calibration."""

    def _calibration(self) -> dict[str, Any]:
        """The calibration, as JSON values."""
        return {"method": "platt", "slope": self.slope_, "offset": self.offset_}

    def restore(self, state: RouterState) -> None:
        """Take what `state` gave.

        Raises:
            ArtifactError: something is missing, or of the wrong type or shape.
        """
        self.slope_, self.offset_ = state.number("slope"), state.number("offset")
