"""What users ask: the demo's exam, ZeroEval's questions, long documents, conversations with a history."""

from __future__ import annotations

import csv
import random
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path

from demo.exam import sample_exam
from demo.families import Task
from loadtests.errors import LoadTestError
from routers.text import CHARS_PER_TOKEN

__all__ = ["MIXES", "Conversation", "conversations", "document"]

Conversation = list[dict[str, str]]

_EXAM_SIZE = 1000
_MOST_TURNS = 6
_TEXT = (
    "the station signal points north line a train waits for its track while another one leaves and in the yard an "
    "engine moves slowly past old wagons of coal sand and grain toward morning where rain has made rails bright"
)
_WORDS = _TEXT.split()
_DOCUMENT = "Read this report, then say in one sentence what it is about.\n\n"
_QUESTION_BYTES = 10_000_000


def document(tokens: int, chooser: random.Random) -> str:
    """A text of about so many tokens, at four characters each, unlike every other one from its first word on."""
    length = max(1, tokens * CHARS_PER_TOKEN)
    words = [str(chooser.randrange(10**6)), *chooser.choices(_WORDS, k=length // 3 + 1)]
    return " ".join(words)[:length]


def conversations(mix: str, *, folder: Path, prompt_tokens: int, seed: int) -> Iterator[Conversation]:
    """What one user asks, without an end.

    Args:
        mix: one of `MIXES`.
        folder: holds `zeroeval/`, for `zeroeval`.
        prompt_tokens: about how long documents of `long` are.
        seed: users with different seeds ask different things.

    Raises:
        LoadTestError: there is no such mix, or its file is missing.
    """
    if mix not in _MAKERS:
        raise LoadTestError(f"There is no prompt mix {mix!r}: use one of {', '.join(MIXES)}.")
    return _MAKERS[mix](folder, prompt_tokens, random.Random(seed))


def _exam(folder: Path, prompt_tokens: int, chooser: random.Random) -> Iterator[Conversation]:
    return _single([task.prompt for task in _tasks()], chooser)


def _zeroeval(folder: Path, prompt_tokens: int, chooser: random.Random) -> Iterator[Conversation]:
    return _single(_zeroeval_questions(folder / "zeroeval" / "zeroeval_scores.csv"), chooser)


def _long(folder: Path, prompt_tokens: int, chooser: random.Random) -> Iterator[Conversation]:
    while True:
        yield [_says(_DOCUMENT + document(prompt_tokens, chooser))]


def _chat(folder: Path, prompt_tokens: int, chooser: random.Random) -> Iterator[Conversation]:
    """Conversations of one to six turns; each request has all turns before it, with the exam's own answers."""
    tasks = _tasks()
    while True:
        said: Conversation = []
        for task in chooser.sample(tasks, chooser.randint(1, _MOST_TURNS)):
            said = [*said, _says(task.prompt)]
            yield said
            said = [*said, {"role": "assistant", "content": task.answer}]


def _mixed(folder: Path, prompt_tokens: int, chooser: random.Random) -> Iterator[Conversation]:
    """Half exam, a quarter conversations, a quarter documents."""
    exam, chat, long = (maker(folder, prompt_tokens, chooser) for maker in (_exam, _chat, _long))
    while True:
        yield next(chooser.choice((exam, exam, chat, long)))


def _single(questions: list[str], chooser: random.Random) -> Iterator[Conversation]:
    while True:
        yield [_says(chooser.choice(questions))]


@cache
def _tasks() -> list[Task]:
    return sample_exam("test", _EXAM_SIZE, seed=0)


@cache
def _zeroeval_questions(path: Path) -> list[str]:
    csv.field_size_limit(_QUESTION_BYTES)
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            return [row["question"] for row in csv.DictReader(lines)]
    except (OSError, KeyError) as error:
        raise LoadTestError(
            f"{path} cannot be read ({error}): name the folder that holds zeroeval/ with --data, see docs/data.md."
        ) from None


def _says(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


_MAKERS: Mapping[str, Callable[[Path, int, random.Random], Iterator[Conversation]]] = {
    "exam": _exam,
    "zeroeval": _zeroeval,
    "long": _long,
    "chat": _chat,
    "mixed": _mixed,
}
MIXES = tuple(_MAKERS)
"""Names of prompt mixes."""
