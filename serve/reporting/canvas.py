"""Figures without pyplot: their look, their labels, and how they become PNG and SVG."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from routers.errors import ParameterError

__all__ = [
    "COLOURS",
    "FAINT",
    "GREY",
    "INK",
    "Curve",
    "axes_of",
    "colour_of",
    "legend_by_height",
    "log_users",
    "new_figure",
    "png",
    "short",
    "svg",
    "svg_file",
]

INK = "#22272e"
FAINT = "#d3d8de"
GREY = "#7d8590"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31")
"""Okabe and Ito's colours for the colour-blind, without black and with a brown in place of the pale yellow."""

_DPI = 110
_LABEL_SIZE = 8.5
_THEMED = {INK: "var(--ink)", FAINT: "var(--faint)", GREY: "var(--grey)"}


@dataclass(frozen=True)
class Curve:
    """A drawn curve for a legend: its name, colour and line, and how high it is."""

    text: str
    colour: str
    style: Any
    height: float


def new_figure(width: float = 7.2, height: float = 4.4) -> Any:
    """An empty figure; sizes are in inches.

    Raises:
        ParameterError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise ParameterError("Pictures need matplotlib: install the extra 'reports' (pointsman[reports]).") from None
    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def axes_of(figure: Any, place: tuple[int, int, int], *, title: str = "", x: str = "", y: str = "") -> Any:
    """Quiet axes: no box, a faint grid, labels with their units."""
    axes = figure.add_subplot(*place)
    axes.set_facecolor("none")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GREY)
    axes.grid(visible=True, color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, labelsize=_LABEL_SIZE, length=3)
    axes.set_xlabel(x, color=INK, fontsize=9)
    axes.set_ylabel(y, color=INK, fontsize=9)
    if title:
        axes.set_title(title, color=INK, fontsize=9.5, loc="left")
    return axes


def colour_of(place: int) -> str:
    """The colour of the router at this place; from the eighth on they repeat, told apart by their labels."""
    return COLOURS[place % len(COLOURS)]


def legend_by_height(axes: Any, curves: Sequence[Curve]) -> None:
    """Name curves beside the axes, in the order of their heights."""
    from matplotlib.lines import Line2D

    ordered = sorted(curves, key=lambda curve: -curve.height)
    handles = [
        Line2D([], [], color=c.colour, linestyle=c.style, linewidth=1.8, label=short(c.text, 40)) for c in ordered
    ]
    axes.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0),
        fontsize=_LABEL_SIZE,
        frameon=False,
        labelcolor=INK,
        borderaxespad=0.0,
    )


def log_users(axes: Any, users: Sequence[int]) -> None:
    """A logarithmic axis of numbers of users, with a tick for each of them."""
    axes.set_xscale("log")
    axes.set_xticks(users, [f"{count:,}" for count in users])
    axes.minorticks_off()


def short(name: str, most: int = 34) -> str:
    """A name of at most so many characters, its middle left out where it is longer."""
    kept = (most - 1) // 2
    return name if len(name) <= most else f"{name[:kept]}…{name[-kept:]}"


def png(figure: Any) -> bytes:
    """The figure as PNG on white."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def svg_file(figure: Any, name: str) -> bytes:
    """The figure as an SVG file by itself, on white, the same bytes for the same figure.

    Args:
        figure: the figure.
        name: what its ids are made from.
    """
    from matplotlib import rc_context

    buffer = BytesIO()
    with rc_context({"svg.hashsalt": name, "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure.savefig(buffer, format="svg", facecolor="white", metadata={"Date": None, "Creator": None})
    return re.sub(rb"[ \t]+$", b"", buffer.getvalue(), flags=re.MULTILINE)


def svg(figure: Any, name: str) -> str:
    """The figure as an SVG element whose ink follows the page's colours, for a page with other such elements.

    Args:
        figure: the figure.
        name: put before every id, so that no two figures of a page share one.
    """
    from matplotlib import rc_context

    buffer = BytesIO()
    with rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue().decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    # Equal images have equal ids, which nothing refers to.
    text = re.sub(r'(<image [^>]*?)\bid="[^"]*" ?', r"\1", text)
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", text)
    for colour, variable in _THEMED.items():
        text = text.replace(colour, variable)
    return re.sub(r'<svg ([^>]*?)height="[^"]*" ?', r"<svg \1", text, count=1)
