"""What a simulated expert says: a template, or answers recorded from real models. Four characters are a token."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from routers.text import CHARS_PER_TOKEN, estimated_tokens

__all__ = ["Answer", "Answers", "Recorded", "Template"]


@dataclass(frozen=True, slots=True)
class Answer:
    """A text and its number of tokens, at least one.

    A token is a part of the text, all of them about equally long: the simulation has no vocabulary.
    """

    text: str
    tokens: int

    @classmethod
    def of(cls, text: str, tokens: int | None = None) -> Answer:
        """An answer, its tokens estimated where their number is not known."""
        return cls(text, max(1, estimated_tokens(text) if tokens is None else tokens))

    def part(self, start: int, stop: int) -> str:
        """The text of tokens `start` to `stop`, the last one not included.

        The first token has text even where there are fewer characters than tokens, so that a client sees it.
        """
        length = len(self.text)
        return self.text[-(-start * length // self.tokens) : -(-stop * length // self.tokens)]

    def cut(self, tokens: int) -> Answer:
        """The first tokens of the answer."""
        return Answer(self.part(0, tokens), tokens)

    def extended(self, tokens: int) -> Answer:
        """The answer said again and again until it has so many tokens."""
        length = max(1, round(tokens * max(len(self.text) / self.tokens, 1 / CHARS_PER_TOKEN)))
        again = self.text + " "
        return Answer((again * (length // len(again) + 1))[:length], tokens)


class Answers(Protocol):
    """Finds the answer to a prompt."""

    def answer(self, prompt: str, sample: int) -> Answer:
        """The answer to a prompt, one of several where `sample` is above 0."""
        ...


@dataclass(frozen=True, slots=True)
class Template:
    """One text for every prompt; `{prompt}` in it is replaced by the prompt."""

    text: str

    def answer(self, prompt: str, sample: int) -> Answer:
        """The template with the prompt in it."""
        return Answer.of(self.text.replace("{prompt}", prompt))


class Recorded:
    """Recorded answers by prompt. A prompt that is not among them gets one of them too, always the same one.

    Args:
        answers: the answers of each prompt, at least one; samples beyond their number begin anew.
    """

    def __init__(self, answers: Mapping[str, Sequence[Answer]]) -> None:
        self._answers = {prompt.strip(): tuple(given) for prompt, given in answers.items()}
        self._every = tuple(given for given in self._answers.values())

    def __len__(self) -> int:
        return len(self._answers)

    def answer(self, prompt: str, sample: int) -> Answer:
        """The recorded answer; of an unknown prompt that of another one, chosen by a checksum."""
        prompt = prompt.strip()
        given = self._answers.get(prompt)
        if given is None:
            given = self._every[zlib.crc32(prompt.encode("utf-8", "surrogatepass")) % len(self._every)]
        return given[sample % len(given)]
