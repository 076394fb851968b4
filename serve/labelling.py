"""Routing data from a running endpoint: every prompt, every expert, several samples, graded by its known answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import orjson
import pandas as pd
from openai.types.chat import ChatCompletion
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from routers import DataError, ParameterError, RoutingData

__all__ = ["GRADERS", "AskSettings", "ExamPrompt", "Journal", "label", "read_prompts"]

_RETRIES = 8


class ExamPrompt(BaseModel):
    """One line of a prompts file: a prompt whose answer can be checked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt_id: str = Field(min_length=1)
    prompt: str = Field(min_length=1)
    answer: str
    domain: str | None = None
    split: str | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AskSettings:
    """How an endpoint is asked.

    Attributes:
        url: its base URL, ending in ``/v1``.
        api_key: its key, if it wants one.
        samples: answers per prompt and model.
        temperature: sampling temperature.
        max_tokens: the longest answer, in tokens.
        concurrency: requests under way at a time.
        timeout_s: the longest that one request may take.
    """

    url: str
    api_key: str = "none"
    samples: int = 10
    temperature: float = 0.7
    max_tokens: int = 64
    concurrency: int = 32
    timeout_s: float = 300.0


def _exact(response: str, answer: str) -> float:
    return float(response.strip() == answer.strip())


def _contains(response: str, answer: str) -> float:
    return float(answer.strip().casefold() in response.casefold())


GRADERS: dict[str, Callable[[str, str], float]] = {"exact": _exact, "contains": _contains}
"""How an answer's quality in [0, 1] is found from the response and the known answer."""


def read_prompts(path: Path) -> list[ExamPrompt]:
    """Read a prompts file: JSON lines with ``prompt_id``, ``prompt``, ``answer`` and optional fields.

    Raises:
        DataError: the file is missing or empty, or a line is wrong.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): name a prompts file.") from error
    prompts = []
    for number, line in enumerate(lines, start=1):
        try:
            prompts.append(ExamPrompt.model_validate(orjson.loads(line)))
        except (orjson.JSONDecodeError, ValidationError) as error:
            reason = str(error).splitlines()
            raise DataError(f"{path}, line {number} is not a prompt: {' '.join(reason[1:3] or reason)}.") from error
    if not prompts:
        raise DataError(f"{path} has no prompts: give one JSON object a line.")
    if len({prompt.prompt_id for prompt in prompts}) < len(prompts):
        raise DataError(f"{path} has a prompt_id twice: make them unique.")
    return prompts


class Journal:
    """Answers as they come in, one JSON line each request, so that nothing asked is ever asked again.

    Args:
        output: the Parquet file to be; the journal lies beside it until that is written.
    """

    def __init__(self, output: Path) -> None:
        self._output = output
        self.path = output.with_name(output.name + ".journal")

    def done(self, samples: int) -> set[tuple[str, str]]:
        """The (prompt id, model) pairs that have their answers already, in the journal or in the output.

        Raises:
            DataError: the output exists and has another number of samples.
        """
        done = {(rows[0]["prompt_id"], rows[0]["expert"]) for rows in self._lines()}
        if self._output.exists():
            counts = RoutingData.read(self._output).frame.groupby(["prompt_id", "expert"]).size()
            if (counts != samples).any():
                raise DataError(
                    f"{self._output} has {counts.iloc[0]} samples a prompt, not {samples}: "
                    "ask for as many, or write to another file."
                )
            done |= set(counts.index)
        return done

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Keep the rows of one request."""
        # A new line first: an interrupted run may have left half a line.
        with self.path.open("ab") as file:
            file.write(b"\n" + orjson.dumps(rows))

    def close(self) -> RoutingData:
        """Merge the journal into the output and remove it.

        Raises:
            DataError: there is nothing to write.
        """
        frames = [RoutingData.read(self._output).frame] if self._output.exists() else []
        rows = [row for rows in self._lines() for row in rows]
        if rows:
            frames.append(pd.DataFrame(rows))
        if not frames:
            raise DataError(f"There are no answers to write to {self._output}.")
        data = RoutingData(pd.concat(frames, ignore_index=True))
        data.write(self._output)
        self.path.unlink(missing_ok=True)
        return data

    def _lines(self) -> Iterator[list[dict[str, Any]]]:
        if not self.path.exists():
            return
        for line in self.path.read_bytes().splitlines():
            with suppress(orjson.JSONDecodeError):
                yield orjson.loads(line)


