"""How well replicas followed a load: turns, lag, and what they cost, from series alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Bounds", "Following", "Lag", "Series", "follow", "held_s", "lag", "needed", "offered", "turns"]

FloatArray = NDArray[np.float64]
_EPS = 1e-9


@dataclass(frozen=True)
class Series:
    """Values that hold from their time until the next one's.

    Attributes:
        t_s: (n,) seconds from the start, ascending.
        values: (n,) of them.
    """

    t_s: FloatArray
    values: FloatArray

    @classmethod
    def of(cls, t_s: Sequence[float], values: Sequence[float]) -> Series:
        """From any sequences of numbers."""
        return cls(np.asarray(t_s, dtype=np.float64), np.asarray(values, dtype=np.float64))


@dataclass(frozen=True)
class Bounds:
    """What a pool is allowed.

    Attributes:
        least: replicas, at the fewest.
        most: likewise.
        target: requests of a replica that the autoscaler aims at.
        capacity: requests that a replica can run at a time.
        look_back_s: over which the autoscaler averages.
        hold_s: how long the load must need fewer replicas before one goes.
    """

    least: int
    most: int
    target: float
    capacity: float
    look_back_s: float
    hold_s: float


@dataclass(frozen=True)
class Lag:
    """How long after the load the replicas were there, or still there.

    A level is a number of replicas above the least, that the load came to need.

    Attributes:
        up_s: of each level: from when the load first needed so many replicas until so many ran; 0 if they ran before.
        down_s: of each level: from when the load last needed so many until fewer were wanted. Levels that were still
            wanted at the end are left out.
        never: levels that were needed, and never ran.
    """

    up_s: tuple[float, ...]
    down_s: tuple[float, ...]
    never: int


@dataclass(frozen=True)
class Following:
    """How one pool of replicas followed its load.

    Attributes:
        turns: changes of direction of the wanted number of replicas.
        load_turns: likewise, of the replicas that the load by itself needs (`needed`).
        lag: see there.
        least: replicas that ran, at the fewest.
        most: likewise.
        held_s: replica-seconds that the pool took, from a replica's start to its end.
        fixed_s: replica-seconds that a pool of the most replicas allowed would have taken.
        short_s: seconds in which the running replicas could not have run all of the load at once.
    """

    turns: int
    load_turns: int
    lag: Lag
    least: int
    most: int
    held_s: float
    fixed_s: float
    short_s: float

    @property
    def excess_turns(self) -> int:
        """Changes of direction that the load does not explain: oscillation."""
        return max(0, self.turns - self.load_turns)

    @property
    def saved(self) -> float:
        """Share of the fixed pool's replica-seconds that were not taken."""
        return 1.0 - self.held_s / self.fixed_s


def turns(values: Sequence[float] | FloatArray, least: float = 1.0) -> int:
    """Changes of direction, where a swing counts if it goes at least so far.

    Climbing to a top and going down by `least` is one turn; climbing again by as much from the bottom is another one.
    Smaller movements are none.

    Args:
        values: in the order of time.
        least: the smallest swing.
    """
    found, direction = 0, 0
    low = high = float(values[0]) if len(values) else 0.0
    for value in map(float, values):
        low, high = min(low, value), max(high, value)
        if direction >= 0 and high - value >= least - _EPS:
            found += direction > 0
            direction, low, high = -1, value, value
        elif direction <= 0 and value - low >= least - _EPS:
            found += direction < 0
            direction, low, high = 1, value, value
    return found


