"""Arms: several answers asked for at once, of which a judge picks one, as if they were an expert of their own.

Best of n (BEST-Route, arXiv 2506.22716) asks one expert n times, a blend (LLM-Blender, arXiv 2306.02561) several
experts once each. What either would have given is drawn from recorded samples and becomes rows of routing data, so that
routers can learn to choose arms beside experts, and an evaluation shows them in the same picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import combinations, product
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from routers.answers.base import AnswerJudge, check_answered
from routers.answers.replay import Replay
from routers.base import Progress, no_progress
from routers.data import RoutingData
from routers.errors import DataError, ParameterError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Arms", "parse_arms", "replay_arm", "with_arms"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

Arms = Mapping[str, Mapping[str, int]]
"""By name of the arm, how many answers of which expert it asks for."""

_PROMPTS_AT_ONCE = 100
_EXACT = 1e-4


def parse_arms(texts: Sequence[str]) -> dict[str, dict[str, int]]:
    """Arms from texts like `small-x4=small:4` (best of four) and `blend=letters,large` (one answer of each).

    Raises:
        ParameterError: a text is not of that form, or a name comes twice.
    """
    arms: dict[str, dict[str, int]] = {}
    for text in texts:
        name, _, asked = (part.strip() for part in text.partition("="))
        parts = [_ask(part.strip()) for part in asked.split(",")]
        if not name or not all(expert and n > 0 for expert, n in parts) or len(dict(parts)) != len(parts):
            raise ParameterError(
                f"The arm {text!r} is not of the form name=expert:4 (best of four) or name=expert,expert (a blend)."
            )
        if name in arms:
            raise ParameterError(f"The arm {name!r} is given twice: name each once.")
        arms[name] = dict(parts)
    return arms


def _ask(text: str) -> tuple[str, int]:
    """Expert and number of answers; 0 where the number is none."""
    expert, colon, n = text.rpartition(":")
    if not colon:
        return text, 1
    return expert, int(n) if n.isdecimal() else 0


def with_arms(
    data: RoutingData,
    arms: Arms,
    judge: AnswerJudge,
    *,
    draws: int = 10,
    seed: int = 0,
    progress: Progress | None = None,
) -> RoutingData:
    """The data with the arms as further experts, one row for each time that an arm is drawn.

    A draw takes as many different recorded samples of each expert as the arm asks for. Where there are no more than
    `draws` ways to do so all of them are taken, which makes the mean exact; otherwise so many different ones at random.
    Which, follows from the seed and the prompt's id alone. The row is that of the answer which the judge puts first,
    but for its cost and tokens, which are those of all answers: of one expert's, which are n choices of one request,
    the input once; of several experts', each one's. Latency is that of the slowest.

    What an expert charges for input is read off its rows, where cost is a sum of prices times tokens. Where it is not,
    or cannot be told because all rows have as many tokens, every answer is charged in full.

    A judge that has learned from these very answers picks better than it would among others: derive arms from data that
    it has not seen.

    Args:
        data: recorded answers, with `response`.
        arms: what to ask for.
        judge: picks among the answers; of equal scores the first, in the order of the arm's experts and of samples.
        draws: most draws of one prompt.
        seed: of the draws.
        progress: told of every hundred prompts.

    Raises:
        ParameterError: an arm has the name of an expert, or asks for fewer than two answers.
        DataError: the data lacks an expert or a response, or a prompt has fewer samples than an arm asks for.
        NotFittedError: the judge has not been trained.
    """
    import pandas as pd

    _check(arms, data, judge, draws)
    tell = progress or no_progress
    frame, parts = data.frame, [data.frame]
    for number, (name, asks) in enumerate(arms.items()):
        taken = _taken(data, name, asks, draws, seed)

        def told(share: float, number: int = number, name: str = name) -> None:
            tell(f"asking for {name}", (number + share) / len(arms))

        parts.append(_rows(frame, taken, asks, _picked(frame, taken, judge, told)).assign(expert=name))
    return RoutingData(pd.concat(parts, ignore_index=True)).select([*data.experts, *arms])


def replay_arm(
    data: RoutingData,
    name: str,
    asks: Mapping[str, int],
    judge: AnswerJudge,
    *,
    draws: int = 10,
    seed: int = 0,
    progress: Progress | None = None,
) -> Replay:
    """What asking for these answers would have given for each prompt, as the other plans' replays say it.

    Arguments and errors are those of `with_arms`; `name` is what errors and the progress call it.
    """
    _check({name: asks}, data, judge, draws)
    tell = progress or no_progress
    frame, taken = data.frame, _taken(data, name, asks, draws, seed)
    picked = _picked(frame, taken, judge, lambda share: tell(f"asking for {name}", share))
    rows = _rows(frame, taken, asks, picked)
    prompt = np.repeat(np.arange(len(taken)), [len(of_prompt) for of_prompt in taken])
    counts = np.bincount(prompt)

    def mean(values: Any) -> FloatArray:
        return np.bincount(prompt, weights=np.asarray(values, dtype=np.float64)) / counts

    given = frame["expert"].to_numpy()[picked]
    return Replay(
        experts=data.experts,
        quality=mean(rows["quality"]),
        cost=mean(rows["cost"]),
        tokens=mean(rows["input_tokens"] + rows["output_tokens"]),
        share=np.column_stack([mean(given == expert) for expert in data.experts]),
        attempts=np.full(len(taken), float(sum(asks.values()))),
    )


def _check(arms: Arms, data: RoutingData, judge: AnswerJudge, draws: int) -> None:
    judge.check_fitted()
    check_answered(data)
    if draws < 1:
        raise ParameterError(f"{draws} draws say nothing of an arm: take 1 or more.")
    for name, asks in arms.items():
        if name in data.experts:
            raise ParameterError(f"The arm {name!r} has the name of an expert: give it another one.")
        for expert in asks:
            if expert not in data.experts:
                there = ", ".join(data.experts)
                raise DataError(f"The arm {name!r} asks {expert!r}, which the data does not have: it has {there}.")
        if any(n < 1 for n in asks.values()) or sum(asks.values()) < 2:
            raise ParameterError(f"The arm {name!r} asks for fewer than two answers, so there is nothing to pick from.")


def _taken(data: RoutingData, name: str, asks: Mapping[str, int], draws: int, seed: int) -> list[IntArray]:
    """Of every prompt that any expert has answered, the places of the rows of each draw: (n_draws, n_answers)."""
    places = {expert: _places(data.frame, expert) for expert in asks}
    none = np.zeros(0, dtype=np.int64)
    taken = []
    for prompt_id in data.prompts["prompt_id"]:
        pools = [places[expert].get(prompt_id, none) for expert in asks]
        for (expert, n), pool in zip(asks.items(), pools, strict=True):
            if len(pool) < n:
                raise DataError(
                    f"Prompt {prompt_id!r} has {len(pool)} samples of expert {expert!r}, but the arm {name!r} asks for "
                    f"{n}: label it with {n} samples or more, or ask for fewer."
                )
        taken.append(np.array(list(_drawn(pools, list(asks.values()), draws, seed, prompt_id)), dtype=np.int64))
    return taken


def _places(frame: pd.DataFrame, expert: str) -> dict[str, IntArray]:
    """Places of an expert's rows by prompt, in the order of their samples."""
    rows = np.flatnonzero(frame["expert"] == expert)
    rows = rows[np.argsort(frame["sample"].to_numpy()[rows], kind="stable")]
    found = frame.iloc[rows].groupby("prompt_id", sort=False).indices
    return {str(prompt_id): rows[mine] for prompt_id, mine in found.items()}


