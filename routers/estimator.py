"""scikit-learn's estimator contract without importing scikit-learn.

Importing it takes seconds and more than 100 MB, which a process that only asks trained routers should not
pay. `sklearn.base.clone` and other tools that go by `get_params` and `set_params` work with these classes.
"""

from __future__ import annotations

import inspect
from typing import Any, Self, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from routers.errors import ParameterError

__all__ = ["Estimator"]


class Estimator:
    """Base of everything that learns: the constructor stores its parameters under their names, and only that.

    Learned attributes end in `_`. The annotations of the constructor say which values are allowed.
    """

    @classmethod
    def parameter_names(cls) -> tuple[str, ...]:
        """Names of the constructor's parameters, in order."""
        return tuple(_parameters(cls))

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters by name; `deep` is there for scikit-learn and changes nothing."""
        return {name: getattr(self, name) for name in self.parameter_names()}

    def set_params(self, **params: Any) -> Self:
        """Change parameters by name.

        Raises:
            ParameterError: a name is unknown.
        """
        for name, value in params.items():
            self._known(name)
            setattr(self, name, value)
        return self

    def check_params(self) -> None:
        """Compare every parameter with the constructor's annotation.

        Raises:
            ParameterError: a value is of the wrong type or out of range.
        """
        try:
            _model(type(self)).model_validate(self.get_params())
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(map(str, first["loc"]))
            said = first["msg"].removeprefix("Input should be ")
            raise ParameterError(
                f"Parameter {name!r} of {type(self).__name__} is {first['input']!r} but should be {said}."
            ) from None

    def __repr__(self) -> str:
        """The constructor call, without parameters at their defaults."""
        defaults = _parameters(type(self))
        given = [f"{k}={v!r}" for k, v in self.get_params().items() if v != defaults[k].default]
        return f"{type(self).__name__}({', '.join(given)})"

    @classmethod
    def _known(cls, name: str) -> None:
        if name not in cls.parameter_names():
            takes = ", ".join(cls.parameter_names()) or "no parameters"
            raise ParameterError(f"{cls.__name__} has no parameter {name!r}: it takes {takes}.")


def _parameters(cls: type[Estimator]) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(cls).parameters)


def _model(cls: type[Estimator]) -> type[BaseModel]:
    hints = get_type_hints(cls.__init__, include_extras=True)
    fields: dict[str, Any] = {name: (hints[name], ...) for name in _parameters(cls)}
    return create_model(f"{cls.__name__}Parameters", __config__=ConfigDict(strict=True), **fields)
