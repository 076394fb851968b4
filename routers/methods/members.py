"""Trained routers inside a router: made from JSON values, and saved and restored with it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from routers.base import Progress, Router
from routers.description import AGAIN, Description, describe, rebuild
from routers.errors import ArtifactError, ParameterError

if TYPE_CHECKING:
    from routers.data import RoutingData

__all__ = [
    "MOST_LEVELS",
    "MOST_MEMBERS",
    "CompositeRouter",
    "MemberSpec",
    "copy_of",
    "make_member",
    "member_state",
    "prompts_at",
    "restore_members",
    "share_of",
]

MemberSpec = dict[str, Any]
"""A router as a parameter of another one: its `name`, and its parameters beside it."""

MOST_LEVELS = 3
"""How deep routers nest at most, the outermost one counted."""

MOST_MEMBERS = 64
"""How many routers a router names at most, on all levels together."""


class CompositeRouter(Router):
    """A router that holds others, which parameters describe (`MemberSpec`) and which are trained with it."""

    @abstractmethod
    def member_specs(self) -> Sequence[MemberSpec]:
        """The routers that the parameters name."""

    @property
    def side(self) -> list[str] | None:
        """Names of the side information that members read; None where they read none."""
        read = (getattr(make_member(spec), "side", None) or () for spec in self.member_specs())
        return sorted({name for names in read for name in names}) or None

    def check_params(self) -> None:
        """Compare parameters with the constructor's annotations, those of the members included.

        Raises:
            ParameterError: a value is of the wrong type or out of range, or members nest too deep or are too many.
        """
        super().check_params()
        specs = self.member_specs()
        _check_size(specs)
        for place, spec in enumerate(specs):
            self._check_member(make_member(spec), spec, place)

    @abstractmethod
    def _check_member(self, member: Router, spec: MemberSpec, place: int) -> None:
        """Raise ParameterError where this router cannot be the member at this place."""


def make_member(spec: MemberSpec, defaults: Mapping[str, Any] | None = None) -> Router:
    """The untrained router that the specification names.

    Args:
        spec: its name and parameters.
        defaults: parameters for routers that have them, unless the specification gives them.

    Raises:
        ParameterError: there is no such router, or a parameter is unknown, of the wrong type or out of range.
    """
    from routers.registry import make_router

    given = dict(spec)
    name = given.pop("name", None)
    if not isinstance(name, str):
        raise ParameterError(f"A member is described by its 'name' and parameters, not by {spec!r:.200}.")
    router = make_router(name, **given)
    names = router.parameter_names()
    fitting = {key: value for key, value in (defaults or {}).items() if key in names and key not in given}
    return router.set_params(**fitting)


def copy_of(router: Router) -> Router:
    """A trained router that learns on without changing this one; made as a saved one is loaded."""
    fields, tensors = describe(router)
    return rebuild(Description.parse(deepcopy(fields)), {name: tensor.copy() for name, tensor in tensors.items()})


def member_state(members: Sequence[Router | None]) -> tuple[list[dict[str, Any] | None], dict[str, NDArray[Any]]]:
    """What `restore_members` takes: the members' descriptions, and their tensors as `members.<place>.<name>`."""
    values: list[dict[str, Any] | None] = []
    tensors: dict[str, NDArray[Any]] = {}
    for place, member in enumerate(members):
        if member is None:
            values.append(None)
            continue
        fields, own = describe(member)
        values.append(fields)
        tensors |= {f"members.{place}.{name}": tensor for name, tensor in own.items()}
    return values, tensors


def restore_members(
    values: Any, tensors: Mapping[str, NDArray[Any]], expected: Sequence[Router | None]
) -> list[Router | None]:
    """Trained members from what `member_state` gave.

    Args:
        values: their descriptions.
        tensors: those of the whole router.
        expected: untrained routers with the names and parameters that the members must have; None where there is
            no member.

    Raises:
        ArtifactError: they do not fit what is expected, or a member is damaged.
    """
    if not isinstance(values, list) or len(values) != len(expected):
        raise ArtifactError(f"The router file does not hold the {len(expected)} members of the router: {AGAIN}.")
    members: list[Router | None] = []
    for place, (value, wanted) in enumerate(zip(values, expected, strict=True)):
        if wanted is None and value is None:
            members.append(None)
            continue
        described = Description.parse(value)
        if wanted is None or (described.name, described.parameters) != (wanted.name, wanted.get_params()):
            raise ArtifactError(f"Member {place} in the router file is not the one that the router names: {AGAIN}.")
        prefix = f"members.{place}."
        own = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        members.append(rebuild(described, own))
    return members


def prompts_at(data: RoutingData, places: NDArray[np.int64]) -> RoutingData:
    """The rows of the prompts at these places, with the same experts."""
    from routers.data import RoutingData

    frame = data.frame
    kept = frame["prompt_id"].isin(data.prompts["prompt_id"].iloc[places])
    return RoutingData(frame[kept]).select(data.experts)


def share_of(progress: Progress, start: float, end: float) -> Progress:
    """Progress of a part of the work, which takes the whole from one share to another."""
    return lambda doing, share: progress(doing, start + (end - start) * share)


def _check_size(specs: Sequence[MemberSpec]) -> None:
    """Refuse members that nest too deep or are too many, before one of them is made."""
    left: list[tuple[Any, int]] = [(spec, 1) for spec in specs]
    n_members = 0
    while left:
        value, level = left.pop()
        if isinstance(value, dict) and "name" in value:
            level, n_members = level + 1, n_members + 1
        if level > MOST_LEVELS:
            raise ParameterError(f"Routers nest more than {MOST_LEVELS} levels deep: name simpler members.")
        if n_members > MOST_MEMBERS:
            raise ParameterError(f"The router has more than {MOST_MEMBERS} members: name fewer.")
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        left += [(child, level) for child in inner]
