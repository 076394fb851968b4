"""Saved routers: a directory with `router.json` and `router.safetensors`. Nothing in it can run code."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from routers.artifact_files import MOST_BYTES, ArtifactFiles, Manifest, Tensors
from routers.base import Router
from routers.description import AGAIN, Description, describe, rebuild
from routers.migrate import FORMAT_VERSION, check_version, migrate

__all__ = ["FORMAT_VERSION", "MOST_BYTES", "ROUTER_FILES", "check_place", "load_router", "save_router"]

ROUTER_FILES = ArtifactFiles("router", AGAIN)


class _Manifest(Description, Manifest):
    """What `router.json` holds."""

    kind: Literal["pointsman-router"]


def save_router(router: Router, path: str | Path) -> None:
    """Save a trained router as the directory `path`, replacing a router that is there.

    The directory is written under another name and moved into place, so that nobody sees half a router.

    Raises:
        NotFittedError: the router has not been trained.
        ArtifactError: `path` is there and is not a saved router, or it cannot be written.
    """
    described, tensors = describe(router)
    ROUTER_FILES.save(path, FORMAT_VERSION, described, tensors)


def check_place(path: str | Path) -> None:
    """See whether a router may be saved at `path`: nothing is there, or a saved router.

    Raises:
        ArtifactError: something else is there.
    """
    ROUTER_FILES.check_place(path)


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
    return ROUTER_FILES.load(path, _parsed, _built, max_bytes)


def _parsed(fields: Any) -> _Manifest:
    check_version(fields.get("format_version"))
    return _Manifest.parse(fields)


def _built(manifest: _Manifest, tensors: Tensors) -> Router:
    if manifest.format_version == FORMAT_VERSION:
        return rebuild(manifest, tensors)
    fields, tensors = migrate(manifest.model_dump(), tensors)
    return rebuild(_Manifest.parse(fields), tensors)
