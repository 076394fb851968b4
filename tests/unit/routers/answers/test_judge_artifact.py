"""Saved judges, and what happens to those that are not what they seem; the files' own checks are the routers'."""

import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from safetensors.numpy import load_file, save

from routers import ArtifactError, RoutingData, load_judge, load_router, make_judge, save_judge

JSON, TENSORS = "judge.json", "judge.safetensors"


@pytest.fixture
def saved(answered: RoutingData, tmp_path: Path) -> Path:
    save_judge(make_judge("answer-scorer").fit(answered), tmp_path / "judge")
    return tmp_path / "judge"


def edit(saved: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change judge.json as a forger would, with a matching sum."""
    fields = orjson.loads((saved / JSON).read_bytes())
    change(fields)
    fields.pop("sha256", None)
    total = hashlib.sha256(orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)).hexdigest()
    (saved / JSON).write_bytes(orjson.dumps({**fields, "sha256": total}))


def forge(saved: Path, tensors: dict[str, np.ndarray]) -> None:
    """Replace the tensors as a forger would, with matching sums."""
    blob = save(tensors)
    (saved / TENSORS).write_bytes(blob)
    edit(saved, lambda f: f.update(tensors={"bytes": len(blob), "sha256": hashlib.sha256(blob).hexdigest()}))


def test_it_says_what_it_is(saved: Path) -> None:
    fields = orjson.loads((saved / JSON).read_bytes())
    assert (fields["kind"], fields["format_version"], fields["name"]) == ("pointsman-judge", 1, "answer-scorer")
    assert sorted(path.name for path in saved.iterdir()) == [JSON, TENSORS]


def test_missing_foreign_and_damaged(saved: Path) -> None:
    with pytest.raises(ArtifactError, match="There is no judge at"):
        load_judge(saved / "nowhere")
    with pytest.raises(ArtifactError, match=r"router\.json cannot be read"):
        load_router(saved)
    with pytest.raises(ArtifactError, match="larger than the 100 bytes"):
        load_judge(saved, max_bytes=100)
    raw = bytearray((saved / TENSORS).read_bytes())
    raw[len(raw) // 2] ^= 1
    (saved / TENSORS).write_bytes(raw)
    with pytest.raises(ArtifactError, match="SHA-256 differs"):
        load_judge(saved)


def test_saving_replaces_a_judge_but_nothing_else(saved: Path) -> None:
    judge = load_judge(saved)
    save_judge(judge, saved)
    other = saved.parent / "mine"
    other.mkdir()
    with pytest.raises(ArtifactError, match="is not a saved judge"):
        save_judge(judge, other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.update(kind="pointsman-router"), "does not describe a Pointsman judge"),
        (lambda f: f.update(format_version=2), "update Pointsman"),
        (lambda f: f.update(format_version="1"), "unknown format version '1'"),
        (lambda f: f.update(name="os.system"), "no judge 'os.system'"),
        (lambda f: f.update(code="import os"), "wrong at 'code'"),
        (lambda f: f["parameters"].update(evil=1), "no parameter 'evil'"),
        (lambda f: f["parameters"].update(folds=99), "'folds'"),
        (lambda f: f.update(experts=["a", "a"]), "an expert twice"),
        (lambda f: f["calibration"].update(learned={}), "lacks the number"),
        (lambda f: f["calibration"]["learned"].update(slope="steep"), "lacks the number"),
        (lambda f: f.pop("summary"), "wrong at 'summary'"),
    ],
)
def test_forged_json(saved: Path, change: Callable[[dict[str, Any]], object], message: str) -> None:
    edit(saved, change)
    with pytest.raises(ArtifactError, match=message):
        load_judge(saved)


def test_changed_json_is_noticed(saved: Path) -> None:
    text = (saved / JSON).read_text()
    (saved / JSON).write_text(text.replace('"held_out": 0.15', '"held_out": 0.25', 1))
    with pytest.raises(ArtifactError, match="changed after it was saved"):
        load_judge(saved)


def test_forged_tensors(saved: Path) -> None:
    good = load_file(saved / TENSORS)
    for name, tensor in good.items():
        forge(saved, {key: value for key, value in good.items() if key != name})
        with pytest.raises(ArtifactError, match="lacks the tensor"):
            load_judge(saved)
        forge(saved, {**good, name: tensor[:-1]})
        with pytest.raises(ArtifactError):
            load_judge(saved)


def test_no_value_makes_anything_but_an_artifact_error(saved: Path) -> None:
    good = (saved / JSON).read_bytes()
    fields = orjson.loads(good)
    places = [(key,) for key in fields if key not in ("sha256", "summary")]
    places += [(key, inner) for key in ("parameters", "calibration", "features") for inner in fields[key]]
    for place in places:
        for value in (None, -1, 2**63, 1e300, "x", [], {}, [[]], True):

            def change(fields: dict[str, Any], place: tuple[str, ...] = place, value: Any = value) -> None:
                holder = fields if len(place) == 1 else fields[place[0]]
                holder[place[-1]] = value

            (saved / JSON).write_bytes(good)
            edit(saved, change)
            with contextlib.suppress(ArtifactError):
                load_judge(saved).rank(["What is 1 + 2 ?"], [["surely 3"]])
