"""Routers saved in an older form: brought to today's, they decide as they did."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from safetensors.numpy import load_file, save

from routers import ArtifactError, Router, RoutingData, decide, load_router, make_router, save_router
from routers.migrate import FORMAT_VERSION, check_version, migrate

JSON, TENSORS = "router.json", "router.safetensors"
TEXTS = ["What is 1 + 2 ?", "What is 1 + 2 + 3 + 4 + 5 + 6 + 7 ?", "Sort the letters ABC in order", "zebra", ""]
V1_PARAMETERS = {
    "hybrid-trans": ("small", "large", "t", "head", "hidden", "max_epochs", "C", "folds"),
    "cluster": ("fallback", "n_clusters", "max_drop", "quantile", "temperature"),
}
V1_FEATURES = {"hybrid-trans": ("tfidf", {}), "cluster": ("tfidf-svd", {"n_components": 100})}


def sums_of(fields: dict[str, Any]) -> dict[str, Any]:
    rest = {key: value for key, value in fields.items() if key != "sha256"}
    return {**rest, "sha256": hashlib.sha256(orjson.dumps(rest, option=orjson.OPT_SORT_KEYS)).hexdigest()}


def write_version_1(saved: Path, target: Path) -> None:
    """The same router as version 1 wrote it: features among the parameters, no novelty but the cluster's."""
    fields = orjson.loads((saved / JSON).read_bytes())
    name, parameters = fields["name"], fields["parameters"]
    kind, more = V1_FEATURES[name]
    sizes = {**more, "max_terms": 20_000, "max_chars": 2048}
    tensors = {
        key: value
        for key, value in load_file(saved / TENSORS).items()
        if not key.startswith("novelty.") and key != "count"
    }
    blob = save(tensors)
    old = {
        "kind": "pointsman-router",
        "format_version": 1,
        "name": name,
        "parameters": {key: parameters[key] for key in V1_PARAMETERS[name]} | sizes | {"seed": parameters["seed"]},
        **{key: fields[key] for key in ("experts", "cost", "fallback")},
        "features": {"kind": kind, **sizes},
        **{key: fields[key] for key in ("calibration", "training_data_sha256", "summary")},
        "tensors": {"bytes": len(blob), "sha256": hashlib.sha256(blob).hexdigest()},
    }
    target.mkdir()
    (target / TENSORS).write_bytes(blob)
    (target / JSON).write_bytes(orjson.dumps(sums_of(old)))


@pytest.fixture(scope="module")
def trained(data: RoutingData) -> dict[str, Router]:
    return {
        "hybrid-trans": make_router("hybrid-trans", folds=2).fit(data),
        "cluster": make_router("cluster", fallback="large", n_clusters=2).fit(data),
    }


@pytest.fixture(params=["hybrid-trans", "cluster"])
def router(request: pytest.FixtureRequest, trained: dict[str, Router]) -> Router:
    return trained[request.param]


@pytest.fixture
def old(router: Router, tmp_path: Path) -> Path:
    save_router(router, tmp_path / "new")
    write_version_1(tmp_path / "new", tmp_path / "old")
    return tmp_path / "old"


def test_version_1_decides_as_it_did(router: Router, old: Path, held_out: RoutingData) -> None:
    loaded = load_router(old)
    before, after = router.predict(held_out.texts), loaded.predict(held_out.texts)
    for field in ("quality", "large_needed", "choice"):
        np.testing.assert_array_equal(getattr(after, field), getattr(before, field))
    for text in [*TEXTS, *held_out.texts[:20]]:
        then, now = decide(router, text), decide(loaded, text)
        assert (now.expert, now.score, now.threshold, now.qualities) == (
            then.expert,
            then.score,
            then.threshold,
            then.qualities,
        )
    assert loaded.features == {**loaded.features, "max_terms": 20_000, "max_chars": 2048}


def test_version_1_knew_the_novelty_of_clusters_only(router: Router, old: Path) -> None:
    novelty = load_router(old).novelty(TEXTS)
    assert novelty is not None
    if router.name == "cluster":
        np.testing.assert_array_equal(novelty, router.novelty(TEXTS))
    else:
        assert novelty.max() < 1e-3


def test_saved_again_it_is_of_the_newest_version(old: Path, tmp_path: Path, held_out: RoutingData) -> None:
    loaded = load_router(old)
    save_router(loaded, tmp_path / "again")
    assert orjson.loads((tmp_path / "again" / JSON).read_bytes())["format_version"] == FORMAT_VERSION
    again = load_router(tmp_path / "again").predict(held_out.texts)
    np.testing.assert_array_equal(again.quality, loaded.predict(held_out.texts).quality)


def test_migrated_routers_adapt(old: Path, data: RoutingData, held_out: RoutingData) -> None:
    adapted = load_router(old).adapt(held_out)
    assert np.isfinite(adapted.predict_quality(TEXTS)).all()


@pytest.mark.parametrize("lost", ["features", "parameters", "summary", "tensors"])
def test_version_1_that_lacks_what_it_needs(trained: dict[str, Router], tmp_path: Path, lost: str) -> None:
    save_router(trained["cluster"], tmp_path / "new")
    write_version_1(tmp_path / "new", tmp_path / "old")
    fields = {key: value for key, value in orjson.loads((tmp_path / "old" / JSON).read_bytes()).items() if key != lost}
    tensors = {} if lost == "tensors" else load_file(tmp_path / "old" / TENSORS)
    with pytest.raises(ArtifactError, match="lacks what its format version needs"):
        migrate(fields, tensors)


@pytest.mark.parametrize("version", [0, -1, 1.0, True, None, "2", [1], FORMAT_VERSION + 1, 10**30])
def test_versions_without_a_way(version: Any) -> None:
    with pytest.raises(ArtifactError, match="version"):
        check_version(version)