async def label(
    prompts: Sequence[ExamPrompt],
    models: Sequence[str],
    settings: AskSettings,
    grade: Callable[[str, str], float],
    journal: Journal,
    on_answer: Callable[[], None],
) -> None:
    """Ask every model every prompt and keep the graded answers in the journal.

    Args:
        prompts: the prompts with their known answers.
        models: experts, or any other model names of the endpoint; an answer's cost is that of the expert that gave it.
        settings: how to ask.
        grade: finds an answer's quality.
        journal: where answers go; what is in it is not asked again.
        on_answer: called after every request, also for those already in the journal.

    Raises:
        ParameterError: the endpoint cannot be reached or does not offer a model.
    """
    client = openai.AsyncOpenAI(
        base_url=settings.url, api_key=settings.api_key, max_retries=_RETRIES, timeout=settings.timeout_s
    )
    async with client:
        asked = await _asked(client, models, settings.url)
        done = journal.done(settings.samples)
        waiting = iter([(prompt, model) for prompt in prompts for model in models])

        async def work() -> None:
            for prompt, model in waiting:
                if (prompt.prompt_id, model) not in done:
                    journal.append(await _ask(client, prompt, asked[model], settings, grade))
                on_answer()

        async with asyncio.TaskGroup() as group:
            for _ in range(settings.concurrency):
                group.create_task(work())


@dataclass(frozen=True, slots=True)
class _Asked:
    """A model of the endpoint.

    Attributes:
        name: as it is asked for.
        prices: of all models, per million input and output tokens.
        together: whether samples can be asked for in one request; plans that judge answers judge them together.
    """

    name: str
    prices: Mapping[str, Mapping[str, float]]
    together: bool


async def _asked(client: openai.AsyncOpenAI, models: Sequence[str], url: str) -> dict[str, _Asked]:
    try:
        offered = {card.id: card.model_dump() async for card in client.with_options(max_retries=1).models.list()}
    except openai.OpenAIError as error:
        raise ParameterError(
            f"The endpoint {url} does not answer ({error}): start it, or give another --endpoint."
        ) from error
    for model in models:
        if model not in offered:
            raise ParameterError(f"The endpoint {url} has no model {model!r}: it has {', '.join(offered)}.")
    prices = {name: card["price"] for name, card in offered.items() if card.get("price")}
    return {name: _Asked(name, prices, offered[name].get("independent_choices", True)) for name in models}


async def _ask(
    client: openai.AsyncOpenAI,
    prompt: ExamPrompt,
    asked: _Asked,
    settings: AskSettings,
    grade: Callable[[str, str], float],
) -> list[dict[str, Any]]:
    """Rows of all samples of one prompt."""
    requests = [settings.samples] if asked.together else [1] * settings.samples
    rows: list[dict[str, Any]] = []
    for samples in requests:
        started_s = time.perf_counter()
        raw = await client.chat.completions.with_raw_response.create(
            model=asked.name,
            messages=[{"role": "user", "content": prompt.prompt}],
            n=samples,
            temperature=settings.temperature,
            max_tokens=settings.max_tokens,
            # Usage is a sum over the samples; the tokens of each sample are counted from its log probabilities.
            logprobs=True,
        )
        latency_s = time.perf_counter() - started_s
        cost = None if asked.together else raw.headers.get("x-pointsman-cost")
        for row in _graded(prompt, asked, raw.parse(), grade, None if cost is None else float(cost)):
            rows.append({**row, "sample": len(rows), "latency_s": latency_s})
    return rows


def _graded(
    prompt: ExamPrompt,
    asked: _Asked,
    answer: ChatCompletion,
    grade: Callable[[str, str], float],
    told_cost: float | None,
) -> Iterator[dict[str, Any]]:
    """A row for each choice; it costs what the endpoint says that all of its attempts cost, or else its own tokens."""
    price = asked.prices.get(answer.model, {"input_per_million": 0.0, "output_per_million": 0.0})
    input_tokens = answer.usage.prompt_tokens if answer.usage else 0
    for choice in answer.choices:
        response = choice.message.content or ""
        output_tokens = len(choice.logprobs.content or ()) if choice.logprobs else 0
        cost = (input_tokens * price["input_per_million"] + output_tokens * price["output_per_million"]) / 1e6
        yield {
            "prompt_id": prompt.prompt_id,
            "prompt": prompt.prompt,
            "expert": asked.name,
            "quality": grade(response, prompt.answer),
            "input_tokens": input_tokens,
            "output_tokens": output_tokens,
            "cost": cost if told_cost is None else told_cost,
            "response": response,
            "domain": prompt.domain,
            "split": prompt.split,
            "metadata": orjson.dumps({**prompt.metadata, "answered_by": answer.model}).decode(),
        }
