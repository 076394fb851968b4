from typing import Any

import numpy as np
import pytest
import torch

from routers import ArtifactError
from routers.neural.causal import ScoreModel
from routers.neural.training import Tuning

from ..checkpoints import tiny_causal  # noqa: TID252
from .conftest import FAST, keyword_texts


def trained(path: str, settings: Tuning = FAST) -> ScoreModel:
    texts, sums = keyword_texts(40)
    targets = np.zeros((len(texts), 5))
    targets[:, 4], targets[:, 0] = sums, 1 - sums
    model = ScoreModel(128)
    model.fit(path, texts, targets, settings, lambda *_: None, dropout=0.0)
    return model


@pytest.fixture(scope="module")
def model(tiny_causal_path: str) -> ScoreModel:
    return trained(tiny_causal_path)


def test_it_writes_the_score_that_a_word_deserves(model: ScoreModel) -> None:
    texts, sums = keyword_texts(40, seed=1)
    out = model.predict(texts)
    assert out.shape == (40, 5)
    np.testing.assert_array_equal(out.argmax(axis=1), np.where(sums, 4, 0))


def test_outputs_are_the_next_token_among_the_five(model: ScoreModel) -> None:
    [ids] = model.reader.read(["sum 5"])
    text = model.reader.tokenizer.decode(ids, skip_special_tokens=True)
    assert text.startswith("Question:\nsum 5\n")
    assert text.endswith("Score:\n")
    with torch.no_grad():
        every = model.model(torch.tensor([ids])).logits[0, -1].softmax(dim=0).numpy()
    five = every[[model.reader.tokenizer.token_to_id(digit) for digit in "12345"]]
    np.testing.assert_allclose(model.predict(["sum 5"])[0], five / five.sum(), atol=1e-5)


def test_padding_changes_nothing(model: ScoreModel) -> None:
    texts = ["sum 1", "", "sort 12345678901234567890", "x" * 100_000]
    alone = np.concatenate([model.predict([text]) for text in texts])
    np.testing.assert_allclose(model.predict(texts), alone, atol=1e-5)


def test_new_tokens_where_digits_are_none() -> None:
    model = trained(tiny_causal(digits=False), Tuning(epochs=1, batch_size=8))
    names = [model.reader.tokenizer.id_to_token(one) for one in model.score_ids]
    assert names == ["[[1]]", "[[2]]", "[[3]]", "[[4]]", "[[5]]"]
    assert model.model.config.vocab_size == 265
    again = ScoreModel(8).restore(model.settings(), model.tensors())
    np.testing.assert_array_equal(again.predict(["sum 5"]), model.predict(["sum 5"]))
    assert not set(model.score_ids) & set(again.reader.read(["[[5]] is the score"])[0])


def test_saved_and_restored_it_predicts_the_same(model: ScoreModel) -> None:
    texts, _ = keyword_texts(40, seed=1)
    again = ScoreModel(8).restore(model.settings(), model.tensors())
    assert again.score_ids == model.score_ids
    np.testing.assert_array_equal(again.predict(texts), model.predict(texts))


@pytest.mark.parametrize(
    "ids",
    [None, [1, 2, 3, 4], [4, 5, 6, 7, 7], [4, 5, 6, 7, 260], [4, 5, 6, 7, -1], [4, 5, 6, 7, "8"], [[4], 5, 6, 7, 8]],
)
def test_other_score_tokens_are_refused(model: ScoreModel, ids: Any) -> None:
    with pytest.raises(ArtifactError, match="five score tokens"):
        ScoreModel(8).restore({**model.settings(), "score_ids": ids}, model.tensors())
