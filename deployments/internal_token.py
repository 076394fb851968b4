"""The secret that the Router shows to the experts of its own cluster, so that nobody walks around the Router."""

from __future__ import annotations

import os
import secrets

__all__ = ["TOKEN_ENV", "TOKEN_HEADER", "cluster_token"]

TOKEN_HEADER = "x-pointsman-internal-token"  # noqa: S105
TOKEN_ENV = "POINTSMAN_INTERNAL_TOKEN"  # noqa: S105
_KEY = b"internal_token"
_NAMESPACE = b"pointsman"


def cluster_token() -> str:
    """Return the deployment's internal token, the same for every application of a Ray cluster.

    ``POINTSMAN_INTERNAL_TOKEN`` wins where it is set. Otherwise whoever asks first stores a random token in the
    cluster's own key-value store. Ray must be initialised in that case.
    """
    from_env = os.environ.get(TOKEN_ENV)
    if from_env:
        return from_env
    from ray.experimental.internal_kv import _internal_kv_get, _internal_kv_put

    _internal_kv_put(_KEY, secrets.token_urlsafe(32).encode(), overwrite=False, namespace=_NAMESPACE)
    stored: bytes = _internal_kv_get(_KEY, namespace=_NAMESPACE)
    return stored.decode()
