"""Saved routers, and what happens to those that are not what they seem."""

import hashlib
import json
import os
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from safetensors.numpy import load_file, save_file

from routers import ArtifactError, Router, RoutingData, decide, load_router, make_router, save_router
from routers.artifact import FORMAT_VERSION

JSON, TENSORS = "router.json", "router.safetensors"


@pytest.fixture(scope="module")
def routers_by_name(data: RoutingData) -> dict[str, Router]:
    return {
        "hybrid-trans": make_router("hybrid-trans").fit(data),
        "cluster": make_router("cluster", fallback="large", n_clusters=2).fit(data),
    }


@pytest.fixture(params=["hybrid-trans", "cluster"])
def saved(request: pytest.FixtureRequest, routers_by_name: dict[str, Router], tmp_path: Path) -> Path:
    save_router(routers_by_name[request.param], tmp_path / "router")
    return tmp_path / "router"


def edit(saved: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change router.json as a forger would, with a matching sum."""
    fields = orjson.loads((saved / JSON).read_bytes())
    change(fields)
    fields.pop("sha256", None)
    total = hashlib.sha256(orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)).hexdigest()
    (saved / JSON).write_bytes(orjson.dumps({**fields, "sha256": total}))


def forge(saved: Path, tensors: dict[str, np.ndarray]) -> None:
    """Replace the tensors as a forger would, with matching sums."""
    save_file(tensors, saved / TENSORS)
    blob = (saved / TENSORS).read_bytes()
    sums = {"bytes": len(blob), "sha256": hashlib.sha256(blob).hexdigest()}
    edit(saved, lambda fields: fields.update(tensors=sums))


def test_router_json_says_what_it_is(saved: Path) -> None:
    fields = json.loads((saved / JSON).read_text())
    assert fields["format_version"] == FORMAT_VERSION
    assert fields["name"] in ("hybrid-trans", "cluster")
    assert {"parameters", "experts", "features", "training_data_sha256", "calibration", "summary"} <= set(fields)
    assert sorted(path.name for path in saved.iterdir()) == [JSON, TENSORS]


def test_saving_replaces_a_router_but_nothing_else(saved: Path, routers_by_name: dict[str, Router]) -> None:
    save_router(routers_by_name["cluster"], saved)
    assert load_router(saved).name == "cluster"
    assert [path.name for path in saved.parent.iterdir()] == ["router"]
    other = saved.parent / "mine"
    other.mkdir()
    (other / "thesis.txt").write_text("years of work")
    with pytest.raises(ArtifactError, match="not a saved router"):
        save_router(routers_by_name["cluster"], other)
    assert (other / "thesis.txt").exists()


def test_place_that_cannot_be_written(routers_by_name: dict[str, Router], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match="cannot be saved"):
        save_router(routers_by_name["cluster"], tmp_path / "file" / "router")


def test_missing(tmp_path: Path, saved: Path) -> None:
    with pytest.raises(ArtifactError, match=r"There is no router at .*pointsman train"):
        load_router(tmp_path / "nowhere")
    with pytest.raises(ArtifactError, match="no router at"):
        load_router(saved / JSON)
    for file in (TENSORS, JSON):
        (saved / file).unlink()
        with pytest.raises(ArtifactError, match=f"{file} cannot be read"):
            load_router(saved)


@pytest.mark.parametrize("file", [JSON, TENSORS])
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.999])
def test_truncated(saved: Path, file: str, kept: float) -> None:
    os.truncate(saved / file, int((saved / file).stat().st_size * kept))
    with pytest.raises(ArtifactError, match=file):
        load_router(saved)


@pytest.mark.parametrize("place", [0.01, 0.3, 0.6, 0.95])
def test_every_changed_byte_of_the_tensors_is_noticed(saved: Path, place: float) -> None:
    raw = bytearray((saved / TENSORS).read_bytes())
    raw[int(len(raw) * place)] ^= 1
    (saved / TENSORS).write_bytes(raw)
    with pytest.raises(ArtifactError, match="SHA-256 differs"):
        load_router(saved)


def test_changed_json_is_noticed(saved: Path) -> None:
    fields = json.loads((saved / JSON).read_text())
    fields["cost"][0] += 1
    (saved / JSON).write_text(json.dumps(fields))
    with pytest.raises(ArtifactError, match="changed after it was saved"):
        load_router(saved)


def test_oversized(saved: Path) -> None:
    with pytest.raises(ArtifactError, match="larger than the 100 bytes"):
        load_router(saved, max_bytes=100)
    (saved / JSON).write_bytes(b" " * (4 * 2**20 + 1))
    with pytest.raises(ArtifactError, match="larger than"):
        load_router(saved)


def test_newer_format(saved: Path) -> None:
    edit(saved, lambda fields: fields.update(format_version=FORMAT_VERSION + 1))
    with pytest.raises(ArtifactError, match="update Pointsman"):
        load_router(saved)


@pytest.mark.parametrize("text", ["[]", "{}", "null", '{"model_type": "llama"}', "[" * 100_000, '"router"'])
def test_foreign_json(saved: Path, text: str) -> None:
    (saved / JSON).write_text(text)
    with pytest.raises(ArtifactError, match=r"router\.json"):
        load_router(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.update(name="os.system"), "no router 'os.system'"),
        (lambda f: f.update(name=["cluster"]), "wrong at 'name'"),
        (lambda f: f["parameters"].update(evil=1), "no parameter 'evil'"),
        (lambda f: f["parameters"].update(max_chars="many"), "'max_chars'"),
        (lambda f: f.update(experts=[]), "wrong at 'experts'"),
        (lambda f: f.update(experts=["a", "a"]), "do not fit together"),
        (lambda f: f.update(experts=["only"], cost=[1.0], fallback="only"), "two experts|not float32"),
        (lambda f: f.update(cost=[0.5]), "do not fit together"),
        (lambda f: f.update(cost=None), "wrong at 'cost'"),
        (lambda f: f.update(fallback="nobody"), "do not fit together"),
        (lambda f: f["calibration"].update(learned={}), "lacks the number"),
        (lambda f: f["calibration"].update(threshold=7), "threshold"),
        (lambda f: f.pop("summary"), "wrong at 'summary'"),
        (lambda f: f.update(code="import os"), "wrong at 'code'"),
        (lambda f: f.update(format_version="1"), "unknown format version '1'"),
    ],
)
def test_forged_json(saved: Path, change: Callable[[dict[str, Any]], object], message: str) -> None:
    edit(saved, change)
    with pytest.raises(ArtifactError, match=message):
        load_router(saved)


@pytest.mark.parametrize(
    "change",
    [
        lambda tensor: tensor.astype(np.float16),
        lambda tensor: tensor[:-1],
        lambda tensor: tensor[None],
        lambda tensor: tensor.astype(np.int32),
    ],
)
def test_tensors_of_the_wrong_type_or_shape(saved: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    good = load_file(saved / TENSORS)
    for name, tensor in good.items():
        forge(saved, {**good, name: change(tensor)})
        with pytest.raises(ArtifactError, match="router"):
            load_router(saved)


def test_missing_and_infinite_tensors(saved: Path) -> None:
    good = load_file(saved / TENSORS)
    for name, tensor in good.items():
        forge(saved, {key: value for key, value in good.items() if key != name})
        with pytest.raises(ArtifactError, match="lacks the tensor"):
            load_router(saved)
        if tensor.dtype == np.float32:
            forge(saved, {**good, name: np.full_like(tensor, np.inf)})
            with pytest.raises(ArtifactError, match="not finite"):
                load_router(saved)


def test_choice_out_of_range(routers_by_name: dict[str, Router], tmp_path: Path) -> None:
    save_router(routers_by_name["cluster"], tmp_path / "router")
    good = load_file(tmp_path / "router" / TENSORS)
    forge(tmp_path / "router", {**good, "choice": np.array([0, 99])})
    with pytest.raises(ArtifactError, match="do not fit together"):
        load_router(tmp_path / "router")


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("exploded",)


def test_nothing_runs(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blobs = [pickle.dumps(Bomb()), struct.pack("<Q", 2**62) + b"{}", b"", b"\x00" * 64]
    for blob in blobs:
        (saved / TENSORS).write_bytes(blob)
        sums = {"bytes": len(blob), "sha256": hashlib.sha256(blob).hexdigest()}
        edit(saved, lambda fields, sums=sums: fields.update(tensors=sums))
        with pytest.raises(ArtifactError, match="not a safetensors file"):
            load_router(saved)
    (saved / JSON).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ArtifactError, match="not JSON"):
        load_router(saved)
    assert not (tmp_path / "exploded").exists()


def test_other_files_beside_it_do_not_matter(saved: Path) -> None:
    (saved / "custom.py").write_text("raise SystemExit")
    moved = saved.parent / "moved"
    shutil.move(saved, moved)
    assert decide(load_router(moved), "What is 1 + 2 ?").expert
