"""Saved routers, and what happens to those that are not what they seem."""

import contextlib
import hashlib
import json
import os
import pickle
import shutil
import struct
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from safetensors.numpy import load_file, save

from routers import ArtifactError, Router, RoutingData, decide, load_router, make_router, save_router
from routers.artifact import FORMAT_VERSION, MOST_BYTES

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
    edit_to(saved, fields)


def edit_to(saved: Path, fields: dict[str, Any]) -> None:
    fields.pop("sha256", None)
    total = hashlib.sha256(orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)).hexdigest()
    (saved / JSON).write_bytes(orjson.dumps({**fields, "sha256": total}))


def put(saved: Path, blob: bytes) -> None:
    """Replace the tensor file by any bytes, with matching sums."""
    (saved / TENSORS).write_bytes(blob)
    sums = {"bytes": len(blob), "sha256": hashlib.sha256(blob).hexdigest()}
    edit(saved, lambda fields: fields.update(tensors=sums))


def forge(saved: Path, tensors: dict[str, np.ndarray]) -> None:
    """Replace the tensors as a forger would, with matching sums."""
    put(saved, save(tensors))


def test_router_json_says_what_it_is(saved: Path) -> None:
    fields = json.loads((saved / JSON).read_text())
    assert fields["format_version"] == FORMAT_VERSION
    assert fields["name"] in ("hybrid-trans", "cluster")
    assert {"parameters", "experts", "features", "training_data_sha256", "calibration", "summary"} <= set(fields)
    assert sorted(path.name for path in saved.iterdir()) == [JSON, TENSORS]


def test_router_json_says_when_and_with_what_it_was_trained(saved: Path, data: RoutingData) -> None:
    training = json.loads((saved / JSON).read_text())["summary"]["training"]
    assert (training["prompts"], training["rows"] % len(data.texts), training["seed"]) == (len(data.texts), 0, 0)
    assert training["versions"]["numpy"] == np.__version__
    assert {"pointsman", "scikit-learn"} <= set(training["versions"])
    assert 0 < training["duration_s"] < 600
    age = datetime.now(UTC) - datetime.fromisoformat(training["at"])
    assert timedelta(seconds=-1) < age < timedelta(hours=1)


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
        put(saved, blob)
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


@pytest.mark.parametrize(
    "text", ['{"kind": NaN}', '{"kind": Infinity}', '{"kind": 1e999}', '{"a": "\\ud800"}', "{} {}"]
)
def test_json_that_readers_understand_differently(saved: Path, text: str) -> None:
    (saved / JSON).write_text(text)
    with pytest.raises(ArtifactError, match="not JSON"):
        load_router(saved)


def test_a_key_twice(saved: Path) -> None:
    text = (saved / JSON).read_text()
    for key in ("name", "threshold"):
        first = next(line for line in text.splitlines() if f'"{key}"' in line)
        (saved / JSON).write_text(text.replace(first, f"{first}\n{first}"))
        with pytest.raises(ArtifactError, match=f"has the key '{key}' twice"):
            load_router(saved)


STRANGE = {
    **{f"{depth} lists": "[" * depth + "]" * depth for depth in (500, 5000, 1_000_000)},
    **{f"{digits} digits": "9" * digits for digits in (30, 5000)},
}


@pytest.mark.parametrize("kind", STRANGE)
def test_values_that_some_readers_of_json_choke_on(saved: Path, kind: str) -> None:
    raw = (saved / JSON).read_text().replace('"summary": {', f'"summary": {{"strange": {STRANGE[kind]}, ', 1)
    (saved / JSON).write_text(raw)
    with pytest.raises(ArtifactError, match=r"router\.json"):
        load_router(saved)


