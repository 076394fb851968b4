import numpy as np
import pytest

from routers import ArtifactError
from routers.features.key_table import _ODD, KeyTable

LAST = 2**64 - 1


@pytest.mark.parametrize("n", [0, 1, 2, 3, 100, 5000])
def test_keys_are_found_at_their_places_and_others_are_not(n: int) -> None:
    rng = np.random.default_rng(n)
    keys = np.unique(rng.integers(1, LAST, n, dtype=np.uint64))
    rng.shuffle(keys)
    asked = rng.permutation(np.concatenate([keys, keys + np.uint64(1), rng.integers(1, LAST, 50, dtype=np.uint64)]))
    place = {key: i for i, key in enumerate(keys.tolist())}
    expected = [(i, place[key]) for i, key in enumerate(asked.tolist()) if key in place]
    found, places = KeyTable(keys).find(asked)
    assert list(zip(found.tolist(), places.tolist(), strict=True)) == expected


@pytest.mark.parametrize("spread", [[], [0], [LAST], [0, LAST]])
def test_keys_of_the_outermost_slots_are_found(spread: list[int]) -> None:
    inverse = np.uint64(pow(int(_ODD), -1, 2**64))
    keys = np.array([0, LAST, 1, LAST - 1], dtype=np.uint64) * inverse
    there = np.array(spread, dtype=np.uint64) * inverse
    found, _ = KeyTable(there).find(keys)
    assert sorted(keys[found].tolist()) == sorted(there.tolist())


def test_keys_that_crowd_together_are_refused() -> None:
    keys = np.arange(40, dtype=np.uint64) * np.uint64(pow(int(_ODD), -1, 2**64))
    with pytest.raises(ArtifactError, match="slow to search"):
        KeyTable(keys)


def test_the_same_key_twice_is_refused() -> None:
    with pytest.raises(ArtifactError, match="cannot be told apart"):
        KeyTable(np.array([3, 7, 3], dtype=np.uint64))