def _drawn(
    pools: Sequence[IntArray], counts: Sequence[int], draws: int, seed: int, prompt_id: str
) -> Iterator[tuple[int, ...]]:
    """Different ways to take so many of each pool: all of them where there are few, else so many at random."""
    n_ways = math.prod(math.comb(len(pool), n) for pool, n in zip(pools, counts, strict=True))
    if n_ways <= draws:
        ways = product(*(combinations(pool, n) for pool, n in zip(pools, counts, strict=True)))
        yield from (tuple(int(place) for part in way for place in part) for way in ways)
        return
    number = int.from_bytes(sha256(prompt_id.encode(errors="surrogatepass")).digest()[:8], "big")
    rng = np.random.default_rng([seed, number])
    found: set[tuple[int, ...]] = set()
    while len(found) < draws:
        way = [np.sort(rng.permutation(len(pool))[:n]) for pool, n in zip(pools, counts, strict=True)]
        one = tuple(int(pool[place]) for pool, part in zip(pools, way, strict=True) for place in part)
        if one not in found:
            found.add(one)
            yield one


def _picked(
    frame: pd.DataFrame, taken: Sequence[IntArray], judge: AnswerJudge, told: Callable[[float], None]
) -> IntArray:
    """The place of the row that the judge puts first in each draw, all prompts' draws one after the other."""
    prompt, response = frame["prompt"].to_numpy(), frame["response"].to_numpy()
    picked = []
    for start in range(0, len(taken), _PROMPTS_AT_ONCE):
        told(start / len(taken))
        draws = [draw for of_prompt in taken[start : start + _PROMPTS_AT_ONCE] for draw in of_prompt]
        scores = judge.rank([prompt[draw[0]] for draw in draws], [response[draw].tolist() for draw in draws])
        picked += [draw[int(score.argmax())] for draw, score in zip(draws, scores, strict=True)]
    told(1.0)
    return np.array(picked, dtype=np.int64)


def _rows(frame: pd.DataFrame, taken: Sequence[IntArray], asks: Mapping[str, int], picked: IntArray) -> pd.DataFrame:
    """The rows of the picked answers, with the cost, tokens and latency of all, numbered by draw."""
    places = np.concatenate(taken)
    tokens_in, tokens_out, cost = (frame[c].to_numpy() for c in ("input_tokens", "output_tokens", "cost"))
    read, paid, start = np.zeros(len(places), dtype=np.int64), np.zeros(len(places)), 0
    for expert, n in asks.items():
        mine = places[:, start : start + n]
        once = tokens_in[mine].max(axis=1)
        read += once
        paid += cost[mine].sum(axis=1) - _input_price(frame, expert) * (tokens_in[mine].sum(axis=1) - once)
        start += n
    return frame.iloc[picked].assign(
        sample=np.concatenate([np.arange(len(draws)) for draws in taken]),
        input_tokens=read,
        output_tokens=tokens_out[places].sum(axis=1),
        cost=np.maximum(paid, 0.0),
        latency_s=frame["latency_s"].to_numpy()[places].max(axis=1),
    )


def _input_price(frame: pd.DataFrame, expert: str) -> float:
    """What one input token costs with this expert, in the currency of the data; 0 where that cannot be told."""
    from scipy.optimize import nnls

    mine = frame[frame["expert"] == expert]
    tokens = mine[["input_tokens", "output_tokens"]].to_numpy(dtype=np.float64)
    cost = mine["cost"].to_numpy(dtype=np.float64)
    if np.linalg.matrix_rank(tokens) < tokens.shape[1] or not cost.any():
        return 0.0
    prices, _ = nnls(tokens, cost / cost.max())
    off = np.abs(tokens @ prices - cost / cost.max()).max()
    return float(prices[0] * cost.max()) if off <= _EXACT else 0.0
