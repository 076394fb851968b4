"""From texts to token ids of bounded length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from routers.errors import ArtifactError

__all__ = ["Frame", "Reader", "Text", "largest_id"]

Text = str | tuple[str, ...]
"""What a model reads: one text, or several one after the other, such as a question and an answer."""

_CHARS_A_TOKEN = 32
"""Text beyond this many characters for each token that is kept cannot matter, so it is not tokenised."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Ids before a question, between it and its answer (at least one), and after the answer."""

    before: list[int]
    between: list[int]
    after: list[int]

    @classmethod
    def of(cls, tokenizer: Any, after: list[int]) -> Self:
        """The tokenizer's own opening, what it puts between two texts or else a new line, and this ending."""
        between = _between_ids(tokenizer) or tokenizer.encode("\n", add_special_tokens=False).ids
        return cls(_special_ids(tokenizer)[0], between, after)


class Reader:
    """Reads texts as token ids; of a long text the first and the last half are kept.

    Between the texts of a tuple stand the ids that the tokenizer puts between two texts, or a new line where it has
    none; where they are too long together each gets its share of the room, and short ones leave theirs to the others.

    Special tokens that someone writes in a text are read letter by letter, so that a prompt cannot pose as the end of
    itself or as a score.

    Args:
        tokenizer: a `tokenizers.Tokenizer`; its settings for padding and truncation are switched off.
        max_tokens: most ids of a text, special and template tokens included.
        before: text to put before each text, as ids.
        after: text to put after each text, as ids.
        closing: whether special tokens may end the ids; a model that is to write on must not see an end.
        frame: ids around and between the texts instead of all of these and of the tokenizer's own; None: as said.
        pad: id that stands for a text without any token.
    """

    def __init__(
        self,
        tokenizer: Any,
        max_tokens: int,
        *,
        before: str = "",
        after: str = "",
        closing: bool = True,
        frame: Frame | None = None,
        pad: int = 0,
    ) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        tokenizer.encode_special_tokens = True
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens
        self.pad = pad
        own = frame or Frame.of(tokenizer, _special_ids(tokenizer)[1] if closing else [])
        self.between = own.between
        self.before = own.before + self._ids([before])[0]
        self.after = self._ids([after])[0] + own.after

    @property
    def room(self) -> int:
        """Most ids of a question and its answer together; below 2 where template and `between` take them all."""
        return self.max_tokens - len(self.before) - len(self.between) - len(self.after)

    def read(self, texts: Sequence[Text]) -> list[list[int]]:
        """Token ids of each text, at least one and at most `max_tokens`."""
        room = max(self.max_tokens - len(self.before) - len(self.after), 1)
        parts = [(text,) if isinstance(text, str) else text for text in texts]
        ids = iter(self._ids([_clipped(part, room * _CHARS_A_TOKEN) for text in parts for part in text]))
        read = []
        for text in parts:
            kept = self._cut([next(ids) for _ in text], room)
            joined = [id_ for place, part in enumerate(kept) for id_ in ((self.between if place else []) + part)]
            read.append((self.before + joined + self.after)[: self.max_tokens] or [self.pad])
        return read

    def read_pairs(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[list[int], int]]:
        """Token ids of each question and its answer, and the place where the answer begins, at least 1."""
        most = max(self.room, 2)
        ids = iter(self._ids([_clipped(text, most * _CHARS_A_TOKEN) for pair in pairs for text in pair]))
        read = []
        for _ in pairs:
            question, answer = self._cut([next(ids), next(ids)], most + len(self.between))
            begun = self.before + question + self.between
            read.append((begun + answer + self.after, len(begun)))
        return read

    def _cut(self, parts: Sequence[list[int]], room: int) -> list[list[int]]:
        """The ids of the parts of one text, each cut to its share of the room that `between` leaves."""
        left = max(room - len(self.between) * (len(parts) - 1), len(parts))
        share = [0] * len(parts)
        for done, place in enumerate(sorted(range(len(parts)), key=lambda place: len(parts[place]))):
            share[place] = min(len(parts[place]), left // (len(parts) - done))
            left -= share[place]
        return [
            ids if len(ids) <= most else ids[: most - most // 2] + ids[len(ids) - most // 2 :]
            for ids, most in zip(parts, share, strict=True)
        ]

    def tensor(self) -> NDArray[np.uint8]:
        """The tokenizer, for saving: its JSON as bytes."""
        return np.frombuffer(self.tokenizer.to_str().encode(), dtype=np.uint8).copy()

    @staticmethod
    def parse(tensor: NDArray[np.uint8], vocabulary: int) -> Any:
        """The tokenizer that `tensor` gave.

        Args:
            tensor: the tokenizer.
            vocabulary: how many ids the model knows.

        Raises:
            ArtifactError: it is no tokenizer, or has ids that the model does not know.
        """
        from tokenizers import Tokenizer

        try:
            tokenizer = Tokenizer.from_str(tensor.tobytes().decode())
        except Exception:  # noqa: BLE001 - the library raises plain exceptions
            raise ArtifactError("The saved tokenizer cannot be read: train and save the router again.") from None
        if largest_id(tokenizer.get_vocab()) >= vocabulary:
            raise ArtifactError("The saved tokenizer does not fit its model: train and save the router again.")
        return tokenizer

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        # A lone surrogate has no UTF-8 form, and the tokenizer takes nothing else.
        clean = [text.encode("utf-8", "replace").decode() for text in texts]
        return [encoding.ids for encoding in self.tokenizer.encode_batch(clean, add_special_tokens=False)]


def largest_id(vocabulary: Mapping[str, int]) -> int:
    """The largest token id; -1 where there are no tokens."""
    return max(vocabulary.values(), default=-1)


def _special_ids(tokenizer: Any) -> tuple[list[int], list[int]]:
    """Ids that the tokenizer puts before and after every text."""
    probe = tokenizer.encode("a", add_special_tokens=True)
    marks = list(probe.special_tokens_mask)
    n_before = marks.index(0) if 0 in marks else (len(marks) + 1) // 2
    n_after = marks[::-1].index(0) if 0 in marks else len(marks) // 2
    return probe.ids[:n_before], probe.ids[len(probe.ids) - n_after :]


def _between_ids(tokenizer: Any) -> list[int]:
    """Ids that the tokenizer puts between the texts of a pair."""
    probe = tokenizer.encode("a", "a", add_special_tokens=True)
    marks = list(probe.special_tokens_mask)
    texts = [place for place, mark in enumerate(marks) if not mark]
    return [probe.ids[place] for place in range(texts[0], texts[-1]) if marks[place]] if texts else []


def _clipped(text: str, max_chars: int) -> str:
    if len(text) <= max_chars:
        return str(text)
    half = max_chars // 2
    return f"{text[:half]}\n{text[-half:]}"
