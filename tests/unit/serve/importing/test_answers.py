import hashlib

import numpy as np
import pandas as pd

from serve.config import PriceSettings
from serve.importing.answers import costs, fold_of, split_of, tokens_of, tokens_of_chars


def test_four_characters_are_a_token() -> None:
    assert tokens_of(["", "a", "abcd", "abcde", "éééé"]).tolist() == [0, 1, 1, 2, 1]
    assert tokens_of_chars(np.array([np.nan, 0.0, 5.0])).tolist() == [0, 0, 2]


def test_fold_is_the_hash_modulo_ten() -> None:
    assert fold_of("Why?") == int(hashlib.sha256(b"Why?").hexdigest(), 16) % 10
    assert {fold_of(str(number)) for number in range(100)} == set(range(10))


def test_split_follows_the_fold() -> None:
    assert split_of(np.array([0, 7, 8, 9])).tolist() == ["train", "train", "calibration", "test"]


def test_costs_are_tokens_times_prices() -> None:
    frame = pd.DataFrame({"expert": ["a", "b", "a"], "input_tokens": [10, 10, 0], "output_tokens": [1, 1, 5]})
    prices = {
        "a": PriceSettings(input_per_million=2, output_per_million=3),
        "b": PriceSettings(input_per_million=0, output_per_million=1),
    }
    np.testing.assert_allclose(costs(frame, prices), [23e-6, 1e-6, 15e-6])
