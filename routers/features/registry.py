"""The kinds of features there are, by name, and how a router names the one it wants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from routers.errors import ParameterError
from routers.features.base import Features
from routers.features.endpoint import EndpointFeatures
from routers.features.sentence import SentenceFeatures
from routers.features.side import SideFeatures, WithSide
from routers.features.svd import ClusterFeatures, TfidfSvdCountsFeatures, TfidfSvdFeatures
from routers.features.tfidf import TfidfFeatures

__all__ = ["FeatureSpec", "SideColumns", "list_features", "make_features"]

FeatureSpec = str | dict[str, Any]
"""A kind of features: its name, `name:value` to set its foremost parameter, or an object of `kind` and parameters."""

SideColumns = Annotated[list[str], Field(max_length=1000)] | tuple[str, ...]
"""Names of the side information that a router reads beside the text."""

_KINDS: dict[str, type[Features]] = {
    cls.kind: cls
    for cls in (
        TfidfFeatures,
        TfidfSvdFeatures,
        TfidfSvdCountsFeatures,
        ClusterFeatures,
        SentenceFeatures,
        EndpointFeatures,
        SideFeatures,
    )
}


def list_features() -> tuple[str, ...]:
    """Names of the kinds of features, in alphabetical order."""
    return tuple(sorted(_KINDS))


def make_features(spec: FeatureSpec, *, side: Sequence[str] = (), seed: int = 0, dense: bool = False) -> Features:
    """Features that have not learned anything yet.

    Args:
        spec: which kind, and its parameters: `"tfidf"`, `"tfidf-svd:64"` (its dimensions), `"sentence:models/minilm"`
            (its model), or `{"kind": "tfidf-svd", "n_components": 64}`. The kind `side` reads no text at all.
        side: side information to put beside the text's features; empty for none.
        seed: for kinds that take a seed, unless the specification gives one.
        dense: refuse kinds whose rows are not dense.

    Raises:
        ParameterError: there is no such kind, it has no such parameter or a value is out of range, or its rows are
            not dense.
    """
    given = _spelled_out(spec) if isinstance(spec, str) else dict(spec)
    kind = given.pop("kind", None)
    if kind not in _KINDS:
        raise ParameterError(f"There are no features of the kind {kind!r}: choose one of {', '.join(list_features())}.")
    cls = _KINDS[kind]
    if dense and not cls.dense:
        fitting = ", ".join(name for name in list_features() if _KINDS[name].dense)
        raise ParameterError(f"This router measures distances, for which features={kind!r} do not do: use {fitting}.")
    if cls is SideFeatures:
        if given or not side:
            raise ParameterError("features='side' are nothing but side information: name it in 'side', and only there.")
        return SideFeatures(tuple(side))
    features = cls()
    if "random_state" in cls.parameter_names():
        given.setdefault("random_state", seed)
    features.set_params(**given).check_params()
    return WithSide(features, SideFeatures(tuple(side))) if side else features


def _spelled_out(spec: str) -> dict[str, Any]:
    """The object that a string stands for."""
    kind, colon, value = spec.partition(":")
    if not colon or kind not in _KINDS:
        return {"kind": spec}
    name = _KINDS[kind].argument
    if name is None:
        raise ParameterError(f"Features of the kind {kind!r} take no value after a colon: give an object.")
    return {"kind": kind, name: int(value) if value.isdecimal() else value}