def offered(sent_s: FloatArray, alone_s: float, *, seconds: float, window_s: float) -> Series:
    """Requests that would be under way if nobody had to wait, once a second.

    What really is under way also has those that wait for want of replicas, so it would call for replicas that only
    lateness made necessary.

    Args:
        sent_s: (n,) when each request was sent.
        alone_s: how long an answer takes where nothing waits.
        seconds: the whole time.
        window_s: over which they are averaged, the moment itself in its middle.
    """
    t_s: FloatArray = np.arange(1.0, math.floor(seconds) + 1.0, dtype=np.float64)
    sent = np.sort(sent_s)
    under_way = np.searchsorted(sent, t_s, side="right") - np.searchsorted(sent, t_s - alone_s, side="right")
    sums = np.concatenate([[0.0], np.cumsum(under_way, dtype=np.float64)])
    first = np.searchsorted(t_s, t_s - window_s / 2)
    last = np.searchsorted(t_s, t_s + window_s / 2, side="right")
    return Series(t_s, (sums[last] - sums[first]) / (last - first))


def needed(load: Series, target: float, *, bounds: tuple[int, int], hold_s: float) -> Series:
    """Replicas that an autoscaler would want that sees the load itself, at once, and holds each number for a time.

    Args:
        load: requests under way.
        target: of them a replica.
        bounds: the fewest and the most replicas allowed.
        hold_s: how long the load must need fewer before there are fewer.
    """
    first = np.searchsorted(load.t_s, load.t_s - hold_s)
    most = [load.values[from_ : until + 1].max() for until, from_ in enumerate(first)]
    return Series(load.t_s, np.clip(np.ceil(np.array(most) / target - _EPS), *bounds))


def lag(load: Series, running: Series, wanted: Series, *, least: int, most: int) -> Lag:
    """How long replicas came and went after the load.

    Args:
        load: replicas that it needs, in fractions.
        running: replicas that run.
        wanted: replicas that the autoscaler wants.
        least: replicas that always run.
        most: replicas that may run; of a load that needs more, more cannot be asked.
    """
    up, down, never = [], [], 0
    for level in range(least + 1, min(most, math.ceil(load.values.max(initial=0.0) - _EPS)) + 1):
        needs = load.t_s[np.ceil(load.values - _EPS) >= level]
        runs = running.t_s[running.values >= level]
        if not len(runs):
            never += 1
            continue
        up.append(max(0.0, float(runs[0] - needs[0])))
        wants = np.flatnonzero(wanted.values >= level)
        if len(wants) and wants[-1] + 1 < len(wanted.t_s):
            down.append(max(0.0, float(wanted.t_s[wants[-1] + 1] - needs[-1])))
    return Lag(tuple(up), tuple(down), never)


def held_s(held: Series, seconds: float) -> float:
    """Replica-seconds from the start to the end; before the first value as many were held as then."""
    if not len(held.t_s):
        return 0.0
    edges = np.clip(np.concatenate([[0.0], held.t_s[1:], [seconds]]), 0.0, seconds)
    return float(np.sum(np.diff(edges) * held.values))


def follow(load: Series, running: Series, wanted: Series, held: Series, pool: Bounds) -> Following:
    """Judge one pool.

    Args:
        load: requests under way, as `offered` has them.
        running: replicas that run.
        wanted: replicas that the autoscaler wants.
        held: replicas that exist, those that start or drain included.
        pool: what it is allowed.
    """
    seconds = float(load.t_s[-1]) if len(load.t_s) else 0.0
    places = np.clip(np.searchsorted(running.t_s, load.t_s, side="right") - 1, 0, None)
    runs = running.values[places] if len(running.values) else np.zeros_like(load.values)
    ideal = needed(load, pool.target, bounds=(pool.least, pool.most), hold_s=pool.hold_s)
    return Following(
        turns=turns(wanted.values),
        load_turns=turns(ideal.values),
        lag=lag(Series(load.t_s, load.values / pool.target), running, wanted, least=max(1, pool.least), most=pool.most),
        least=int(running.values.min(initial=pool.most)),
        most=int(running.values.max(initial=0)),
        held_s=held_s(held, seconds),
        fixed_s=pool.most * seconds,
        short_s=float(np.sum(load.values > runs * pool.capacity + _EPS)),
    )
