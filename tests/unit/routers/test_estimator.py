from typing import Annotated, Literal

import pytest
from pydantic import Field
from sklearn.base import clone

from routers import ParameterError
from routers.estimator import Estimator


class Toy(Estimator):
    def __init__(
        self,
        size: Annotated[int, Field(ge=1)] = 3,
        *,
        kind: Literal["a", "b"] = "a",
        share: float | None = None,
    ) -> None:
        self.size = size
        self.kind = kind
        self.share = share


def test_parameters_go_in_and_out() -> None:
    toy = Toy(5, share=0.5)
    assert toy.get_params() == {"size": 5, "kind": "a", "share": 0.5}
    assert toy.set_params(kind="b", size=2) is toy
    assert (toy.kind, toy.size) == ("b", 2)
    assert repr(Toy()) == "Toy()"
    assert repr(toy) == "Toy(size=2, kind='b', share=0.5)"


def test_scikit_learn_can_clone_it() -> None:
    toy = Toy(5, kind="b")
    copy = clone(toy)
    assert copy is not toy
    assert copy.get_params() == toy.get_params()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"size": 0}, "'size' of Toy is 0 but should be greater than or equal to 1"),
        ({"size": "3"}, "'size' of Toy is '3' but should be a valid integer"),
        ({"kind": "c"}, "'kind' of Toy is 'c' but should be 'a' or 'b'"),
        ({"share": "x"}, "'share' of Toy"),
    ],
)
def test_values_are_held_against_the_annotations(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        Toy(**parameters).check_params()  # type: ignore[arg-type]
    Toy(1, share=1).check_params()


def test_unknown_parameter() -> None:
    with pytest.raises(ParameterError, match="Toy has no parameter 'sise': it takes size, kind, share"):
        Toy().set_params(sise=1)
