"""Sentence embeddings by a local encoder (Sentence-BERT, arXiv 1908.10084)."""

from __future__ import annotations

import hashlib
import importlib.util
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import Field

from routers.errors import ArtifactError, DataError, NotFittedError, ParameterError
from routers.features.base import Features, Tensors, clip_text
from routers.features.rows import FloatArray
from routers.features.tensors import checked_tensor

__all__ = ["SentenceFeatures", "encoder_fingerprint", "find_encoder", "kept_embeddings"]

_PACKAGE = "package:"
_MODULES = {"Dense", "Dropout", "LayerNorm", "Normalize", "Pooling", "StaticEmbedding", "Transformer"}
"""What an encoder may be made of: modules that are built from JSON and safetensors alone."""
_OWN_WEIGHTS = {"Dense", "LayerNorm", "StaticEmbedding"}
_ENCODERS_KEPT = 2


class SentenceFeatures(Features):
    """Embeddings of unit length from a sentence encoder, by the library sentence-transformers.

    The encoder is not part of a saved router: that holds its name and the SHA-256 fingerprint of its weights, and
    another encoder is refused. Nothing is ever downloaded, no code of the encoder is run, and weights are read as
    safetensors alone, whoever made the router. Of a prompt that is longer than the encoder reads, the beginning
    counts.

    Args:
        model: a folder, `package:NAME` for an installed Python package that holds one, or the name of a model that is
            in the Hugging Face cache (`hf download NAME` puts it there).
        prefix: what to put before every prompt, where the encoder was trained with such a thing (`query: ` for E5).
        max_length: most tokens read; None, or more than the encoder can: as many as it can.
        max_chars: characters of a prompt that are read (first and last half of them in longer ones), to bound the
            work of the tokenizer.
        batch_size: prompts encoded together.
        device: torch device; None: a GPU where there is one.
    """

    kind: ClassVar[str] = "sentence"
    slow: bool = True
    argument: ClassVar[str | None] = "model"

    def __init__(
        self,
        model: Annotated[str, Field(min_length=1)] = "sentence-transformers/all-MiniLM-L6-v2",
        *,
        prefix: str = "",
        max_length: Annotated[int, Field(ge=1, le=1_000_000)] | None = None,
        max_chars: Annotated[int, Field(ge=2, le=1_000_000)] = 8192,
        batch_size: Annotated[int, Field(ge=1, le=4096)] = 32,
        device: str | None = None,
    ) -> None:
        self.model = model
        self.prefix = prefix
        self.max_length = max_length
        self.max_chars = max_chars
        self.batch_size = batch_size
        self.device = device

    @property
    def n_features_(self) -> int:
        """Dimensions of the embedding."""
        return self._encoder.width

    def fit(self, texts: Sequence[str], y: Any = None) -> Self:
        """Load the encoder; there is nothing to learn from texts, (n_texts,), and y is ignored.

        Raises:
            DataError: there are no texts.
            ParameterError: the encoder is not on this machine, cannot be used, or sentence-transformers is missing.
        """
        if not len(texts):
            raise DataError("Features cannot be learned from no texts: give at least one prompt.")
        self._encoder = _loaded(find_encoder(self.model), self.device, self.max_length)
        return self

    def transform(self, texts: Sequence[str]) -> FloatArray:
        """Embeddings of texts, (n_texts, n_features_) float32, rows of length 1.

        Raises:
            NotFittedError: no encoder has been loaded.
        """
        if not hasattr(self, "_encoder"):
            raise NotFittedError("These SentenceFeatures have no encoder yet: call fit first.")
        read = [self.prefix + _encodable(clip_text(text, self.max_chars)) for text in texts]
        kept = _EMBEDDINGS.get()
        if kept is None or not read:
            return self._encoder.encode(read, self.batch_size)
        known = kept.setdefault(self._encoder, {})
        new = [text for text in dict.fromkeys(read) if text not in known]
        known.update(zip(new, self._encoder.encode(new, self.batch_size), strict=True))
        return np.stack([known[text] for text in read])

    def tensors(self) -> Tensors:
        """The fingerprint of the encoder and its dimensions, for saving."""
        return {
            "sentence.fingerprint": np.frombuffer(bytes.fromhex(self._encoder.fingerprint), dtype=np.uint8),
            "sentence.dimensions": np.array([self._encoder.width], dtype=np.int64),
        }

    def restore(self, tensors: Mapping[str, NDArray[Any]]) -> Self:
        """Take the state that `tensors` gave, and load the encoder.

        Raises:
            ArtifactError: a tensor is missing or of the wrong type or shape, or the encoder is another one.
            ParameterError: the encoder is not on this machine, cannot be used, or sentence-transformers is missing.
        """
        expected = checked_tensor(tensors, "sentence.fingerprint", np.uint8, (32,)).tobytes().hex()
        width = int(checked_tensor(tensors, "sentence.dimensions", np.int64, (1,))[0])
        folder = find_encoder(self.model)
        found = encoder_fingerprint(folder)
        if found != expected:
            raise ArtifactError(
                f"The router was trained with another encoder than {self.model!r} at {folder} (its weights have the "
                f"SHA-256 {found[:12]}…, not {expected[:12]}…): put the same model there, or train the router again."
            )
        self._encoder = _loaded(folder, self.device, self.max_length)
        if self._encoder.width != width:
            raise ArtifactError(
                f"The encoder {self.model!r} gives {self._encoder.width} dimensions, but the router was trained with "
                f"{width}: train the router again."
            )
        return self


