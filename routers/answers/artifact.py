"""Saved judges of answers: a directory with `judge.json` and `judge.safetensors`. Nothing in it can run code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from routers.answers.base import AnswerJudge
from routers.answers.registry import make_judge
from routers.artifact_files import MOST_BYTES, ArtifactFiles, Manifest, Tensors
from routers.base import RouterState
from routers.errors import ArtifactError

__all__ = ["JUDGE_FILES", "JUDGE_FORMAT_VERSION", "load_judge", "save_judge"]

JUDGE_FORMAT_VERSION = 1
"""Version of what `save_judge` writes."""

_AGAIN = "train and save the judge again"

JUDGE_FILES = ArtifactFiles("judge", _AGAIN)


class _Calibration(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    learned: dict[str, Any]


class _Manifest(Manifest):
    """What `judge.json` holds."""

    kind: Literal["pointsman-judge"]
    name: str
    parameters: dict[str, Any]
    experts: Annotated[list[str], Field(min_length=1)]
    features: dict[str, Any]
    calibration: _Calibration
    training_data_sha256: str
    summary: dict[str, Any]


def save_judge(judge: AnswerJudge, path: str | Path) -> None:
    """Save a trained judge as the directory `path`, replacing a judge that is there.

    The directory is written under another name and moved into place, so that nobody sees half a judge.

    Raises:
        NotFittedError: the judge has not been trained.
        ArtifactError: `path` is there and is not a saved judge, or it cannot be written.
    """
    judge.check_fitted()
    state = judge.state()
    described = {
        "name": judge.name,
        "parameters": judge.get_params(),
        "experts": list(judge.experts_),
        "features": state.features,
        "calibration": {"learned": state.calibration},
        "training_data_sha256": judge.data_hash_,
        "summary": judge.summary_,
    }
    tensors = {name: np.ascontiguousarray(tensor) for name, tensor in state.tensors.items()}
    JUDGE_FILES.save(path, JUDGE_FORMAT_VERSION, described, tensors)


def load_judge(path: str | Path, *, max_bytes: int = MOST_BYTES) -> AnswerJudge:
    """Load a judge or plan that `save_judge` saved.

    Symbolic links to ordinary files are followed, as model caches use them; other files in the directory are not
    looked at.

    Args:
        path: the directory.
        max_bytes: refuse a tensor file larger than this, without reading it. While a judge is loaded it takes about
            twice the size of this file.

    Raises:
        ArtifactError: it is missing, damaged, too large, foreign, or of another version.
    """
    return JUDGE_FILES.load(path, _parsed, _built, max_bytes)


def _parsed(fields: Any) -> _Manifest:
    version = fields.get("format_version")
    if type(version) is int and version > JUDGE_FORMAT_VERSION:
        raise ArtifactError(f"it has format version {version}, newer than {JUDGE_FORMAT_VERSION}: update Pointsman.")
    if type(version) is not int or version != JUDGE_FORMAT_VERSION:
        raise ArtifactError(f"it has the unknown format version {version!r}: {_AGAIN}.")
    try:
        return _Manifest.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise ArtifactError(f"its description is wrong at {key!r} ({first['msg']}): {_AGAIN}.") from None


def _built(manifest: _Manifest, tensors: Tensors) -> AnswerJudge:
    judge = make_judge(manifest.name, **manifest.parameters)
    if len(set(manifest.experts)) != len(manifest.experts):
        raise ArtifactError(f"The judge names an expert twice: {_AGAIN}.")
    judge.experts_ = tuple(manifest.experts)
    judge.data_hash_ = manifest.training_data_sha256
    judge.summary_ = manifest.summary
    judge.restore(RouterState(manifest.features, manifest.calibration.learned, tensors))
    return judge
