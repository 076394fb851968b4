from collections import Counter
from difflib import SequenceMatcher

import numpy as np
import pytest

from routers import ParameterError, Prompt
from routers.learning.augment import augment, noisy_copies

TEXT = "Please sort the letters of every word below, then count to 17 and back: apple orange Cherry (12 + 5) ?"
STRANGE = ["", " ", "x", "17", "\n\n", "数学 🎲 \x00 \ud800", "a" * 5000]


def copies(text: str, n: int = 200) -> list[str]:
    rng = np.random.default_rng(0)
    return [augment(text, rng) for _ in range(n)]


def test_copies_differ_a_little() -> None:
    found = copies(TEXT)
    assert len(set(found)) > 100
    assert all(SequenceMatcher(None, TEXT, copy).ratio() > 0.85 for copy in found)
    assert sum(copy != TEXT for copy in found) > 150


def test_every_kind_of_change_happens() -> None:
    found = copies(TEXT)
    words = Counter(TEXT.split())
    assert any(len(copy.split()) < len(TEXT.split()) for copy in found), "dropped words"
    assert any(copy != TEXT and Counter(copy.split()) == words for copy in found), "swapped words or white space"
    assert any(copy != TEXT and copy.lower() == TEXT.lower() for copy in found), "letter case"
    assert any("\n" in copy for copy in found), "white space"
    assert any(copy.count(",") != TEXT.count(",") for copy in found), "punctuation"
    assert any(set(copy.lower().split()) - set(TEXT.lower().split()) for copy in found), "typing errors"


def test_numbers_stay_as_they_are_and_in_order() -> None:
    for copy in copies("What is 12 + 5 - 170 * 33 ? Say 9 twice", 300):
        numbers = [word.strip("?,.!") for word in copy.split() if word.strip("?,.!").isdigit()]
        assert numbers == ["12", "5", "170", "33", "9"]


@pytest.mark.parametrize("text", STRANGE)
def test_strange_texts(text: str) -> None:
    assert all(isinstance(copy, str) for copy in copies(text, 20))
    if text.strip():
        assert all(copy.strip() for copy in copies(text, 20))


def test_side_information_stays() -> None:
    copy = augment(Prompt(TEXT, {"images": 2}), np.random.default_rng(0))
    assert isinstance(copy, Prompt)
    assert copy.side == {"images": 2}
    assert not isinstance(augment(TEXT, np.random.default_rng(0)), Prompt)


def test_rate_says_how_many_words_change() -> None:
    text = " ".join(["wordy"] * 100)
    assert copies(text) != [text] * 200
    assert all(augment(text, np.random.default_rng(seed), rate=0.0) == text for seed in range(20))
    for seed in range(20):
        changed = sum(word != "wordy" for word in augment(text, np.random.default_rng(seed), rate=0.2).split(" "))
        assert changed <= 20


def test_number_of_copies() -> None:
    prompts = [f"prompt number {i} of some words" for i in range(10)]
    for n_copies, counts in ((0, {}), (2, {2: 10}), (0.3, {1: 3}), (1.5, {1: 5, 2: 5})):
        noisy, source = noisy_copies(prompts, n_copies)
        assert len(noisy) == len(source) == round(10 * n_copies)
        assert dict(Counter(Counter(source.tolist()).values())) == counts
        assert all(str(place) in text for text, place in zip(noisy, source, strict=True))
    assert noisy_copies([], 2.0)[0] == []
    with pytest.raises(ParameterError, match="noisy copies is -1"):
        noisy_copies(prompts, -1)


def test_seed_decides() -> None:
    first, again, other = (noisy_copies([TEXT] * 5, 2, seed)[0] for seed in (1, 1, 2))
    assert first == again != other