@contextmanager
def kept_embeddings() -> Iterator[None]:
    """Within, an encoder reads each text once: for trainings that ask for the same texts again and again.

    Nested, the outermost one counts, at whose end everything is forgotten.
    """
    if _EMBEDDINGS.get() is not None:
        yield
        return
    token = _EMBEDDINGS.set({})
    try:
        yield
    finally:
        _EMBEDDINGS.reset(token)


def find_encoder(model: str) -> Path:
    """The folder of an encoder that is on this machine; see `SentenceFeatures` for the ways to name one.

    Raises:
        ParameterError: it is not there.
    """
    if model.startswith(_PACKAGE):
        return _in_package(model.removeprefix(_PACKAGE))
    folder = Path(model)
    if folder.is_dir():
        return folder
    try:
        from transformers.utils import cached_file
    except ImportError:
        raise _not_installed() from None
    for file in ("modules.json", "config.json"):
        try:
            found = cached_file(model, file, local_files_only=True)
        except (OSError, ValueError):
            continue
        if found is not None:
            return Path(found).parent
    raise ParameterError(
        f"The encoder {model!r} is neither a folder nor a model in the Hugging Face cache, and nothing is downloaded "
        f"unasked: give the path of a folder, or run `hf download {model}`."
    )


def encoder_fingerprint(folder: Path) -> str:
    """SHA-256 of an encoder's weights, hexadecimal: of its safetensors files, in the order of their paths.

    Raises:
        ParameterError: it has none.
    """
    files = sorted(folder.rglob("*.safetensors"), key=lambda file: file.relative_to(folder).as_posix())
    if not files:
        raise ParameterError(f"The encoder at {folder} has no safetensors file: only this form of weights is read.")
    state = tuple((str(file), (found := file.stat()).st_size, found.st_mtime_ns) for file in files)
    return _digest(state)


class _Encoder:
    """A loaded encoder, shared by all features that read with it."""

    def __init__(self, folder: Path, device: str | None, max_length: int | None) -> None:
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError:
            raise _not_installed() from None
        _check_modules(folder)
        self.fingerprint = encoder_fingerprint(folder)
        try:
            self._model = SentenceTransformer(
                str(folder),
                device=device,
                trust_remote_code=False,
                local_files_only=True,
                model_kwargs={"use_safetensors": True},
            )
        except Exception as error:  # noqa: BLE001 - the libraries raise whatever a file in the folder makes them
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise ParameterError(f"The encoder at {folder} cannot be loaded: {reason}") from None
        own = self._model.max_seq_length
        if max_length is not None:
            self._model.max_seq_length = min(max_length, own or max_length)
        # A tokenizer that is in use by one thread refuses the next.
        self._lock = threading.Lock()
        self.width = int(self._encode([""], 1).shape[1])

    def encode(self, texts: list[str], batch_size: int) -> FloatArray:
        """Embeddings, (n_texts, width), of length 1."""
        if not texts:
            return np.zeros((0, self.width), dtype=np.float32)
        with self._lock:
            return self._encode(texts, batch_size)

    def _encode(self, texts: list[str], batch_size: int) -> FloatArray:
        return np.asarray(
            self._model.encode(texts, batch_size=batch_size, normalize_embeddings=True, show_progress_bar=False),
            dtype=np.float32,
        )


_EMBEDDINGS: ContextVar[dict[_Encoder, dict[str, FloatArray]] | None] = ContextVar("embeddings", default=None)


@lru_cache(maxsize=_ENCODERS_KEPT)
def _kept(folder: Path, device: str | None, max_length: int | None, fingerprint: str) -> _Encoder:
    return _Encoder(folder, device, max_length)


def _loaded(folder: Path, device: str | None, max_length: int | None) -> _Encoder:
    """The encoder, from memory where the same weights were loaded before."""
    return _kept(folder.resolve(), device, max_length, encoder_fingerprint(folder))


@lru_cache(maxsize=8)
def _digest(files: tuple[tuple[str, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for name, *_ in files:
        with Path(name).open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _in_package(name: str) -> Path:
    """The model folder of an installed package, found without running any of the package's code."""
    spec = importlib.util.find_spec(name) if name.isidentifier() else None
    for place in (spec.submodule_search_locations or []) if spec else []:
        for folder in (Path(place) / "model", Path(place)):
            if (folder / "config.json").is_file():
                return folder
    raise ParameterError(
        f"There is no installed Python package {name!r} with an encoder in its folder 'model': install it with pip, or "
        "give the path of a folder."
    )


def _check_modules(folder: Path) -> None:
    """Refuse an encoder that is made of anything but plain modules with safetensors."""
    listed = folder / "modules.json"
    if not listed.is_file():
        return
    try:
        modules = [(str(module["type"]), str(module["path"])) for module in orjson.loads(listed.read_bytes())]
        if not modules:
            raise ValueError
    except (ValueError, TypeError, KeyError):
        raise ParameterError(f"{listed} does not list the modules of an encoder: download the model again.") from None
    for kind, path in modules:
        library, _, name = kind.rpartition(".")
        if library.partition(".")[0] != "sentence_transformers" or name not in _MODULES:
            raise ParameterError(
                f"The encoder at {folder} needs the module {kind!r}, which may run code of its own: use one that is "
                f"made of {', '.join(sorted(_MODULES))}."
            )
        if name in _OWN_WEIGHTS and not (folder / path / "model.safetensors").is_file():
            raise ParameterError(
                f"The weights of {path!r} of the encoder at {folder} are not safetensors: save the model in this form."
            )


def _encodable(text: str) -> str:
    """The text without halves of surrogate pairs, which tokenizers refuse."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _not_installed() -> ParameterError:
    return ParameterError(
        "Sentence encoders need the package sentence-transformers: install it with pip install 'pointsman[encoders]'."
    )
