"""From one row per prompt to one row per answer, and what is estimated on the way."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from routers.text import CHARS_PER_TOKEN

if TYPE_CHECKING:
    import pandas as pd

    from serve.config import PriceSettings

__all__ = [
    "CHARS_PER_TOKEN",
    "LATENCY_NOTE",
    "TOKENS_NOTE",
    "Rows",
    "costs",
    "fold_of",
    "long_form",
    "split_of",
    "tokens_of",
    "tokens_of_chars",
]

LATENCY_NOTE = "latency_s: 0"
TOKENS_NOTE = f"{CHARS_PER_TOKEN} characters a token"
_N_FOLDS = 10
_CALIBRATION_FOLD, _TEST_FOLD = 8, 9


class Rows(NamedTuple):
    """Rows of routing data, perhaps without their cost, and in words what they hold that nobody measured."""

    frame: pd.DataFrame
    notes: tuple[str, ...]


def tokens_of(texts: Iterable[str]) -> NDArray[np.int64]:
    """Estimated tokens of each text: its characters divided by four, rounded up."""
    return tokens_of_chars(np.fromiter((len(text) for text in texts), dtype=np.float64))


def tokens_of_chars(chars: NDArray[np.float64]) -> NDArray[np.int64]:
    """Estimated tokens of texts of this many characters; 0 where the number is not known."""
    return np.ceil(np.nan_to_num(chars) / CHARS_PER_TOKEN).astype(np.int64)


def fold_of(text: str) -> int:
    """One of ten folds, by the SHA-256 of the text: equal texts share a fold."""
    return int.from_bytes(hashlib.sha256(text.encode(errors="surrogatepass")).digest()) % _N_FOLDS


def split_of(folds: NDArray[np.int64]) -> NDArray[np.object_]:
    """The split of each of ten folds: 8 is for calibration, 9 for tests, the others for training."""
    names = np.full(_N_FOLDS, "train", dtype=object)
    names[_CALIBRATION_FOLD], names[_TEST_FOLD] = "calibration", "test"
    return np.asarray(names[folds % _N_FOLDS], dtype=object)


def long_form(
    prompts: pd.DataFrame,
    experts: Sequence[str],
    quality: NDArray[np.float64],
    output_tokens: NDArray[np.int64],
    responses: Mapping[str, Sequence[str]] | None = None,
) -> pd.DataFrame:
    """One row per answer, without its cost; a prompt's answers stand together.

    Args:
        prompts: one row per prompt: `prompt_id`, `prompt`, `domain`, `fold`, `input_tokens` and further columns.
        experts: names of the columns of the matrices.
        quality: (n_prompts, n_experts); NaN where there is no answer.
        output_tokens: (n_prompts, n_experts).
        responses: texts of some experts, one per prompt.
    """
    row, column = np.nonzero(~np.isnan(quality))
    frame = prompts.iloc[row].reset_index(drop=True)
    frame["split"] = split_of(frame["fold"].to_numpy())
    frame["expert"] = np.asarray(experts, dtype=object)[column]
    frame["sample"] = 0
    frame["quality"] = quality[row, column]
    frame["output_tokens"] = output_tokens[row, column]
    frame["latency_s"] = 0.0
    if responses:
        texts = np.full(quality.shape, None, dtype=object)
        for name, answers in responses.items():
            texts[:, list(experts).index(name)] = answers
        frame["response"] = texts[row, column]
    return frame


def costs(frame: pd.DataFrame, prices: Mapping[str, PriceSettings]) -> NDArray[np.float64]:
    """Cost of each answer from its tokens and its expert's price."""
    expert = frame["expert"]
    of_input = expert.map({name: price.input_per_million for name, price in prices.items()}).to_numpy(dtype=float)
    of_output = expert.map({name: price.output_per_million for name, price in prices.items()}).to_numpy(dtype=float)
    spent = frame["input_tokens"].to_numpy() * of_input + frame["output_tokens"].to_numpy() * of_output
    return np.asarray(spent / 1e6, dtype=np.float64)
