import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from routers import ParameterError, RoutingData, make_router, save_router
from routers.evaluation import Exam, Predictions, judge
from serve.commands.evaluate import evaluate
from serve.reporting import Scene, write_report
from serve.reporting.canvas import png, short, svg
from serve.reporting.plots import cost_curve

PNG = b"\x89PNG\r\n\x1a\n"
VOID = {"meta", "br", "hr", "img", "link", "input"}


class Checker(HTMLParser):
    """Whether every element is closed in order, ids are unique, and nothing is loaded from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.note(attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.note(attrs)

    def note(self, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id":
                self.ids.append(str(value))
            if name in ("src", "href", "xlink:href") and not str(value).startswith(("#", "data:")):
                self.loaded.append(str(value))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def data_of(n: int, experts: dict[str, float], domains: int) -> RoutingData:
    rng = np.random.default_rng(0)
    rows = []
    for i in range(n):
        words = " ".join(rng.choice(["sum", "word", "code", "law", "bone", "star"], size=3))
        for place, (expert, cost) in enumerate(experts.items()):
            quality = float(rng.random() < 0.4 + 0.5 * (place == i % len(experts)))
            rows.append((f"p{i}", f"{words} {i}", expert, 0, quality, 1, 1, cost, 0.0, f"<d{i % domains}>"))
    names = ["prompt_id", "prompt", "expert", "sample", "quality", "input_tokens", "output_tokens", "cost", "latency_s"]
    return RoutingData(pd.DataFrame(rows, columns=[*names, "domain"]))


def scene_of(data: RoutingData, *, two: bool, **more: object) -> Scene:
    rng, exam = np.random.default_rng(1), Exam.of(data)
    n, n_experts = exam.quality.shape
    quality = rng.random((n, n_experts))
    predictions = {
        name: Predictions(
            quality=quality,
            chosen=quality.argmax(axis=1),
            cost=exam.cost.mean(axis=0),
            score=rng.random(n) if two else None,
            pair=(exam.small, exam.large) if two else None,
        )
        for name in ("one", "two & <three>")
    }
    return Scene(exam, predictions, judge(exam, predictions, n_resamples=20), title="A <test>", **more)


def checked(page: Path) -> str:
    text = page.read_text()
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    assert checker.loaded == []
    assert len(set(checker.ids)) == len(checker.ids)
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    return text


def pictures(folder: Path) -> set[str]:
    found = {path.name: path.read_bytes() for path in folder.glob("*.png")}
    assert all(content.startswith(PNG) and len(content) > 5000 for content in found.values())
    return set(found)


def test_report_of_two_experts_has_everything(tmp_path: Path) -> None:
    data = data_of(90, {"small": 0.1, "large": 1.0}, 3)
    clusters = {"one": np.arange(90) % 4}
    page = write_report(
        scene_of(data, two=True, clusters=clusters, notes=["Mind <this>."]), tmp_path / "new" / "report"
    )
    text = checked(page)
    assert pictures(page.parent) == {
        f"{name}.png" for name in ("quality-cost", "deferral", "reliability", "domains", "map")
    }
    assert text.count("<svg") == 5
    assert "A &lt;test&gt;" in text
    assert "two &amp; &lt;three&gt;" in text
    assert "Mind &lt;this&gt;." in text
    assert "expert:large" in text


def test_what_an_evaluation_lacks_is_left_out(tmp_path: Path) -> None:
    three = data_of(60, {"a": 0.1, "b": 0.5, "c": 1.0}, 1)
    page = write_report(scene_of(three, two=False), tmp_path)
    checked(page)
    assert pictures(tmp_path) == {"quality-cost.png", "reliability.png", "map.png"}


def test_few_prompts_and_no_router_at_all(tmp_path: Path) -> None:
    exam = Exam.of(data_of(6, {"a": 0.1, "b": 0.5}, 2))
    page = write_report(Scene(exam, {}, judge(exam, {}, n_resamples=5)), tmp_path)
    checked(page)
    assert pictures(tmp_path) == {"quality-cost.png", "deferral.png", "domains.png"}


def test_same_evaluation_same_picture() -> None:
    data = data_of(50, {"small": 0.1, "large": 1.0}, 2)
    first, second = (cost_curve(scene_of(data, two=True)) for _ in range(2))
    assert png(first) == png(second)
    assert svg(first, "x") == svg(second, "x")


def test_long_names_lose_their_middle() -> None:
    assert short("abcdefghij", 10) == "abcdefghij"
    assert short("abcdefghijk", 9) == "abcd…hijk"


def test_bins_are_means_of_equally_many() -> None:
    data = data_of(40, {"small": 0.1, "large": 1.0}, 1)
    scene = scene_of(data, two=True)
    bins = scene.bins("one")
    assert bins is not None
    score, quality = scene.predictions["one"].score, scene.exam.quality
    first = np.argsort(score)[:4]
    needed = (quality[:, scene.exam.small] < quality[:, scene.exam.large]).astype(float)
    assert bins.predicted[0] == pytest.approx(score[first].mean())
    assert bins.happened[0] == pytest.approx(needed[first].mean())
    assert len(bins.predicted) == 10


def test_half_of_the_prompts_go_to_the_large_expert() -> None:
    scene = scene_of(data_of(41, {"small": 0.1, "large": 1.0}, 2), two=True)
    chosen = scene.choice("one")
    assert (chosen == scene.exam.large).sum() == 21
    score = scene.predictions["one"].score
    assert score[chosen == scene.exam.large].min() >= score[chosen == scene.exam.small].max()
    domains = scene.domains
    assert domains is not None
    expected = scene.exam.quality[np.arange(41), chosen]
    assert domains.quality[:, 2] @ domains.sizes == pytest.approx(expected.sum())


def test_band_holds_the_curve() -> None:
    scene = scene_of(data_of(200, {"small": 0.1, "large": 1.0}, 2), two=True)
    grid, low, high = scene.bands["one"]
    curve = scene.judgement.routers["one"]["curve"]
    middle = np.interp(grid, curve["x"], curve["quality"])
    assert ((low < middle) & (middle < high)).all()


def test_command_writes_the_report_and_numbers_clusters(tmp_path: Path) -> None:
    data = data_of(60, {"small": 0.1, "large": 1.0}, 2)
    data.write(tmp_path / "data.parquet")
    frame = data_of(80, {"small": 0.1, "large": 1.0}, 2).frame
    frame["prompt"] = "other " + frame["prompt"]
    save_router(make_router("cluster", n_clusters=3).fit(RoutingData(frame)), tmp_path / "trained")
    app = typer.Typer()
    app.command()(evaluate)
    words = [str(tmp_path / "trained"), "length", str(tmp_path / "data.parquet"), "--report", str(tmp_path / "report")]
    done = CliRunner().invoke(app, [*words, "--resamples", "20"])
    assert done.exit_code == 0, done.exception
    assert "Routers on data.parquet" in checked(tmp_path / "report" / "index.html")
    assert "map.png" in pictures(tmp_path / "report")


def test_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ParameterError, match="cannot be written"):
        write_report(scene_of(data_of(20, {"a": 0.1, "b": 1.0}, 2), two=True), tmp_path / "file")
