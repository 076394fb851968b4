"""LLM-Blender's PairRanker (arXiv 2306.02561): which of two answers to a question is better?"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from routers.answers.comparisons import Comparisons
from routers.answers.pairs import Pairs, held_out_texts
from routers.answers.reading import ReadingJudge, logits
from routers.answers.tournament import Game, bubble, max_logits, max_wins
from routers.base import Progress, RouterState
from routers.errors import DataError
from routers.features import FeatureSpec, Rows, beside, minus
from routers.learning.heads import ProbabilityHead
from routers.neural.parameters import BatchSize, Checkpoint, Epochs, HeldOut, LearningRate, MaxTokens, Patience, Seed

if TYPE_CHECKING:
    from routers.data import RoutingData

__all__ = ["PairRanker"]

FloatArray = NDArray[np.float64]
Compared = tuple[str, str, str]
"""A prompt, and the two answers in the order in which they are read."""

_FEWEST_TEXTS = 20


class PairRanker(ReadingJudge):
    """Ranks answers to a question by comparing them two by two, learned from recorded answers and their qualities.

    As in the paper one encoder reads the question and both answers at once, so that it can hold them against each
    other, and says of each of the two whether it is the better one: s_ij is the difference of both logits. Or, which
    takes well under a millisecond a comparison, a head reads features of the question beside the difference of the
    answers' features: an MLP, since whether a difference is for the better depends on the question.

    Training: some pairs of different answers to each question, each in both orders. Of a tie the paper says that the
    answer which is read first is better; in both orders that is a label of 1/2, which is what we learn from, but only
    of few ties, since answers that are right or wrong tie much more often than BARTScores do.

    Inference, `full`: all N (N - 1) ordered pairs are read, and aggregated by `max-logits` (the lead over the others,
    the paper's best) or `max-wins` (the share of comparisons won). `bubble`: the best so far meets each next answer,
    in both orders: 2 (N - 1) readings, which find the winner only. Both parameters of inference may be changed on a
    trained ranker, by `set_params`. Equal answers are compared as one and get the same score.

    What the scores of `rank` mean: with `max-logits`, half the log-odds of being better, in both orders together, mean
    over the others (0: neither better nor worse); with `max-wins` a share in [0, 1]; with `bubble` 0 for the winner,
    and below 0 for each other answer by the leads of those that beat it, which says little of how the losers rank.

    What differs from the paper: the two logits come from the library's classification head on the first token instead
    of the tokens that stand before each text, there is one measure of quality, and pairs are drawn as two recorded
    answers would meet.

    Args:
        inference: "full" or "bubble".
        aggregation: of "full": "max-logits" or "max-wins".
        most_pairs: most comparisons of one question to learn from (the paper takes 5).
        ties: comparisons of equally good answers to learn from, as a share of all others.
        features: which features the head reads, of the question and of the answers alike.
        head: "mlp" (needs torch) or "linear", which cannot see what a difference means for a question.
        hidden: hidden units of the MLP.
        max_epochs: most passes of the MLP over the comparisons.
        C: inverse strength of the linear head's L2 penalty.
        folds: parts for the head's own calibration and early stopping.
        encoder: folder or hub's name of an encoder to fine-tune instead of a head, safetensors weights only; None: the
            head on features.
        encoder_max_tokens: most tokens of question and answers together; the first and the last part of longer ones.
        encoder_epochs: most passes over the comparisons, in both orders.
        encoder_batch_size: readings of one step.
        encoder_learning_rate: peak of its learning rate.
        encoder_patience: epochs without improvement after which its training stops.
        held_out: share of the questions that is held out, to pick the encoder's best epoch and to tell how many
            comparisons are decided rightly. With fewer than 20 questions nothing is.
        seed: of pairs, held-out questions, folds, initial weights, shuffles and dropout.
    """

    name: ClassVar[str] = "pair-ranker"
    paper: ClassVar[str] = "LLM-Blender, arXiv 2306.02561"
    describes: ClassVar[str] = "Which of several answers is best, from comparing them two by two."
    needs: ClassVar[tuple[str, ...]] = ("torch",)

    encoder_outputs: ClassVar[int] = 2

    def __init__(
        self,
        *,
        inference: Literal["full", "bubble"] = "full",
        aggregation: Literal["max-logits", "max-wins"] = "max-logits",
        most_pairs: Annotated[int, Field(ge=1, le=10_000)] = 5,
        ties: Annotated[float, Field(ge=0, le=1)] = 0.1,
        features: FeatureSpec = "tfidf",
        head: Literal["linear", "mlp"] = "mlp",
        hidden: Annotated[int, Field(ge=1, le=4096)] = 64,
        max_epochs: Annotated[int, Field(ge=1, le=10_000)] = 20,
        C: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 3.0,
        folds: Annotated[int, Field(ge=2, le=20)] = 3,
        encoder: Checkpoint | None = None,
        encoder_max_tokens: MaxTokens = 512,
        encoder_epochs: Epochs = 4,
        encoder_batch_size: BatchSize = 32,
        encoder_learning_rate: LearningRate = 5e-5,
        encoder_patience: Patience = 2,
        held_out: HeldOut = 0.1,
        seed: Seed = 0,
    ) -> None:
        self.inference = inference
        self.aggregation = aggregation
        self.most_pairs = most_pairs
        self.ties = ties
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

    def _fit(self, data: RoutingData, progress: Progress) -> None:
        compared = Comparisons.of(Pairs.of(data), self.most_pairs, self.ties, self.seed)
        if not len(compared):
            raise DataError(
                "No question has two answers of which one is better, so there is nothing to compare: label prompts "
                "with several experts, or with several samples."
            )
        n_texts = int(compared.text.max()) + 1
        held = held_out_texts(compared.text, self.held_out if n_texts >= _FEWEST_TEXTS else 0.0, self.seed)
        happened: dict[str, Any] = {}
        if self.encoder is None:
            self._fit_head(compared.part(~held).both_orders(), progress)
        else:
            happened = self._fit_reader(compared.both_orders(), np.repeat(held, 2), progress)
        if held.any():
            progress("judging held-out questions", 1.0)
            happened["held_out_accuracy"] = self._accuracy(compared.part(held))
        self.summary_ = {"comparisons": len(compared), "questions": n_texts, **happened}

    def _fit_head(self, compared: Comparisons, progress: Progress) -> None:
        progress("features", 0.0)
        answers = list(dict.fromkeys([*compared.first, *compared.second]))
        self._learn_features(list(dict.fromkeys(compared.prompts)), answers)
        rows, better = self._rows(_games(compared)), compared.better[:, None]
        self.head_ = ProbabilityHead().fit(rows, better, self._head_settings(), progress, groups=compared.text)

    def _fit_reader(self, compared: Comparisons, held: NDArray[np.bool_], progress: Progress) -> dict[str, Any]:
        targets = np.column_stack([compared.better, 1 - compared.better])
        return self._fit_encoder(_games(compared), targets, np.flatnonzero(held).tolist(), progress)

    def _accuracy(self, compared: Comparisons) -> float | None:
        """Share of the comparisons with a better answer in which it leads, both orders considered."""
        decided = compared.part(compared.better != 0.5)
        if not len(decided):
            return None
        lead = self._leads(_games(decided))
        return round(float(((lead > 0) == (decided.better > 0.5)).mean()), 4)

    def _rank(self, prompts: Sequence[str], candidates: Sequence[Sequence[str]]) -> list[NDArray[np.float32]]:
        distinct = [list(dict.fromkeys(answers)) for answers in candidates]
        scores = self._bubble(prompts, distinct) if self.inference == "bubble" else self._full(prompts, distinct)
        ranked = []
        for answers, own, score in zip(candidates, distinct, scores, strict=True):
            place = {answer: number for number, answer in enumerate(own)}
            ranked.append(score[[place[answer] for answer in answers]].astype(np.float32))
        return ranked

    def _full(self, prompts: Sequence[str], candidates: Sequence[Sequence[str]]) -> list[FloatArray]:
        aggregate = max_wins if self.aggregation == "max-wins" else max_logits
        games = [
            (prompt, *two) for prompt, own in zip(prompts, candidates, strict=True) for two in permutations(own, 2)
        ]
        leads, scores, start = self._read(games), [], 0
        for own in candidates:
            matrix = np.zeros((len(own), len(own)))
            end = start + len(own) * (len(own) - 1)
            matrix[~np.eye(len(own), dtype=bool)] = leads[start:end]
            scores.append(aggregate(matrix))
            start = end
        return scores

    def _bubble(self, prompts: Sequence[str], candidates: Sequence[Sequence[str]]) -> list[FloatArray]:
        def leads(games: list[Game]) -> FloatArray:
            return self._leads([(prompts[row], candidates[row][one], candidates[row][two]) for row, one, two in games])

        return bubble([len(own) for own in candidates], leads)

    def _leads(self, games: Sequence[Compared]) -> FloatArray:
        """By how much the first answer of each game leads the second, (n,), mean of both orders."""
        turned = [(prompt, second, first) for prompt, first, second in games]
        both = self._read([*games, *turned]).reshape(2, -1)
        lead: FloatArray = (both[0] - both[1]) / 2
        return lead

    def _read(self, games: Sequence[Compared]) -> FloatArray:
        """s_ij of each game, (n,): by how much the answer that is read first leads. Equal games are read once."""
        place = {game: number for number, game in enumerate(dict.fromkeys(games))}
        if not place:
            return np.zeros(0)
        if self.encoder is None:
            found = logits(self.head_.predict(self._rows(list(place)))[:, 0])
        else:
            both = logits(self.reader_.predict(list(place)))
            found = both[:, 0] - both[:, 1]
        return found[[place[game] for game in games]]

    def _rows(self, games: Sequence[Compared]) -> Rows:
        """Features of the question beside those of the first answer less those of the second."""
        prompts = {game[0]: 0 for game in games}
        answers = {answer: 0 for game in games for answer in game[1:]}
        for texts in (prompts, answers):
            texts.update(zip(texts, range(len(texts)), strict=True))
        questions, rows = self.question_.transform(list(prompts)), self.answer_.transform(list(answers))
        difference = minus(rows[[answers[one] for _, one, _ in games]], rows[[answers[two] for _, _, two in games]])
        return beside(questions[[prompts[prompt] for prompt, _, _ in games]], difference)

    def state(self) -> RouterState:
        """What was learned, for saving."""
        return self._state({})


def _games(compared: Comparisons) -> list[Compared]:
    return list(zip(compared.prompts, compared.first, compared.second, strict=True))
