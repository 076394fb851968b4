"""FrugalGPT's cascade (arXiv 2305.05176): ask cheap experts first, and keep the first answer that is judged good."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter, ValidationError

from routers.answers.base import AnswerScorer
from routers.answers.likelihood import LikelihoodScorer
from routers.answers.pairs import held_out_texts, text_codes
from routers.answers.replay import Recorded, Replay, replay_cascade
from routers.answers.scorer import LearnedScorer
from routers.answers.thresholds import CascadeSetting, affordable, search_settings
from routers.base import Progress, RouterState, check_complete
from routers.errors import ArtifactError, DataError, ParameterError
from routers.features import FeatureSpec
from routers.neural.parameters import BatchSize, Checkpoint, Epochs, HeldOut, LearningRate, MaxTokens, Patience, Seed

if TYPE_CHECKING:
    from routers.data import RoutingData

__all__ = ["FrugalCascade"]

_OWN = ("budget", "budget_share", "max_experts", "n_quantiles", "search_share")
_ENCODER = (
    "encoder",
    "encoder_max_tokens",
    "encoder_epochs",
    "encoder_batch_size",
    "encoder_learning_rate",
    "encoder_patience",
)
_LANGUAGE_MODEL = ("language_model", "language_model_max_tokens")
_MOST_SETTINGS = 200
_SCORING_SHARE = 0.9
_SETTINGS = TypeAdapter(list[CascadeSetting])


class FrugalCascade(AnswerScorer):
    """Experts in an order, a scorer of their answers, and from which score on each one's answer is accepted.

    The scorer (`LearnedScorer`, or `LikelihoodScorer` where there is a `language_model`) learns from the answers to a
    part of the questions; with the others, whose scores are therefore honest, every order of up to three experts is
    tried with every combination of thresholds at quantiles of the scores, and the best mean quality within the budget
    is taken. The cost of an answer is that of all attempts that led to it, their input tokens included.

    What differs from the paper: brute force as in its public code, not the pruned and interpolated optimisation of its
    section 3; the budget is a mean over questions, as there. Beyond it, every setting that no other beats is kept, so
    that another budget can be chosen without training (`at_budget`).

    Args:
        budget: most mean cost of an answer, in the currency of the data; None: `budget_share` says it.
        budget_share: the same as a share of the mean cost of the dearest expert.
        max_experts: most experts that are asked one after the other.
        n_quantiles: thresholds that are tried of each expert.
        search_share: share of the questions for the search, which the scorer does not learn from.
        language_model, language_model_max_tokens: given, the scorer is a `LikelihoodScorer` with this language model.

    The other parameters are those of the scorer.

    Attributes:
        experts_: experts in the order in which they are asked.
        thresholds_: one for each but the last: its answer is accepted if its score is at least this. The last one's
            always is.
        cost_: (n_experts,) mean cost of one answer of each.
        budget_: most mean cost of an answer.
        settings_: all settings that no other beats, cheapest first.
        scorer_: the trained scorer.
    """

    name: ClassVar[str] = "frugal"
    paper: ClassVar[str] = "FrugalGPT, arXiv 2305.05176"
    describes: ClassVar[str] = "Asks cheap experts first and keeps the first answer that a scorer finds good."
    kind: ClassVar[Literal["judge", "plan"]] = "plan"

    thresholds_: tuple[float, ...]
    cost_: NDArray[np.float64]
    budget_: float
    settings_: tuple[CascadeSetting, ...]
    scorer_: LearnedScorer | LikelihoodScorer

    def __init__(
        self,
        *,
        budget: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None,
        budget_share: Annotated[float, Field(gt=0, le=10)] = 0.5,
        max_experts: Annotated[int, Field(ge=1, le=3)] = 3,
        n_quantiles: Annotated[int, Field(ge=2, le=200)] = 40,
        search_share: Annotated[float, Field(gt=0, le=0.9)] = 0.3,
        features: FeatureSpec | None = "tfidf",
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
        language_model: Checkpoint | None = None,
        language_model_max_tokens: MaxTokens = 512,
        held_out: HeldOut = 0.15,
        seed: Seed = 0,
    ) -> None:
        self.budget = budget
        self.budget_share = budget_share
        self.max_experts = max_experts
        self.n_quantiles = n_quantiles
        self.search_share = search_share
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
        self.language_model = language_model
        self.language_model_max_tokens = language_model_max_tokens
        self.held_out = held_out
        self.seed = seed

    @property
    def slow(self) -> bool:
        """As slow as its scorer."""
        return self.scorer_.slow

    def accepts(self, step: int, score: float) -> bool:
        """Whether the answer of the expert at this place of the order, from 0 on, is good enough; the last one's is.

        Args:
            step: place in `experts_`.
            score: what `score` says of the answer; not looked at for the last expert.
        """
        return step >= len(self.thresholds_) or score >= self.thresholds_[step]

    def at_budget(self, budget: float) -> CascadeSetting:
        """The best setting found for another budget, a mean cost of an answer.

        Raises:
            NotFittedError: the cascade has not been trained.
            ParameterError: even the cheapest setting costs more.
        """
        self.check_fitted()
        return affordable(self.settings_, budget)

    def replay(self, data: RoutingData, setting: CascadeSetting | None = None) -> Replay:
        """What the cascade would have done with recorded answers.

        Args:
            data: answers of every expert that it asks; its prompts and experts are those of the result.
            setting: another one than the cascade's own, such as `at_budget` gives.

        Raises:
            NotFittedError: the cascade has not been trained.
            DataError: the data lacks an expert that it asks, an answer, or a response.
        """
        return self.replay_all(data, [setting or self._own()])[0]

    def replay_all(self, data: RoutingData, settings: Sequence[CascadeSetting]) -> list[Replay]:
        """The same for several settings, with every answer scored once."""
        self.check_fitted()
        asked = dict.fromkeys(expert for setting in settings for expert in setting.order)
        judged = {expert for setting in settings for expert in setting.order[:-1]}
        for expert in asked:
            if expert not in data.experts:
                there = ", ".join(data.experts)
                raise DataError(f"The cascade asks the expert {expert!r}, but the data only has {there}.")
        recorded = {expert: Recorded.of(data, expert) for expert in asked}
        scores = {expert: self._scores(data, recorded[expert]) for expert in asked if expert in judged}
        return [
            replay_cascade(data.experts, [recorded[expert] for expert in one.order], one.thresholds, scores)
            for one in settings
        ]

    def sweep(self, data: RoutingData, n_points: int) -> list[Replay]:
        """The same for so many budgets, evenly from the cheapest setting's cost to the dearest one's."""
        self.check_fitted()
        budgets = np.linspace(self.settings_[0].cost, self.settings_[-1].cost, n_points)
        return self.replay_all(data, [self.at_budget(float(budget)) for budget in budgets])

    def _fit(self, data: RoutingData, progress: Progress) -> None:
        check_complete(data)
        text = text_codes(data.texts)
        searched = held_out_texts(text, self.search_share, self.seed)
        if searched.all() or not searched.any():
            raise DataError("A cascade learns from at least two different prompts, but the data has one: give more.")
        budget = self._budget(data)
        self.scorer_ = self._new_scorer().fit(
            data.at(~searched), lambda doing, share: progress(f"scorer: {doing}", _SCORING_SHARE * share)
        )
        progress("searching orders and thresholds", _SCORING_SHARE)
        held_out = data.at(searched)
        recorded = [Recorded.of(held_out, expert) for expert in data.experts]
        scores = {one.expert: self._scores(held_out, one) for one in recorded}
        found = search_settings(recorded, scores, max_experts=self.max_experts, n_quantiles=self.n_quantiles)
        chosen = affordable(found, budget)
        self._take(chosen, _thinned(found, chosen), budget)
        self.data_hash_ = data.select(self.experts_).content_hash()
        mean_cost = dict(zip(data.experts, data.cost().mean(axis=0), strict=True))
        self.cost_ = np.array([mean_cost[expert] for expert in self.experts_])
        self.summary_ = {
            "scorer": self.scorer_.summary_,
            "search": {
                "prompts": int(searched.sum()),
                "quality": chosen.quality,
                "cost": chosen.cost,
                "experts": {
                    one.expert: {"quality": float(one.quality.mean()), "cost": float(one.cost.mean())}
                    for one in recorded
                },
            },
        }
        progress("searching orders and thresholds", 1.0)

    def _new_scorer(self) -> LearnedScorer | LikelihoodScorer:
        """An untrained scorer with those of the parameters that it takes."""
        given = {name: value for name, value in self.get_params().items() if name not in _OWN}
        if self.language_model is None:
            return LearnedScorer(**{name: value for name, value in given.items() if name not in _LANGUAGE_MODEL})
        if self.encoder is not None:
            raise ParameterError("A cascade has one scorer: give it an encoder or a language model, not both.")
        return LikelihoodScorer(**{name: value for name, value in given.items() if name not in _ENCODER})

    def _budget(self, data: RoutingData) -> float:
        if self.budget is not None:
            return self.budget
        return self.budget_share * float(data.cost().mean(axis=0).max())

    def _take(self, chosen: CascadeSetting, found: Sequence[CascadeSetting], budget: float) -> None:
        self.experts_, self.thresholds_ = chosen.order, chosen.thresholds
        self.settings_, self.budget_ = tuple(found), budget

    def _own(self) -> CascadeSetting:
        self.check_fitted()
        return next(s for s in self.settings_ if (s.order, s.thresholds) == (self.experts_, self.thresholds_))

    def _scores(self, data: RoutingData, recorded: Recorded) -> NDArray[np.float32]:
        """Scores of recorded answers, (n_rows,); equal answers to equal prompts are scored once."""
        texts = data.texts
        pairs = [(texts[place], answer) for place, answer in zip(recorded.prompt, recorded.answers, strict=True)]
        different = {pair: place for place, pair in enumerate(dict.fromkeys(pairs))}
        scores = self.score([prompt for prompt, _ in different], [answer for _, answer in different])
        return scores[[different[pair] for pair in pairs]]

    def _score(self, prompts: Sequence[str], answers: Sequence[str]) -> NDArray[np.float32]:
        return self.scorer_.score(prompts, answers)

    def state(self) -> RouterState:
        """What was learned, for saving."""
        inner = self.scorer_.state()
        calibration = {
            "thresholds": list(self.thresholds_),
            "cost": self.cost_.tolist(),
            "budget": self.budget_,
            "settings": _SETTINGS.dump_python(list(self.settings_), mode="json"),
            "scorer": inner.calibration,
        }
        return RouterState(inner.features, calibration, inner.tensors)

    def restore(self, state: RouterState) -> None:
        """Take what `state` gave.

        Raises:
            ArtifactError: something is missing, or of the wrong type or shape.
        """
        held, again = state.calibration, "train and save the judge again"
        try:
            found = _SETTINGS.validate_python(held.get("settings"))
        except ValidationError as error:
            said = error.errors()[0]["msg"]
            raise ArtifactError(f"The cascade's settings cannot be read ({said}): {again}.") from None
        own = (self.experts_, tuple(held.get("thresholds", ())))
        chosen = next((setting for setting in found if (setting.order, setting.thresholds) == own), None)
        if chosen is None or not all(len(setting.thresholds) == len(setting.order) - 1 for setting in found):
            raise ArtifactError(f"The cascade's order and thresholds do not fit together: {again}.")
        self.cost_ = np.array(held.get("cost"), dtype=np.float64)
        if self.cost_.shape != (len(self.experts_),) or not np.isfinite(self.cost_).all():
            raise ArtifactError(f"The cascade's experts and costs do not fit together: {again}.")
        self._take(chosen, found, state.number("budget"))
        inner = held.get("scorer")
        self.scorer_ = self._new_scorer()
        self.scorer_.restore(RouterState(state.features, inner if isinstance(inner, dict) else {}, state.tensors))
        self.scorer_.experts_, self.scorer_.data_hash_ = self.experts_, self.data_hash_
        self.scorer_.summary_ = self.summary_.get("scorer", {})


def _thinned(settings: list[CascadeSetting], chosen: CascadeSetting) -> list[CascadeSetting]:
    """At most so many of the settings, evenly along their cost, with the chosen one among them."""
    places = np.unique(np.linspace(0, len(settings) - 1, min(len(settings), _MOST_SETTINGS)).astype(np.int64))
    kept = {*places.tolist(), settings.index(chosen)}
    return [settings[place] for place in sorted(kept)]
