"""All that a load test is told, and how it reaches the processes that make the load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from loadtests.address import Address, address_of
from loadtests.errors import LoadTestError
from loadtests.prompts import MIXES
from loadtests.shapes import SHAPES, STEPS, Stage, stages
from loadtests.traces import TRACES

__all__ = ["PAGE", "THINKING", "Scenario"]

PAGE = "page"
"""The shape that leaves the number of users to Locust's own page or options."""
THINKING = ("exponential", "azure")
_LONGEST_S = 24 * 3600


@dataclass(frozen=True)
class Scenario:
    """One load test.

    Attributes:
        url: the endpoint's base URL, ending in ``/v1``.
        model: the requests' ``model``.
        shape: one of `SHAPES` (users who wait for their answers), of `TRACES` (arrivals that do not wait), or `PAGE`.
        users: of the shapes `constant` and `spike`.
        steps: users of each step of the shape `steps`.
        seconds: how long all of it takes.
        rate: requests a second of a trace; None as `loadtests.traces.arrivals` has it.
        mix: what is asked; one of `MIXES`. A trace with token counts sends documents instead.
        stream: ask for server-sent events.
        max_tokens: the most output tokens; a trace with token counts has its own.
        fixed_length: ask for exactly as many (``ignore_eos``), which vLLM and simulated experts honour.
        prompt_tokens: about how long documents are; of a trace, at most.
        think_s: mean seconds between a user's answer and next question.
        thinking: how these are distributed: exponential, or as the gaps in Azure's conversations.
        spawn_rate: users that come or go a second.
        settle_s: of each stage, after its users have come, that its figures leave out; at most half of a stage is.
        timeout_s: the longest that one request may take.
        most_requests: the load ends after as many.
        most_open: requests of a trace that may be under way at a time; more wait, and count as late.
        processes: that make the load.
        data: folder of the public data.
        seed: of everything random.
        anywhere: whether another machine may be loaded.
    """

    url: str = "http://127.0.0.1:8000/v1"
    model: str = "auto"
    shape: str = PAGE
    users: int = 100
    steps: tuple[int, ...] = STEPS
    seconds: float = 60.0
    rate: float | None = None
    mix: str = "exam"
    stream: bool = True
    max_tokens: int = 64
    fixed_length: bool = False
    prompt_tokens: int = 1000
    think_s: float = 0.0
    thinking: str = "exponential"
    spawn_rate: float = 100.0
    settle_s: float = 1.0
    timeout_s: float = 60.0
    most_requests: int = 1_000_000
    most_open: int = 1000
    processes: int = 1
    data: Path = Path("../shared/data")
    seed: int = 0
    anywhere: bool = False

    def __post_init__(self) -> None:
        _one_of("--shape", self.shape, (*SHAPES, *TRACES, PAGE))
        _one_of("--mix", self.mix, MIXES)
        _one_of("--thinking", self.thinking, THINKING)
        if not 0 < self.seconds <= _LONGEST_S:
            raise LoadTestError(
                f"--seconds is {self.seconds:g}: give a time above 0, at most {_LONGEST_S:,} s (a day)."
            )
        if not self.steps or min(self.steps) < 1:
            raise LoadTestError("--steps: give whole numbers above 0, separated by commas, as 1,10,100.")

    @property
    def address(self) -> Address:
        """Where the load goes.

        Raises:
            LoadTestError: the URL is none, or of another machine without leave.
        """
        return address_of(self.url, anywhere=self.anywhere)

    @property
    def is_trace(self) -> bool:
        """Whether requests arrive by a trace, whatever the endpoint does."""
        return self.shape in TRACES

    @property
    def most_users(self) -> int:
        """Users at the top of the shape; of a trace one a process, who sends for all."""
        return self.processes if self.is_trace else max(stage.users for stage in self.stages)

    @property
    def stages(self) -> list[Stage]:
        """The users over time; a trace has a single stage."""
        if self.is_trace:
            return stages("constant", users=self.processes, seconds=self.seconds)
        shape = "constant" if self.shape == PAGE else self.shape
        return stages(shape, users=self.users, seconds=self.seconds, steps=self.steps)

    def options(self) -> list[str]:
        """Options of the locustfile that say the same."""
        found = []
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and value != field.default:
                found.append(f"--load-{field.name.replace('_', '-')}={_as_text(value)}")
        return found

    @classmethod
    def parse(cls, values: dict[str, Any]) -> Scenario:
        """From the values of the locustfile's options: texts, or values of their own types.

        Raises:
            LoadTestError: a value cannot be used.
        """
        given: dict[str, Any] = {}
        for field in fields(cls):
            value = values.get(f"load_{field.name}")
            if value is not None and value != "":
                given[field.name] = _from_text(field.name, str(value))
        return cls(**given)

    @classmethod
    def defaults(cls) -> dict[str, str]:
        """Every option of the locustfile with its default value."""
        return {field.name: "" if field.default is None else _as_text(field.default) for field in fields(cls)}


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _from_text(name: str, text: str) -> Any:
    default: Any = {field.name: field.default for field in fields(Scenario)}[name]
    try:
        if isinstance(default, bool):
            return {"yes": True, "true": True, "no": False, "false": False}[text.lower()]
        if isinstance(default, tuple):
            return tuple(int(part) for part in text.split(","))
        return (float if default is None else type(default))(text)
    except (KeyError, ValueError):
        raise LoadTestError(f"{name.replace('_', '-')} cannot be {text!r}: give a value like {default!r}.") from None


def _one_of(option: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise LoadTestError(f"{option} {value!r} is unknown: use one of {', '.join(known)}.")
