"""Older saved routers, brought to today's form: the way on for an artifact when its format changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routers.errors import ArtifactError

__all__ = ["FORMAT_VERSION", "check_version", "migrate"]

FORMAT_VERSION = 2
"""Version of what `save_router` writes."""

Fields = dict[str, Any]
Tensors = dict[str, NDArray[Any]]

_AGAIN = "train and save the router again"


def check_version(version: Any) -> None:
    """See whether there is a way from this format version to today's.

    Raises:
        ArtifactError: there is none.
    """
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise ArtifactError(f"it has format version {version}, newer than {FORMAT_VERSION}: update Pointsman.")
    if type(version) is not int or (version != FORMAT_VERSION and version not in _STEPS):
        raise ArtifactError(f"it has the unknown format version {version!r}: {_AGAIN}.")


def migrate(fields: Fields, tensors: Tensors) -> tuple[Fields, Tensors]:
    """What `router.json` and the tensors say, in the newest form; their sums have been checked before.

    Raises:
        ArtifactError: there is no way from its version, or something that it needs is missing.
    """
    check_version(fields["format_version"])
    while fields["format_version"] != FORMAT_VERSION:
        try:
            fields, tensors = _STEPS[fields["format_version"]](fields, tensors)
        except (KeyError, TypeError, AttributeError) as error:
            raise ArtifactError(f"it lacks what its format version needs ({error}): {_AGAIN}.") from None
    return fields, tensors


def _from_1(fields: Fields, tensors: Tensors) -> tuple[Fields, Tensors]:
    """Version 1 had the features' parameters among the router's, and knew no novelty but the cluster's."""
    parameters = dict(fields["parameters"])
    cluster = fields["name"] == "cluster"
    kind = "c-btm" if cluster else "tfidf"
    spec = {"kind": kind}
    for name in ("n_components", "max_terms", "max_chars"):
        if name in parameters:
            spec[name] = parameters.pop(name)
    moved = {
        **fields,
        "format_version": 2,
        "parameters": {**parameters, "features": spec, "side": None},
        "features": {**fields["features"], "kind": kind},
    }
    width = tensors["centers"].shape[1] if cluster else len(tensors["head.0.weights"])
    added: Tensors = {
        "novelty.components": np.zeros((width, 1), np.float32),
        "novelty.center": np.array([[0.0], [1.0]], np.float32),
        "novelty.limits": np.full(3, 1e30, np.float32),
        "novelty.words": np.zeros(0, np.uint8),
    }
    if cluster:
        added["count"] = np.array(fields["summary"]["cluster_sizes"], dtype=np.int64)
    return moved, {**tensors, **added}


_STEPS: dict[int, Callable[[Fields, Tensors], tuple[Fields, Tensors]]] = {1: _from_1}
