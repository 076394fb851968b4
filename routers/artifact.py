"""Saved routers: a directory with `router.json` and `router.safetensors`. Nothing in it can run code.

`router.json` is read as plain JSON and held against a schema, the tensors as safetensors, and both against
their sizes and SHA-256 sums before anything is built from them. The sums find damage; they are no signature.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from routers.base import Router
from routers.description import AGAIN, Description, describe, rebuild
from routers.errors import ArtifactError, PointsmanError
from routers.migrate import FORMAT_VERSION, check_version, migrate

__all__ = ["FORMAT_VERSION", "MOST_BYTES", "check_place", "load_router", "save_router"]

MOST_BYTES = 4 * 2**30
"""Largest tensor file that is loaded unless told otherwise; DeBERTa-v3-large in float32 has 1.7 GB."""

_KIND = "pointsman-router"
_JSON = "router.json"
_TENSORS = "router.safetensors"
_MOST_JSON_BYTES = 4 * 2**20
_BROKEN = (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError)
"""What forged values can make the code that reads them raise."""


class _TensorsFile(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    bytes: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Manifest(Description):
    """What `router.json` holds; `sha256` is over the rest of it."""

    kind: Literal["pointsman-router"]
    format_version: int
    tensors: _TensorsFile
    sha256: str


def save_router(router: Router, path: str | Path) -> None:
    """Save a trained router as the directory `path`, replacing a router that is there.

    The directory is written under another name and moved into place, so that nobody sees half a router.

    Raises:
        NotFittedError: the router has not been trained.
        ArtifactError: `path` is there and is not a saved router, or it cannot be written.
    """
    from safetensors.numpy import save

    described, tensors = describe(router)
    target = Path(path)
    check_place(target)
    blob = save(tensors)
    fields = {
        "kind": _KIND,
        "format_version": FORMAT_VERSION,
        **described,
        "tensors": {"bytes": len(blob), "sha256": hashlib.sha256(blob).hexdigest()},
    }
    text = orjson.dumps({**fields, "sha256": _sum(fields)}, option=orjson.OPT_INDENT_2)
    try:
        _write(target, {_JSON: text + b"\n", _TENSORS: blob})
    except OSError as error:
        raise ArtifactError(f"The router cannot be saved at {target}: {error.strerror or error}.") from None


def check_place(path: str | Path) -> None:
    """See whether a router may be saved at `path`: nothing is there, or a saved router.

    Raises:
        ArtifactError: something else is there.
    """
    target = Path(path)
    if target.exists() and not (target / _JSON).is_file():
        raise ArtifactError(f"{target} is there and is not a saved router: choose another place or remove it.")


def load_router(path: str | Path, *, max_bytes: int = MOST_BYTES) -> Router:
    """Load a router that `save_router` saved.

    Symbolic links to ordinary files are followed, as model caches use them; other files in the directory are not
    looked at.

    Args:
        path: the directory.
        max_bytes: refuse a tensor file larger than this, without reading it. While a router is loaded it takes about
            twice the size of this file.

    Raises:
        ArtifactError: it is missing, damaged, too large, foreign, or of another version.
    """
    source = Path(path)
    try:
        manifest = _manifest(source)
        return _built(manifest, _tensors(source, manifest, max_bytes))
    except ArtifactError:
        raise
    except PointsmanError as error:
        raise ArtifactError(f"The router at {source} cannot be used: {error}") from None
    except _BROKEN as error:
        said = f"{type(error).__name__}: {error}"
        raise ArtifactError(f"The router at {source} does not hold together ({said}): {AGAIN}.") from error


def _manifest(source: Path) -> _Manifest:
    if not source.is_dir():
        raise ArtifactError(f"There is no router at {source}: give the directory that `pointsman train` made.")
    fields = _json(source / _JSON)
    if not isinstance(fields, dict) or fields.get("kind") != _KIND:
        raise ArtifactError(f"{source / _JSON} does not describe a Pointsman router: give a router's directory.")
    try:
        check_version(fields.get("format_version"))
        manifest = _Manifest.parse(fields)
    except ArtifactError as error:
        raise ArtifactError(f"{source / _JSON} cannot be used: {error}") from None
    if _sum({k: v for k, v in fields.items() if k != "sha256"}) != manifest.sha256:
        raise ArtifactError(f"{source / _JSON} was changed after it was saved: {AGAIN}.")
    return manifest


def _json(path: Path) -> Any:
    """The value of a JSON file that every reader understands alike: no key twice, no NaN, nested at most so deep."""
    raw = _read(path, _MOST_JSON_BYTES)
    try:
        fields = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise ArtifactError(f"{path} is not JSON, or only part of it: {AGAIN}.") from None
    try:
        json.loads(raw, object_pairs_hook=_once)
        _sum(fields)
    except (TypeError, ValueError, RecursionError) as error:
        raise ArtifactError(f"{path} is not the JSON that was saved ({error}): {AGAIN}.") from None
    return fields


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        twice = next(key for i, (key, _) in enumerate(pairs) if key in dict(pairs[:i]))
        raise ValueError(f"it has the key {twice[:100]!r} twice")
    return made


def _tensors(source: Path, manifest: _Manifest, max_bytes: int) -> dict[str, NDArray[Any]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    path = source / _TENSORS
    blob = _read(path, max_bytes)
    if len(blob) != manifest.tensors.bytes:
        raise ArtifactError(f"{path} has {len(blob)} bytes, not {manifest.tensors.bytes}: copy it again, or {AGAIN}.")
    if hashlib.sha256(blob).hexdigest() != manifest.tensors.sha256:
        raise ArtifactError(f"{path} is not the file that was saved (its SHA-256 differs): {AGAIN}.")
    try:
        loaded: dict[str, NDArray[Any]] = load(blob)
    except (SafetensorError, *_BROKEN):
        raise ArtifactError(f"{path} is not a safetensors file of plain numbers: {AGAIN}.") from None
    return loaded


def _built(manifest: _Manifest, tensors: dict[str, NDArray[Any]]) -> Router:
    if manifest.format_version == FORMAT_VERSION:
        return rebuild(manifest, tensors)
    fields, tensors = migrate(manifest.model_dump(), tensors)
    return rebuild(_Manifest.parse(fields), tensors)


def _read(path: Path, most_bytes: int) -> bytes:
    """All of an ordinary file, which is not touched where it is anything else or too large."""
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise ArtifactError(f"{path} cannot be read (not an ordinary file): give a complete router directory.")
            raw = file.read(found.st_size + 1) if found.st_size <= most_bytes else None
    except OSError as error:
        reason = error.strerror or str(error)
        raise ArtifactError(f"{path} cannot be read ({reason}): give a complete router directory.") from None
    if raw is None or len(raw) > most_bytes:
        raise ArtifactError(f"{path} is larger than the {most_bytes} bytes allowed: it is not loaded.")
    return raw


def _sum(fields: Any) -> str:
    return hashlib.sha256(orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _write(target: Path, files: dict[str, bytes]) -> None:
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
