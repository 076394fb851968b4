"""From measured points of a real engine to a timing model that gives the same ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deployments.experts.simulation.engine import Engine
from deployments.experts.simulation.timing import Capacity, Timing
from deployments.experts.simulation.virtual import Stepping, closed_loop
from routers.errors import DataError

__all__ = ["QUANTITIES", "Measured", "fit_timing", "observe", "simulate"]

QUANTITIES = ("requests_per_s", "first_token_s", "token_interval_s")
_FREE = ("step_s", "token_s", "sequence_s", "request_s")
_START_S = {"step_s": 5e-3, "token_s": 3e-5, "sequence_s": 1e-4, "request_s": 1e-3}
# A term that reaches this does nothing.
_LEAST_S, _MOST_S = 1e-9, 10.0
_FEWEST_ANSWERS = 32
_ANSWERS_EACH, _WARMUP_EACH = 4, 1


@dataclass(frozen=True, slots=True)
class Measured:
    """A closed loop of users on an engine, measured or simulated; times are medians.

    Attributes:
        users: requests under way at any time.
        prompt_tokens: of every prompt.
        output_tokens: of every answer.
        requests_per_s: answers a second.
        first_token_s: from asking to the first token.
        token_interval_s: from a token to the next one of the same answer.
    """

    users: int
    prompt_tokens: int
    output_tokens: int
    requests_per_s: float
    first_token_s: float
    token_interval_s: float

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Measured:
        """From a JSON object.

        Raises:
            DataError: a value is missing, or not a number above 0.
        """
        try:
            values = {name: float(record[name]) for name in cls.__dataclass_fields__}
        except (KeyError, TypeError, ValueError):
            values = {}
        if not values or min(values.values()) <= 0:
            raise DataError(f"A measured point needs {', '.join(cls.__dataclass_fields__)}, each a number above 0.")
        users, prompt_tokens, output_tokens = (round(values.pop(name)) for name in list(values)[:3])
        return cls(users, prompt_tokens, output_tokens, *values.values())

    def as_json(self) -> dict[str, float]:
        """The same as a JSON object."""
        return asdict(self)


def observe(engine: Stepping, *, users: int, prompt_tokens: int, output_tokens: int) -> Measured:
    """What a closed loop of users sees of an engine, simulated or real, on the engine's own clock."""
    seen = closed_loop(
        engine,
        users=users,
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        answers_each=max(_ANSWERS_EACH, math.ceil(_FEWEST_ANSWERS / users)),
        warmup_each=_WARMUP_EACH,
    )
    between_s = (seen.latency_s - seen.first_token_s) / max(1, output_tokens - 1)
    return Measured(
        users=users,
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        requests_per_s=seen.requests_per_s,
        first_token_s=float(np.median(seen.first_token_s)),
        token_interval_s=float(np.median(between_s)),
    )


def simulate(timing: Timing, capacity: Capacity, point: Measured) -> Measured:
    """What the model gives where `point` was measured."""
    engine = Engine(timing, capacity)
    return observe(engine, users=point.users, prompt_tokens=point.prompt_tokens, output_tokens=point.output_tokens)


def fit_timing(points: Sequence[Measured], capacity: Capacity) -> Timing:
    """The timing whose simulation is nearest to measured points, by the logarithms of all `QUANTITIES`.

    Fitted are `step_s`, `token_s`, `sequence_s` and `request_s`. `weights_s` cannot be told from `step_s` below the
    batch at which computing takes longer than reading, and `context_token_s` needs long contexts: both stay 0.

    Args:
        points: at least three; of one user and of many, with short and with long prompts and answers.
        capacity: the measured engine's.

    Raises:
        DataError: there are fewer than three points.
    """
    from scipy.optimize import least_squares

    if len(points) < 3:
        raise DataError(f"{len(points)} measured points are too few for a timing model: give at least three.")
    wanted = np.log([[getattr(point, name) for name in QUANTITIES] for point in points])

    def off(logs: NDArray[np.float64]) -> NDArray[np.float64]:
        timing = _timing(logs)
        given = [simulate(timing, capacity, point) for point in points]
        differences = np.log([[getattr(point, name) for name in QUANTITIES] for point in given]) - wanted
        flat: NDArray[np.float64] = differences.ravel()
        return flat

    found = least_squares(
        off,
        np.log([_START_S[name] for name in _FREE]),
        bounds=(math.log(_LEAST_S), math.log(_MOST_S)),
        # Medians of a simulation move in small jumps, which a smaller difference would not see.
        diff_step=0.02,
        loss="soft_l1",
        f_scale=0.1,
        max_nfev=60,
    )
    return _timing(found.x)


def _timing(logs: NDArray[np.float64]) -> Timing:
    values = {name: float(math.exp(log)) for name, log in zip(_FREE, logs, strict=True)}
    return Timing(**{name: value if value > 2 * _LEAST_S else 0.0 for name, value in values.items()})
