"""The page: markers, tables, verdicts, pictures."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from routers import ParameterError
from serve.reporting.tables_in_docs import between
from serve.study.page import check_page, section, write_part
from serve.study.verdicts import add_ratios, aims
from tests.serve.study.conftest import ROOT, setup, step

SIMULATED = "<!-- begin: simulated -->\n<!-- end: simulated -->\n"
PAGE = f"# Load\n\nBy hand.\n\n<!-- begin: real -->\nold\n<!-- end: real -->\n\nMore.\n{SIMULATED}"


def part(name="real", **about):
    setups = [
        setup("all-large", step(1, 2.0), step(1000, 10.0)),
        setup("all-large", step(1, 1.0), step(1000, 12.0), name="all-large, 2 groups"),
        setup("auto", step(1, 2.0), step(1000, 30.0, limited_by=["a load process was busy"]), drop=0.009),
    ]
    add_ratios(setups)
    found = [{"text": aim.text, "reached": aim.reached, "cause": aim.cause} for aim in aims(setups)]
    about = {"users": [1, 1000], "seconds": 15.0, "think_s": 0.0, "seed": 0, "max_tokens": 32, **about}
    return {"part": name, "about": about, "setups": setups, "left_out": ["frugal is left out: no."], "aims": found}


def test_ratios_are_to_the_all_large_that_serves_most_at_as_many_users():
    large, groups, auto = part()["setups"]
    assert [one["ratio"] for one in auto["steps"]] == [1.0, 2.5]
    assert [one["ratio"] for one in groups["steps"]] == [0.5, 1.0]
    assert large["steps"][1]["ratio"] == pytest.approx(10 / 12)
    alone = [setup("auto", step(5, 1.0))]
    add_ratios(alone)
    assert alone[0]["steps"][0]["ratio"] is None
    assert aims(alone) == []


@pytest.mark.parametrize(
    ("rate", "drop", "reached", "said"),
    [
        (20.0, 0.01, True, "- Reached: `auto` serves 2.00 × all-large's requests/s at 100 users at a quality"),
        (20.0, 0.011, False, "not known to be good enough"),
        (19.9, 0.0, False, "even if all other answers cost nothing it would be about 1.67 ×"),
        (20.0, None, False, "at a quality drop that nobody measured"),
    ],
)  # fmt: skip
def test_an_aim_needs_throughput_and_quality(rate, drop, reached, said):
    setups = [setup("all-large", step(100, 10.0)), setup("auto", step(10, 99.0), step(100, rate), drop=drop)]
    add_ratios(setups)
    (aim,) = aims(setups)
    assert aim.reached is reached
    assert said in str(aim)


def test_only_setups_with_a_choice_are_judged():
    setups = [setup(kind, step(10, 10.0)) for kind in ("all-large", "all-small", "expert", "frugal")]
    add_ratios(setups)
    assert [aim.text.split("`")[1] for aim in aims(setups)] == ["expert", "frugal"]


def test_a_part_takes_its_place_and_the_rest_stays(tmp_path: Path):
    (tmp_path / "load.md").write_text(PAGE)
    assert write_part(part(), tmp_path) == tmp_path / "load.md"
    first = (tmp_path / "load.md").read_text()
    assert first.startswith("# Load\n\nBy hand.\n\n<!-- begin: real -->\n*Steps of 15 s at least")
    assert first.endswith(f"More.\n{SIMULATED}")
    assert "old" not in first
    assert "| auto | `large` | 1,000 | 30.0 | 2.50 | 90.0 | 0.90 (-0.10 to 1.90) | yes |" in first
    assert "- Reached: `auto`" in first
    assert "- frugal is left out: no.\n- auto, 1,000 users: a load process was busy." in first
    assert orjson.loads((tmp_path / "load" / "real.json").read_bytes())["part"] == "real"
    write_part(
        part("simulated", slowdown={"1": 1.0, "1000": 4.0}, weight_bytes=2.0, stream_interval=16, answers="short"),
        tmp_path,
    )
    second = (tmp_path / "load.md").read_text()
    assert second.startswith(first.split("More.")[0])
    assert "GPUs simulated slower by 4 at 1,000 users" in second
    write_part(part(), tmp_path)
    assert (tmp_path / "load.md").read_text() == second


def test_the_page_says_what_foresight_would_reach():
    best = {"engines": "4 × `small`", "requests_per_s": 180.0, "large": 0.3, "ratio": 1.5}
    simulated = {"slowdown": {}, "weight_bytes": 2.0, "stream_interval": 16, "answers": "short"}
    text = section(part("simulated", **simulated, foresight=best))
    assert "would ask `large` for 30.0 % of the questions at a drop of 1 %; 4 × `small`, planned 180.0" in text
    assert "1.50 × all-large" in text
    assert "foresight" not in section(part("simulated", **simulated, foresight=None))


def test_pictures_are_files_of_their_own_that_the_page_shows(tmp_path: Path):
    (tmp_path / "load.md").write_text(PAGE)
    write_part(part(), tmp_path)
    names = {path.name for path in (tmp_path / "load").glob("*.svg")}
    assert names == {"real-throughput.svg", "real-first-token.svg", "real-latency.svg"}
    text = (tmp_path / "load.md").read_text()
    for name in names:
        drawn = (tmp_path / "load" / name).read_text()
        assert drawn.startswith("<?xml")
        assert "<svg " in drawn
        assert f"](load/{name})" in text


def test_what_nobody_knows_is_a_dash():
    found = part()
    found["setups"] = [setup("auto", step(1, 0.0, first_token_ms=None, latency_ms=None, ratio=None), drop=None)]
    found["aims"] = []
    text = section(found)
    assert "| auto | 1 | – | – | – | 0 |" in text
    assert "| auto | `large` | 1 | 0.0 | – | – | – | – |" in text


def test_markers_that_are_not_there_or_twice_are_named(tmp_path: Path):
    with pytest.raises(ParameterError, match=r"must have the lines '<!-- begin: real -->'"):
        between("nothing", "real", "x")
    with pytest.raises(ParameterError, match="once"):
        between(PAGE + PAGE, "real", "x")
    with pytest.raises(ParameterError, match="cannot be read"):
        check_page(tmp_path, ["real"])


def test_our_own_page_has_every_marker():
    check_page(ROOT / "docs", ["real", "simulated"])
