"""Saved routers: a directory with `router.json` and `router.safetensors`. Nothing in it can run code.

`router.json` is read as plain JSON and held against a schema, the tensors as safetensors, and both against
their sizes and SHA-256 sums before anything is built from them. The sums find damage; they are no signature.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from routers.base import Router, RouterState, TwoModelRouter
from routers.errors import ArtifactError, PointsmanError
from routers.migrate import FORMAT_VERSION, check_version, migrate
from routers.registry import make_router

__all__ = ["FORMAT_VERSION", "check_place", "load_router", "save_router"]

_KIND = "pointsman-router"
_JSON = "router.json"
_TENSORS = "router.safetensors"
_MOST_JSON_BYTES = 4 * 2**20
_AGAIN = "train and save the router again"


class _TensorsFile(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    bytes: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Calibration(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    threshold: Annotated[float, Field(ge=0, le=1)] | None
    novelty_limit: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None
    learned: dict[str, Any]


class _Manifest(BaseModel):
    """What `router.json` holds; `sha256` is over the rest of it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    kind: Literal["pointsman-router"]
    format_version: int
    name: str
    parameters: dict[str, Any]
    experts: Annotated[list[str], Field(min_length=1)]
    cost: list[Annotated[float, Field(ge=0, allow_inf_nan=False)]]
    fallback: str
    features: dict[str, Any]
    calibration: _Calibration
    training_data_sha256: str
    summary: dict[str, Any]
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

    router.check_fitted()
    target = Path(path)
    check_place(target)
    state = router.state()
    blob = save({name: np.ascontiguousarray(tensor) for name, tensor in state.tensors.items()})
    fields = {
        "kind": _KIND,
        "format_version": FORMAT_VERSION,
        "name": router.name,
        "parameters": router.get_params(),
        "experts": list(router.experts_),
        "cost": router.cost_.tolist(),
        "fallback": router.fallback_,
        "features": state.features,
        "calibration": {
            "threshold": router.threshold_ if isinstance(router, TwoModelRouter) else None,
            "novelty_limit": router.novelty_limit_,
            "learned": state.calibration,
        },
        "training_data_sha256": router.data_hash_,
        "summary": router.summary_,
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


def load_router(path: str | Path, *, max_bytes: int = 2**30) -> Router:
    """Load a router that `save_router` saved.

    Args:
        path: the directory.
        max_bytes: refuse tensors larger than this.

    Raises:
        ArtifactError: it is missing, damaged, too large, foreign, or of another version.
    """
    source = Path(path)
    try:
        manifest = _manifest(source)
        tensors = _tensors(source, manifest, max_bytes)
        return _built(*_newest(manifest, tensors))
    except ArtifactError:
        raise
    except PointsmanError as error:
        raise ArtifactError(f"The router at {source} cannot be used: {error}") from None


def _manifest(source: Path) -> _Manifest:
    if not source.is_dir():
        raise ArtifactError(f"There is no router at {source}: give the directory that `pointsman train` made.")
    raw = _read(source / _JSON, _MOST_JSON_BYTES)
    try:
        fields = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise ArtifactError(f"{source / _JSON} is not JSON, or only part of it: {_AGAIN}.") from None
    if not isinstance(fields, dict) or fields.get("kind") != _KIND:
        raise ArtifactError(f"{source / _JSON} does not describe a Pointsman router: give a router's directory.")
    try:
        check_version(fields.get("format_version"))
    except ArtifactError as error:
        raise ArtifactError(f"The router at {source} cannot be used: {error}") from None
    try:
        manifest = _Manifest.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise ArtifactError(f"{source / _JSON} is wrong at {key!r} ({first['msg']}): {_AGAIN}.") from None
    if _sum({k: v for k, v in fields.items() if k != "sha256"}) != manifest.sha256:
        raise ArtifactError(f"{source / _JSON} was changed after it was saved: {_AGAIN}.")
    return manifest


def _tensors(source: Path, manifest: _Manifest, max_bytes: int) -> dict[str, NDArray[Any]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    path = source / _TENSORS
    blob = _read(path, max_bytes)
    if len(blob) != manifest.tensors.bytes:
        raise ArtifactError(f"{path} has {len(blob)} bytes, not {manifest.tensors.bytes}: copy it again, or {_AGAIN}.")
    if hashlib.sha256(blob).hexdigest() != manifest.tensors.sha256:
        raise ArtifactError(f"{path} is not the file that was saved (its SHA-256 differs): {_AGAIN}.")
    try:
        loaded: dict[str, NDArray[Any]] = load(blob)
    except (SafetensorError, KeyError, ValueError, TypeError):
        raise ArtifactError(f"{path} is not a safetensors file: {_AGAIN}.") from None
    return loaded


def _newest(manifest: _Manifest, tensors: dict[str, NDArray[Any]]) -> tuple[_Manifest, dict[str, NDArray[Any]]]:
    if manifest.format_version == FORMAT_VERSION:
        return manifest, tensors
    fields, tensors = migrate(manifest.model_dump(), tensors)
    return _Manifest.model_validate(fields), tensors


def _built(manifest: _Manifest, tensors: dict[str, NDArray[Any]]) -> Router:
    router = make_router(manifest.name, **manifest.parameters)
    experts = manifest.experts
    fits = len(set(experts)) == len(experts) == len(manifest.cost) and manifest.fallback in experts
    if not fits:
        raise ArtifactError(f"The router's experts, costs and fallback do not fit together: {_AGAIN}.")
    if isinstance(router, TwoModelRouter):
        if manifest.calibration.threshold is None or len(experts) != 2:
            raise ArtifactError(f"A two-model router needs a threshold and two experts: {_AGAIN}.")
        router.threshold_ = manifest.calibration.threshold
    router.experts_ = tuple(experts)
    router.cost_ = np.array(manifest.cost)
    router.fallback_ = manifest.fallback
    router.novelty_limit_ = manifest.calibration.novelty_limit
    router.data_hash_ = manifest.training_data_sha256
    router.summary_ = manifest.summary
    router.restore(RouterState(manifest.features, manifest.calibration.learned, tensors))
    return router


def _read(path: Path, most_bytes: int) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(most_bytes + 1)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ArtifactError(f"{path} cannot be read ({reason}): give a complete router directory.") from None
    if len(raw) > most_bytes:
        raise ArtifactError(f"{path} is larger than the {most_bytes} bytes allowed: it is not loaded.")
    return raw


def _sum(fields: dict[str, Any]) -> str:
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
