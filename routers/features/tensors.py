"""Tensors of a saved router, held against what is expected of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routers.errors import ArtifactError

__all__ = ["checked_lines", "checked_tensor"]


def checked_tensor(
    tensors: Mapping[str, NDArray[Any]], name: str, dtype: type[np.generic], shape: tuple[int | None, ...]
) -> NDArray[Any]:
    """The named tensor, if it has this type and shape (None: any length).

    Raises:
        ArtifactError: it has not.
    """
    if name not in tensors:
        raise ArtifactError(f"The router file lacks the tensor {name!r}: train and save the router again.")
    tensor = tensors[name]
    fits = len(tensor.shape) == len(shape) and all(
        want is None or want == got for want, got in zip(shape, tensor.shape, strict=True)
    )
    if tensor.dtype != np.dtype(dtype) or not fits:
        raise ArtifactError(
            f"The tensor {name!r} of the router file is {tensor.dtype}{list(tensor.shape)}, not "
            f"{np.dtype(dtype)}{['any' if n is None else n for n in shape]}: train and save the router again."
        )
    if np.issubdtype(dtype, np.floating) and not np.isfinite(tensor).all():
        raise ArtifactError(f"The tensor {name!r} of the router file is not finite: train and save the router again.")
    return tensor


def checked_lines(tensors: Mapping[str, NDArray[Any]], name: str) -> NDArray[np.uint8]:
    """The named tensor, if it holds whole lines of text as `encode_terms` makes them.

    Raises:
        ArtifactError: it does not.
    """
    tensor = checked_tensor(tensors, name, np.uint8, (None,))
    if len(tensor) and tensor[-1] != ord("\n"):
        raise ArtifactError(f"The tensor {name!r} of the router file is cut off: train and save the router again.")
    return tensor
