"""The report of an evaluation: one HTML page that needs nothing else, and its plots as PNG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from serve.reporting.canvas import png, svg
from serve.reporting.plots import PLOTS
from serve.reporting.scene import Scene
from serve.reporting.writing import prepare_folder, render, write_files

__all__ = ["write_report"]

_NONE = "–"
_CAPTIONS = {
    "quality-cost": "Upper left is better. A band is a 95 % interval at each cost, from resampled prompts; of more "
    "than two routers only the best one's is shown. The Zero router mixes single experts by a coin: a router below it "
    "is not worth asking. The data-set oracle knows each domain's mean qualities, the per-prompt oracle every answer.",
    "deferral": "Dots are RouteLLM's ten points, at 10, 20 … 100 % of prompts to the large expert.",
    "reliability": "Bins of equally many prompts; on the line predictions mean what they say. Bars: 95 % intervals.",
    "domains": "In brackets: prompts. Right of the gap: routers.",
    "map": "t-SNE of the prompts' words, at most 1,500 of them: neighbours are alike, distances between groups say "
    "little. A colour is the expert that the router chooses; numbers are its clusters where they are known.",
}
_HALF = " Routers between two experts are shown where they send half of the prompts to the large one."


def write_report(scene: Scene, folder: Path) -> Path:
    """Write `index.html` and the plots as PNG into a folder, which is made; files of these names are replaced.

    Returns:
        The path of the page.

    Raises:
        ParameterError: matplotlib or jinja2 is not installed, or the folder cannot be written.
    """
    prepare_folder(folder)
    plots = []
    files: dict[str, bytes] = {}
    for name, (heading, draw) in PLOTS.items():
        figure = draw(scene)
        if figure is None:
            continue
        caption = _CAPTIONS[name] + (_HALF if scene.two and name in ("domains", "map") else "")
        files[f"{name}.png"] = png(figure)
        plots.append({"name": name, "heading": heading, "caption": caption, "svg": svg(figure, name)})
    files["index.html"] = _rendered(scene, plots).encode()
    return write_files(folder, files)


def _rendered(scene: Scene, plots: list[dict[str, str]]) -> str:
    found = scene.judgement
    return render(
        "report.html",
        title=scene.title,
        scene=scene,
        found=found,
        plots=plots,
        unit="large calls" if scene.two else "the cost span",
        rows=[_row(name, of, is_router=True) for name, of in found.routers.items()]
        + [_row(name, of, is_router=False) for name, of in found.baselines.items()],
        differences=[_difference(one) for one in found.paired],
    )


def _row(name: str, of: dict[str, Any], *, is_router: bool) -> dict[str, Any]:
    """One line of the tables, as text."""
    own, limits = of["own_choice"], of["ci95"]
    return {
        "name": name,
        "is_router": is_router,
        "has_curve": of["curve"] is not None,
        "apgr": _number(of["apgr"]),
        "apgr_ci": _interval(limits["apgr"]),
        "cpt": [_percent(of[f"cpt{target}"]) for target in (50, 80, 95)],
        "drop": [_percent(of["quality_drop"][share]) for share in ("10", "20", "40")],
        "aiq": _number(of["aiq"], 4),
        "match": _percent(of["cost_to_match_best"]),
        "quality": _percent(own["quality"]),
        "quality_ci": _interval(limits["own_choice"]["quality"], percent=True),
        "cost": _NONE if own["cost"] is None else f"{1000 * own['cost']:.3g}",
        "ece": _number(of["ece_quality"] if of["ece_score"] is None else of["ece_score"]),
        "speed": _NONE if of["decisions_per_s"] is None else f"{of['decisions_per_s']:,.0f}",
    }


def _difference(one: Any) -> dict[str, str]:
    return {
        "first": one.first,
        "second": one.second,
        "metric": {"apgr": "APGR", "aiq": "AIQ"}.get(one.metric, one.metric),
        "difference": f"{one.difference:+.3f}",
        "ci": "" if one.ci95 is None else f"{one.ci95[0]:+.3f} to {one.ci95[1]:+.3f}",
        "p": _NONE if one.p is None else f"{one.p:.3f}",
    }


def _number(value: float | None, digits: int = 3) -> str:
    return _NONE if value is None else f"{value:.{digits}f}"


def _percent(value: float | None) -> str:
    return _NONE if value is None else f"{100 * value:.1f}"


def _interval(limits: Any, *, percent: bool = False) -> str:
    if limits is None:
        return ""
    scale, digits = (100, 1) if percent else (1, 3)
    return f"{scale * limits[0]:.{digits}f}–{scale * limits[1]:.{digits}f}"
