"""Noisy copies of prompts: small changes of the text that leave what is asked, and so its label, as it was."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from routers.errors import ParameterError
from routers.prompt import Prompt, side_of

__all__ = ["augment", "noisy_copies"]

Change = Callable[[list[str], np.random.Generator, int], list[str]]

_RATE = 0.1
_TYPO_CHARS = 4
_MOST_WORDS = 2000


def augment(text: str, rng: np.random.Generator, rate: float = _RATE) -> str:
    """One noisy copy of a prompt; side information stays.

    One kind of change, drawn at random, to the share `rate` of the words, and to at least one. From easy data
    augmentation (EDA; Wei and Zou, EMNLP 2019) come the random deletion of words, the random swap (here of
    neighbours, so that a longer prompt does not lose its order) and the share of 0.1. Its synonyms and
    insertions need a thesaurus and are left out; letter case, typing errors, and noise in white space and
    punctuation are added. No routing paper does this. Words with a digit are neither dropped, moved nor misspelt:
    they say what is asked. In texts of more than 2000 words only the first ones change.

    Args:
        text: the prompt.
        rng: the source of all chance.
        rate: share of the words that change, in [0, 1].
    """
    words = text.split(" ")
    head, tail = words[:_MOST_WORDS], words[_MOST_WORDS:]
    change = _CHANGES[int(rng.integers(len(_CHANGES)))]
    n_changes = max(1, round(rate * len(head))) if rate > 0 else 0
    noisy = " ".join([*change(head, rng, n_changes), *tail])
    return Prompt(noisy, side_of(text)) if isinstance(text, Prompt) else noisy


def noisy_copies(prompts: Sequence[str], n_copies: float, seed: int = 0) -> tuple[list[str], NDArray[np.int64]]:
    """Noisy copies of prompts, and the place in `prompts` of the one that each is a copy of.

    Args:
        prompts: (n,).
        n_copies: mean number of copies of a prompt, >= 0; of 1.5, a random half has two and the others one.
        seed: of everything random.

    Raises:
        ParameterError: the number of copies is negative.
    """
    if n_copies < 0:
        raise ParameterError(f"The number of noisy copies is {n_copies}: give 0 or more.")
    rng = np.random.default_rng(seed)
    whole, part = divmod(n_copies, 1.0)
    extra = rng.permutation(len(prompts))[: round(part * len(prompts))]
    source = np.concatenate([np.repeat(np.arange(len(prompts)), int(whole)), np.sort(extra)]).astype(np.int64)
    return [augment(prompts[place], rng) for place in source], source


def _drop(words: list[str], rng: np.random.Generator, n_changes: int) -> list[str]:
    free = [place for place, word in enumerate(words) if word and not _has_digit(word)]
    # A prompt never loses its last word.
    n_dropped = min(n_changes, len(free), sum(map(bool, words)) - 1)
    dropped = {free[i] for i in rng.permutation(len(free))[: max(n_dropped, 0)]}
    return [word for place, word in enumerate(words) if place not in dropped]


def _swap(words: list[str], rng: np.random.Generator, n_changes: int) -> list[str]:
    words = list(words)
    free = [i for i in range(len(words) - 1) if not _has_digit(words[i]) and not _has_digit(words[i + 1])]
    for pick in rng.permutation(len(free))[:n_changes]:
        place = free[pick]
        words[place : place + 2] = words[place + 1], words[place]
    return words


def _recase(words: list[str], rng: np.random.Generator, n_changes: int) -> list[str]:
    case = (str.lower, str.upper, str.capitalize)[int(rng.integers(3))]
    return _at_random(words, rng, n_changes, case)


def _misspell(words: list[str], rng: np.random.Generator, n_changes: int) -> list[str]:
    def slip(word: str) -> str:
        if len(word) < _TYPO_CHARS or not word.isalpha():
            return word
        at = int(rng.integers(1, len(word) - 1))
        kinds = (
            word[:at] + word[at + 1 :],
            word[:at] + word[at] + word[at:],
            word[:at] + word[at + 1] + word[at] + word[at + 2 :],
        )
        return kinds[int(rng.integers(len(kinds)))]

    return _at_random(words, rng, n_changes, slip)


def _space(words: list[str], rng: np.random.Generator, n_changes: int) -> list[str]:
    return _at_random(words, rng, n_changes, lambda word: word + ("\n", " ", "\t")[int(rng.integers(3))])


def _punctuate(words: list[str], rng: np.random.Generator, n_changes: int) -> list[str]:
    def noisy(word: str) -> str:
        bare = word.rstrip(".,;:!?")
        if bare and bare != word:
            return bare
        return word + (",", ".", "!", "...")[int(rng.integers(4))] if word and not _has_digit(word) else word

    return _at_random(words, rng, n_changes, noisy)


_CHANGES: tuple[Change, ...] = (_drop, _swap, _recase, _misspell, _space, _punctuate)


def _at_random(words: list[str], rng: np.random.Generator, n_changes: int, change: Callable[[str], str]) -> list[str]:
    """The words, so many of them changed."""
    words = list(words)
    for place in rng.permutation(len(words))[:n_changes]:
        words[place] = change(words[place])
    return words


def _has_digit(word: str) -> bool:
    return any(character.isdigit() for character in word)
