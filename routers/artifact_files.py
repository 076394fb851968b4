"""What all saved artifacts are as files: a directory with a JSON manifest and a safetensors file.

The manifest is read as plain JSON and held against a schema, the tensors as safetensors, and both against their sizes
and SHA-256 sums before anything is built from them. The sums find damage; they are no signature.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import orjson
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from routers.errors import ArtifactError, PointsmanError

__all__ = ["MOST_BYTES", "ArtifactFiles", "Manifest", "Tensors"]

MOST_BYTES = 4 * 2**30
"""Largest tensor file that is loaded unless told otherwise; DeBERTa-v3-large in float32 has 1.7 GB."""

Tensors = dict[str, NDArray[Any]]

_MOST_JSON_BYTES = 4 * 2**20
_BROKEN = (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError)
"""What forged values can make the code that reads them raise."""


class _TensorsFile(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    bytes: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Manifest(BaseModel):
    """What the JSON of every artifact says of its files; `sha256` is over the rest of the JSON."""

    model_config = ConfigDict(extra="forbid", strict=True)

    kind: str
    format_version: int
    tensors: _TensorsFile
    sha256: str


M = TypeVar("M", bound=Manifest)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ArtifactFiles:
    """One kind of artifact, as files.

    Attributes:
        noun: what it is called in messages; its files are `noun.json` and `noun.safetensors`, its kind
            `pointsman-noun`.
        again: the remedy for a damaged one.
    """

    noun: str
    again: str

    @property
    def kind(self) -> str:
        """What the manifest says that it describes."""
        return f"pointsman-{self.noun}"

    def is_at(self, path: str | Path) -> bool:
        """Whether a directory looks like a saved artifact of this kind; it may still be damaged."""
        return (Path(path) / self._json).is_file()

    def check_place(self, path: str | Path) -> None:
        """See whether one may be saved at `path`: nothing is there, or a saved one.

        Raises:
            ArtifactError: something else is there.
        """
        target = Path(path)
        if target.exists() and not self.is_at(target):
            raise ArtifactError(f"{target} is there and is not a saved {self.noun}: choose another place or remove it.")

    def save(self, path: str | Path, format_version: int, described: Mapping[str, Any], tensors: Tensors) -> None:
        """Save as the directory `path`, replacing an artifact of this kind that is there.

        The directory is written under another name and moved into place, so that nobody sees half of it.

        Raises:
            ArtifactError: something else is there, or it cannot be written.
        """
        from safetensors.numpy import save

        target = Path(path)
        self.check_place(target)
        blob = save(tensors)
        fields = {
            "kind": self.kind,
            "format_version": format_version,
            **described,
            "tensors": {"bytes": len(blob), "sha256": hashlib.sha256(blob).hexdigest()},
        }
        text = orjson.dumps({**fields, "sha256": _sum(fields)}, option=orjson.OPT_INDENT_2)
        try:
            _write(target, {self._json: text + b"\n", self._tensors: blob})
        except OSError as error:
            raise ArtifactError(f"The {self.noun} cannot be saved at {target}: {error.strerror or error}.") from None

    def load(self, path: str | Path, parse: Callable[[Any], M], build: Callable[[M, Tensors], T], max_bytes: int) -> T:
        """Load what `save` saved.

        Symbolic links to ordinary files are followed, as model caches use them; other files in the directory are not
        looked at.

        Args:
            path: the directory.
            parse: checks the values of the JSON, raising ArtifactError where they are wrong.
            build: makes the object; any error that forged values cause in it becomes an ArtifactError.
            max_bytes: refuse a tensor file larger than this, without reading it.

        Raises:
            ArtifactError: it is missing, damaged, too large, foreign, or of another version.
        """
        source = Path(path)
        try:
            manifest = self._manifest(source, parse)
            return build(manifest, self._loaded(source, manifest, max_bytes))
        except ArtifactError:
            raise
        except PointsmanError as error:
            raise ArtifactError(f"The {self.noun} at {source} cannot be used: {error}") from None
        except _BROKEN as error:
            said = f"{type(error).__name__}: {error}"
            raise ArtifactError(
                f"The {self.noun} at {source} does not hold together ({said}): {self.again}."
            ) from error

    @property
    def _json(self) -> str:
        return f"{self.noun}.json"

    @property
    def _tensors(self) -> str:
        return f"{self.noun}.safetensors"

    def _manifest(self, source: Path, parse: Callable[[Any], M]) -> M:
        if not source.is_dir():
            raise ArtifactError(f"There is no {self.noun} at {source}: give the directory that `pointsman train` made.")
        path = source / self._json
        fields = self._values(path)
        if not isinstance(fields, dict) or fields.get("kind") != self.kind:
            raise ArtifactError(f"{path} does not describe a Pointsman {self.noun}: give a {self.noun}'s directory.")
        try:
            manifest = parse(fields)
        except ArtifactError as error:
            raise ArtifactError(f"{path} cannot be used: {error}") from None
        if _sum({k: v for k, v in fields.items() if k != "sha256"}) != manifest.sha256:
            raise ArtifactError(f"{path} was changed after it was saved: {self.again}.")
        return manifest

    def _values(self, path: Path) -> Any:
        """The value of a JSON file that every reader understands alike: no key twice, no NaN, not nested too deep."""
        raw = self._read(path, _MOST_JSON_BYTES)
        try:
            fields = orjson.loads(raw)
        except orjson.JSONDecodeError:
            raise ArtifactError(f"{path} is not JSON, or only part of it: {self.again}.") from None
        try:
            json.loads(raw, object_pairs_hook=_once)
            _sum(fields)
        except (TypeError, ValueError, RecursionError) as error:
            raise ArtifactError(f"{path} is not the JSON that was saved ({error}): {self.again}.") from None
        return fields

    def _loaded(self, source: Path, manifest: Manifest, max_bytes: int) -> Tensors:
        from safetensors import SafetensorError
        from safetensors.numpy import load

        path = source / self._tensors
        blob, said = self._read(path, max_bytes), manifest.tensors
        if len(blob) != said.bytes:
            raise ArtifactError(f"{path} has {len(blob)} bytes, not {said.bytes}: copy it again, or {self.again}.")
        if hashlib.sha256(blob).hexdigest() != said.sha256:
            raise ArtifactError(f"{path} is not the file that was saved (its SHA-256 differs): {self.again}.")
        try:
            loaded: Tensors = load(blob)
        except (SafetensorError, *_BROKEN):
            raise ArtifactError(f"{path} is not a safetensors file of plain numbers: {self.again}.") from None
        return loaded

    def _read(self, path: Path, most_bytes: int) -> bytes:
        """All of an ordinary file, which is not touched where it is anything else or too large."""
        remedy = f"give a complete {self.noun} directory"
        try:
            with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
                found = os.fstat(file.fileno())
                if not stat.S_ISREG(found.st_mode):
                    raise ArtifactError(f"{path} cannot be read (not an ordinary file): {remedy}.")
                raw = file.read(found.st_size + 1) if found.st_size <= most_bytes else None
        except OSError as error:
            reason = error.strerror or str(error)
            raise ArtifactError(f"{path} cannot be read ({reason}): {remedy}.") from None
        if raw is None or len(raw) > most_bytes:
            raise ArtifactError(f"{path} is larger than the {most_bytes} bytes allowed: it is not loaded.")
        return raw


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        twice = next(key for i, (key, _) in enumerate(pairs) if key in dict(pairs[:i]))
        raise ValueError(f"it has the key {twice[:100]!r} twice")
    return made


def _sum(fields: Any) -> str:
    return hashlib.sha256(orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _write(target: Path, files: Mapping[str, bytes]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        fresh.chmod(0o755)
        for name, content in files.items():
            (fresh / name).write_bytes(content)
        if target.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
            target.rename(old / "old")
            fresh.rename(target)
            shutil.rmtree(old)
        else:
            fresh.rename(target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
