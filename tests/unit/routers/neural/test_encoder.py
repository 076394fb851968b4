from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.numpy import load, save

from routers import ArtifactError, ParameterError
from routers.neural.encoder import Encoder
from routers.neural.training import Head, Tuning

from .conftest import FAST, keyword_texts

HEADS = [Head("sigmoid", 1), Head("softmax", 2)]


def targets_of(sums: np.ndarray) -> np.ndarray:
    return np.column_stack([sums, sums, 1 - sums])


def trained(path: str, settings: Tuning = FAST, max_tokens: int = 16, **options: Any) -> Encoder:
    texts, sums = keyword_texts()
    encoder = Encoder(HEADS, max_tokens)
    encoder.happened = encoder.fit(path, texts, targets_of(sums), settings, lambda *_: None, dropout=0.1, **options)
    return encoder


@pytest.fixture(scope="module")
def encoder(tiny_encoder_path: str) -> Encoder:
    return trained(tiny_encoder_path)


def test_it_learns_what_a_word_means(encoder: Encoder) -> None:
    texts, sums = keyword_texts(seed=1)
    out = encoder.predict(texts)
    assert out.dtype == np.float32
    assert (out[:, 0] > 0.5).tolist() == (sums > 0.5).tolist()
    assert (out[:, 1] > out[:, 2]).tolist() == (sums > 0.5).tolist()
    np.testing.assert_allclose(out[:, 1:].sum(axis=1), 1, atol=1e-5)


def test_it_says_what_happened(encoder: Encoder) -> None:
    happened = encoder.happened
    losses = happened["held_out_loss"]
    assert losses[happened["best_epoch"] - 1] == min(losses)
    assert happened["steps"] == happened["epochs"] * 9


def test_the_seed_decides_and_nothing_else_changes(encoder: Encoder, tiny_encoder_path: str) -> None:
    texts, _ = keyword_texts(seed=1)
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    torch.rand(3)
    again = trained(tiny_encoder_path)
    torch.random.set_rng_state(state)
    trained(tiny_encoder_path, replace(FAST, epochs=1))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    np.testing.assert_array_equal(again.predict(texts), encoder.predict(texts))
    other = trained(tiny_encoder_path, replace(FAST, seed=1))
    assert not np.array_equal(other.predict(texts), encoder.predict(texts))


def test_saved_and_restored_it_predicts_the_same(encoder: Encoder) -> None:
    texts = [*keyword_texts(seed=1)[0], "", "x" * 100_000, "数学 \ud800"]
    tensors = load(save(encoder.tensors()))
    again = Encoder(HEADS, 512).restore(encoder.settings(), tensors)
    np.testing.assert_array_equal(again.predict(texts), encoder.predict(texts))
    assert again.settings() == encoder.settings()
    for name, tensor in encoder.tensors().items():
        np.testing.assert_array_equal(again.tensors()[name], tensor)


def test_one_text_equals_the_same_text_among_others(encoder: Encoder) -> None:
    texts = ["sum 1", "", "sort 123456", "sum " + "9" * 50]
    alone = np.concatenate([encoder.predict([text]) for text in texts])
    np.testing.assert_allclose(encoder.predict(texts), alone, atol=1e-5)
    assert encoder.predict([]).shape == (0, 3)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": "causal"}, "does not describe its encoder"),
        ({"model": None}, "does not describe its encoder"),
        ({"max_tokens": 0}, "does not describe its encoder"),
        ({"max_tokens": "many"}, "does not describe its encoder"),
        ({"model": {"model_type": "bert", "auto_map": {}}}, "'auto_map'"),
        ({"model": {"model_type": "bert"}}, "tensor"),
    ],
)
def test_tampered_settings_are_refused(encoder: Encoder, change: dict[str, Any], said: str) -> None:
    with pytest.raises(ArtifactError, match=said):
        Encoder(HEADS, 16).restore({**encoder.settings(), **change}, encoder.tensors())


def test_tampered_tensors_are_refused(encoder: Encoder) -> None:
    tensors = encoder.tensors()
    for name, value in {
        "encoder.offset": np.zeros(2, np.float32),
        "encoder.tokenizer": np.zeros(9, np.uint8),
        "encoder.weights.classifier.bias": np.zeros(3, np.int64),
        "encoder.weights.another": np.zeros(3, np.float16),
    }.items():
        with pytest.raises(ArtifactError):
            Encoder(HEADS, 16).restore(encoder.settings(), {**tensors, name: value})
    with pytest.raises(ArtifactError, match="classifier"):
        Encoder(HEADS[:1], 16).restore(encoder.settings(), tensors)


@pytest.mark.parametrize("n_texts", [1, 40])
@pytest.mark.parametrize("label", [0.0, 0.5, 1.0])
def test_constant_labels(tiny_encoder_path: str, n_texts: int, label: float) -> None:
    texts, _ = keyword_texts(40)
    encoder = Encoder([Head("sigmoid", 2)], 16)
    gentle = Tuning(epochs=1)
    encoder.fit(tiny_encoder_path, texts[:n_texts], np.full((n_texts, 2), label), gentle, lambda *_: None)
    assert np.abs(encoder.predict(["sum 5"]) - label).max() < 0.1 + (0.5 if n_texts == 1 else 0)


def test_adapting_learns_what_has_changed(tiny_encoder_path: str) -> None:
    encoder = trained(tiny_encoder_path)
    texts, sums = keyword_texts(seed=2)
    more = replace(FAST, epochs=12)
    encoder.adapt(texts, targets_of(1 - sums), more, lambda *_: None)
    out = encoder.predict(texts)
    assert ((out[:, 0] > 0.5) == (sums < 0.5)).mean() > 0.9


def test_adapting_keeps_the_weights_where_nothing_is_better(tiny_encoder_path: str) -> None:
    encoder = trained(tiny_encoder_path)
    texts, sums = keyword_texts(seed=2)
    before = encoder.predict(texts)
    happened = encoder.adapt(texts, targets_of(sums), replace(FAST, learning_rate=1.0), lambda *_: None)
    assert happened["best_epoch"] == 0
    np.testing.assert_array_equal(encoder.predict(texts), before)


def test_a_restored_encoder_can_adapt(encoder: Encoder) -> None:
    again = Encoder(HEADS, 16).restore(encoder.settings(), encoder.tensors())
    texts, sums = keyword_texts(seed=2)
    assert again.adapt(texts, targets_of(sums), replace(FAST, epochs=2), lambda *_: None)["epochs"] == 1


def test_texts_are_as_long_as_the_encoder_takes(tiny_encoder_path: str, tmp_path: Path) -> None:
    config = transformers.RobertaConfig(
        vocab_size=260,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=34,
        pad_token_id=1,
    )
    transformers.RobertaModel(config).save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((Path(tiny_encoder_path) / name).read_bytes())
    encoder = trained(str(tmp_path), replace(FAST, epochs=1), max_tokens=512)
    assert encoder.max_tokens == 32
    assert encoder.predict(["x" * 1000]).shape == (1, 3)


def test_a_checkpoint_that_is_no_encoder(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(ParameterError, match="model type 'vit'"):
        trained(str(tmp_path))