def safetensors_file(header: object, data: bytes = b"", *, length: int | None = None) -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def entry(dtype: str, shape: list[int], start: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


HUGE = 2**40
BOMBS = {
    "header longer than the file": safetensors_file({}, length=2**20),
    "header longer than memory": safetensors_file({}, length=2**63),
    "header that is no JSON": safetensors_file(b"{" * 64),
    "nested header": safetensors_file(b"[" * 50_000),
    "shape larger than the data": safetensors_file({"a": entry("F32", [HUGE, 4], 0, 16)}, bytes(16)),
    "shape that overflows": safetensors_file({"a": entry("F32", [2**62, 2**62], 0, 16)}, bytes(16)),
    "no elements of a huge shape": safetensors_file({"a": entry("F32", [0, 2**62, 2**62], 0, 0)}),
    "offsets beyond the file": safetensors_file({"a": entry("F32", [HUGE], 0, 4 * HUGE)}),
    "offsets backwards": safetensors_file({"a": entry("F32", [4], 16, 0)}, bytes(16)),
    "tensors that overlap": safetensors_file({"a": entry("U8", [16], 0, 16), "b": entry("U8", [8], 8, 16)}, bytes(16)),
    "bytes that belong to no tensor": safetensors_file({"a": entry("U8", [8], 0, 8)}, bytes(16)),
    "negative shape": safetensors_file({"a": entry("U8", [-8], 0, 8)}, bytes(8)),
    "Python objects": safetensors_file({"a": entry("O", [1], 0, 8)}, bytes(8)),
    "a dtype that numpy lacks": safetensors_file({"a": entry("F8_E4M3", [8], 0, 8)}, bytes(8)),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_tensor_files_that_lie_about_their_size(saved: Path, bomb: str) -> None:
    put(saved, BOMBS[bomb])
    with pytest.raises(ArtifactError, match=r"safetensors|lacks the tensor"):
        load_router(saved)


def test_tensors_of_other_kinds_of_numbers(saved: Path) -> None:
    good = load_file(saved / TENSORS)
    name = next(name for name, tensor in good.items() if tensor.dtype == np.float32)
    for dtype in (np.float64, np.complex64, np.bool_, np.uint8):
        forge(saved, {**good, name: good[name].astype(dtype)})
        with pytest.raises(ArtifactError, match="not float32"):
            load_router(saved)
    nan = good[name].copy()
    nan.flat[0] = np.nan
    forge(saved, {**good, name: nan})
    with pytest.raises(ArtifactError, match="not finite"):
        load_router(saved)


def test_tensors_that_nobody_asks_for_do_not_matter(saved: Path) -> None:
    before = load_router(saved).predict_quality(["What is 1 + 2 ?"])
    names = ["../../etc/passwd", "/etc/passwd", "__class__", "members.0.x", ""]
    forge(saved, {**load_file(saved / TENSORS), **{name: np.zeros(3, np.float32) for name in names}})
    np.testing.assert_array_equal(load_router(saved).predict_quality(["What is 1 + 2 ?"]), before)


@pytest.mark.parametrize(
    "name", ["../cluster", "/etc/passwd", "cluster\x00", "routers.methods.cluster", "__init__", ""]
)
def test_router_names_are_no_paths_or_modules(saved: Path, name: str) -> None:
    edit(saved, lambda fields: fields.update(name=name))
    with pytest.raises(ArtifactError, match="There is no router"):
        load_router(saved)


@pytest.mark.parametrize("file", [JSON, TENSORS])
def test_what_is_no_ordinary_file(saved: Path, file: str) -> None:
    (saved / file).rename(saved / "kept")
    (saved / file).mkdir()
    with pytest.raises(ArtifactError, match=f"{file} cannot be read"):
        load_router(saved)
    (saved / file).rmdir()
    os.mkfifo(saved / file)
    with pytest.raises(ArtifactError, match="not an ordinary file"):
        load_router(saved)
    for target, message in (
        ("/dev/zero", "not an ordinary file"),
        ("nowhere", "cannot be read"),
        (file, "cannot be read"),
    ):
        (saved / file).unlink()
        (saved / file).symlink_to(target)
        with pytest.raises(ArtifactError, match=message):
            load_router(saved)


def test_links_to_files_are_followed_and_checked(saved: Path) -> None:
    (saved / TENSORS).rename(saved / "blob")
    (saved / TENSORS).symlink_to("blob")
    assert decide(load_router(saved), "What is 1 + 2 ?").expert
    (saved / TENSORS).unlink()
    (saved / TENSORS).symlink_to("/etc/passwd")
    with pytest.raises(ArtifactError, match="bytes, not") as raised:
        load_router(saved)
    assert "root:" not in str(raised.value)


def test_too_large_is_not_even_read(saved: Path) -> None:
    os.truncate(saved / TENSORS, MOST_BYTES + 1)
    with pytest.raises(ArtifactError, match=f"larger than the {MOST_BYTES} bytes"):
        load_router(saved)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, child in inner for place in places(child, (*path, key)))]


def test_no_value_makes_anything_but_an_artifact_error(saved: Path) -> None:
    """Whatever single value of `router.json` is forged: the router loads and answers, or is refused."""
    good = (saved / JSON).read_bytes()
    for path in places(orjson.loads(good))[1:]:
        if path[0] in ("sha256", "summary"):
            continue
        for value in (None, -1, 2**63, 1e300, "x", [], {}, [[]], {"name": "cluster"}, True):
            fields = orjson.loads(good)
            holder = fields
            for key in path[:-1]:
                holder = holder[key]
            holder[path[-1]] = value
            edit_to(saved, fields)
            with contextlib.suppress(ArtifactError):
                load_router(saved).predict(["What is 1 + 2 ?"])
