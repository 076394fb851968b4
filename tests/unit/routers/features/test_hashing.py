"""Terms by hash: each of a text's terms has the hash of its name."""

from collections import Counter

import numpy as np
import pytest

from routers.features.hashing import SHAPE, Runs, term_hashes, word_hashes

B, C = 0xD6E8FEB86659FD93, 0xA0761D6478BD642F


def counted(hashes: np.ndarray, place: np.ndarray, text: int) -> Counter[int]:
    return Counter(hashes[place == text].tolist())


def of_names(names: list[str], added: int = 0) -> Counter[int]:
    return Counter(term_hashes(names, added).tolist())


def test_hashes_are_the_polynomials_of_the_characters() -> None:
    word = ord("a") + ord("b") * B + ord("c") * B**2
    assert term_hashes(["abc", "abc a", "", "x y z"]).tolist() == [
        word % 2**64,
        (word * C + ord("a")) % 2**64,
        0,
        ((ord("x") * C + ord("y")) * C + ord("z")) % 2**64,
    ]
    assert term_hashes(["a b"], 5).tolist() == [((ord("a") + 5) * C + ord("b") + 5) % 2**64]
    assert term_hashes([]).shape == (0,)


def test_words_pairs_and_numbers_of_each_text() -> None:
    hashes, place = word_hashes(["Add 345 days", "", "x²"])
    names = ["add", "#", "days", "add #", "# days", "3__", "add 3__", "3__ days"]
    found = counted(hashes, place, 0)
    # Beyond its own terms a text has what ends it, and pairs of that and its neighbours.
    assert not of_names(names) - found
    assert sum((found - of_names(names)).values()) == 3
    assert not of_names(["x²"]) - counted(hashes, place, 2)
    assert not of_names(["days x²", "#", ""]) & counted(hashes, place, 2)


@pytest.mark.parametrize(("number", "name"), [("7", "7"), ("1" * 16, "1" + "_" * 15), ("1" * 90, "1" + "_" * 15)])
def test_long_numbers_are_not_told_apart(number: str, name: str) -> None:
    assert not of_names(["#", name]) - counted(*word_hashes([number]), 0)


def test_runs_alone_by_twos_and_by_threes() -> None:
    hashes, place = Runs.of(["AB + 12", "é" * 20]).hashes()
    names = ["AA", "+", "00", "AA +", "+ 00", "AA + 00"]
    found = counted(hashes, place, 0)
    assert not of_names(names, SHAPE) - found
    assert not of_names(names) & found
    assert not of_names(["a" * 16], SHAPE) - counted(hashes, place, 1)


def test_counts_by_hand() -> None:
    counts = Runs.of(["ABC de F 12+3456!", "", "   ", "٣ ΑΒ где 数"]).counts()
    assert counts.tolist() == [[3, 2, 6, 4, 4, 3, 2, 2], [0] * 8, [0] * 8, [3, 1, 1, 1, 2, 2, 3, 0]]
    assert Runs.of([]).counts().shape == (0, 8)
