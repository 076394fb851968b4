"""What RouteLLM's routers that learn from battles have in common (arXiv 2406.18665)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike

from routers.base import RouterState, TwoModelRouter
from routers.errors import ArtifactError
from routers.featured import FeatureRouter
from routers.features import FloatArray
from routers.learning.bradley_terry import battle_table

if TYPE_CHECKING:
    from routers.data import RoutingData

__all__ = ["BattleRouter"]


class BattleRouter(FeatureRouter, TwoModelRouter):
    """A router that learns from battles: which of two experts answered a prompt better.

    A battle is made of the samples of two experts for one prompt: the share of sample pairs that each wins, a tie
    counting half for each. RouteLLM has one human verdict a prompt instead, on two of 64 models.

    The score estimates Pr(large wins). Where the large expert is the better one on average, ties alone can keep it
    above 1/2 for every prompt, so a threshold of 1/2 would say little. As RouteLLM calibrates its thresholds to a share
    of calls, `threshold_` is the one that sends `large_share` of the training prompts to the large expert, by scores
    from which a prompt's own battles were left out.

    Attributes:
        contenders_: experts whose battles were learned from; the small and the large one come first.
    """

    paper: ClassVar[str] = "RouteLLM, arXiv 2406.18665"
    dense_features: ClassVar[bool] = True

    battles: Literal["pair", "all"]
    large_share: float

    contenders_: tuple[str, ...]

    def _choose(self, data: RoutingData) -> RoutingData:
        pair = self._pair(data)
        others = [expert for expert in data.experts if expert not in pair] if self.battles == "all" else []
        return data.select((*pair, *others))

    def _learn_battles(self, data: RoutingData) -> FloatArray:
        """Battles among the contenders, (n_prompts, n_contenders, n_contenders); `experts_` become the pair."""
        self.contenders_ = data.experts
        self.experts_, self.cost_ = data.experts[:2], self.cost_[:2]
        return battle_table(data)

    def _set_threshold(self, scores: ArrayLike) -> None:
        """Let `large_share` of these scores of the training prompts, (n,), reach the threshold."""
        self.threshold_ = float(np.clip(np.quantile(np.asarray(scores), 1 - self.large_share), 0.0, 1.0))

    def _restore_contenders(self, state: RouterState) -> None:
        """Take back the names of those who fought, from `state.calibration`.

        Raises:
            ArtifactError: they are not names, or the router's two experts do not come first.
        """
        names = state.calibration.get("contenders")
        if not isinstance(names, list) or tuple(names[:2]) != self.experts_ or len(set(map(str, names))) != len(names):
            raise ArtifactError("The router's contenders do not begin with its two experts: train and save it again.")
        self.contenders_ = tuple(names)
