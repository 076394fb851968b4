"""What the study writes: all figures as JSON, pictures, and the tables of docs/load.md between their markers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from routers.errors import ParameterError
from serve.reporting.tables_in_docs import between, table
from serve.reporting.writing import write_files
from serve.results.study import Aim
from serve.study.measuring import users_said
from serve.study.plots import pictures
from serve.study.setups import LARGE, MOST_DROP

__all__ = ["check_page", "section", "write_part"]

_FOLDER = "load"
_NONE = "–"
_ALT = {
    "throughput": "Good answers a second by the number of users",
    "first-token": "First token by the number of users",
    "latency": "Whole answers by the number of users",
}
_USERS_VIEW = ("setup", "users", "first token ms", "token interval ms", "whole answer ms", "failures")
_OPERATORS_VIEW = ("setup", "users", "requests/s", "× all-large", "output tokens/s", "answered by")


def write_part(found: Mapping[str, Any], out: Path) -> Path:
    """Write a part's JSON and pictures into `load/`, and its section into `load.md`; other parts stay as they are.

    Args:
        found: as `run_part` gives it.
        out: the folder with `load.md`, which has the part's markers.

    Returns:
        The path of the page.

    Raises:
        ParameterError: the page has no such markers, or the folder cannot be written.
    """
    page, part = out / "load.md", found["part"]
    drawn = pictures(found["setups"], part)
    text = between(_read(page), part, section(found, list(drawn)))
    data = orjson.dumps(found, option=orjson.OPT_INDENT_2)
    write_files(out / _FOLDER, {f"{part}.json": data, **drawn})
    write_files(out, {page.name: text.encode()})
    return page


def check_page(out: Path, parts: Sequence[str]) -> None:
    """See before anything is measured whether it could be written.

    Raises:
        ParameterError: the page is missing, or lacks a part's markers.
    """
    text = _read(out / "load.md")
    for part in parts:
        between(text, part, "")


def section(found: Mapping[str, Any], drawn: Sequence[str] = ()) -> str:
    """A part as Markdown: how it was run, throughput beside quality, both views, what was left out and what limited it.

    Args:
        found: as `run_part` gives it.
        drawn: file names of its pictures.
    """
    setups = found["setups"]
    parts = [_settings(found), *_splits(found["about"])]
    if setups:
        parts += ["**Throughput beside quality**, at the most users:", _beside(setups)]
        parts.append("\n".join(str(Aim(**aim)) for aim in found["aims"]))
        parts += ["**What users see** (median / 99 %):", table(_USERS_VIEW, _rows(setups, _users_row))]
        headings = [*_OPERATORS_VIEW, *_simulated_headings(setups)]
        parts += ["**What operators see**:", table(headings, _rows(setups, _operators_row))]
    warnings = [f"- {line}" for line in [*found["left_out"], *_limits(setups)]]
    if warnings:
        parts += ["**Left out, and limits that were not the setup's own**:", "\n".join(warnings)]
    parts += [f"![{_alt(name)}]({_FOLDER}/{name})" for name in drawn]
    return "\n\n".join(part for part in parts if part)


def _settings(found: Mapping[str, Any]) -> str:
    about = found["about"]
    said = f"Steps of {about['seconds']:g} s at least, think time {about['think_s']:g} s, seed {about['seed']}"
    if "slowdown" not in about:
        return f"*{said}; answers of at most {about['max_tokens']} tokens.*"
    slowed = ", ".join(f"{of:g} at {users_said(int(users))}" for users, of in about["slowdown"].items() if of > 1)
    return (
        f"*{said} on this machine's clock; GPUs simulated slower by {slowed or '1 (as they are)'}; weights of "
        f"{about['weight_bytes']:g} bytes; streams sent {about['stream_interval']} tokens at a time; lengths of "
        f"answers: {about['answers']}.*"
    )


def _splits(about: Mapping[str, Any]) -> list[str]:
    """How the GPUs were shared out: the best way of each route, and the next best."""
    lines = []
    for kind, tried in about.get("splits", {}).items():
        best, *others = tried
        rest = f"; next best: {others[0]['engines']}, {others[0]['requests_per_s']:.1f}" if others else ""
        lines.append(
            f"- `{kind}`: {best['engines']}, planned {best['requests_per_s']:.1f} requests/s at 1,000 users "
            f"(best of {len(tried)}{rest})"
        )
    best = about.get("foresight")
    if best is not None:
        lines.append(
            f"- with foresight: a router between `small` and `{LARGE}` that knew both answers beforehand would ask "
            f"`{LARGE}` for {100 * best['large']:.1f} % of the questions at a drop of {100 * MOST_DROP:g} %; "
            f"{best['engines']}, planned {best['requests_per_s']:.1f} requests/s, {best['ratio']:.2f} × all-large: "
            "the most that any router between these two can reach"
        )
    return ["How the GPUs are shared out:", "\n".join(lines)] if lines else []


def _beside(setups: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for setup in setups:
        step = max(setup["steps"], key=lambda one: one["users"])
        quality = setup["quality"]
        good, drop, kept = (_NONE, _NONE, _NONE) if quality is None else _quality(quality)
        row = (setup["name"], setup["engines"], f"{step['users']:,}", f"{step['requests_per_s']:,.1f}")
        rows.append([*row, _ratio(step), good, drop, kept])
    headings = ("setup", "engines", "users", "requests/s", "× all-large", "quality %", "drop % (95 %)")
    return table([*headings, f"drop ≤ {100 * MOST_DROP:g} %"], rows)


def _quality(quality: Mapping[str, Any]) -> tuple[str, str, str]:
    low, high = (100 * limit for limit in quality["drop_ci95"])
    drop = f"{100 * quality['drop']:.2f} ({low:.2f} to {high:.2f})"
    return f"{100 * quality['quality']:.1f}", drop, "yes" if quality["drop"] <= MOST_DROP else "no"


def _rows(setups: Sequence[Mapping[str, Any]], row: Any) -> list[list[str]]:
    """The rows of all steps, those with as many users together."""
    users = sorted({step["users"] for setup in setups for step in setup["steps"]})
    return [
        [setup["name"], f"{count:,}", *row(step)]
        for count in users
        for setup in setups
        for step in setup["steps"]
        if step["users"] == count
    ]


def _users_row(step: Mapping[str, Any]) -> list[str]:
    times = [_times(step[name]) for name in ("first_token_ms", "token_interval_ms", "latency_ms")]
    return [*times, f"{step['failed']:,}"]


def _operators_row(step: Mapping[str, Any]) -> list[str]:
    shares = sorted(step["shares"].items(), key=lambda pair: -pair[1])
    said = ", ".join(f"{name} {100 * share:.1f} %" for name, share in shares)
    row = [f"{step['requests_per_s']:,.1f}", _ratio(step), f"{step['tokens_per_s']:,.0f}", said]
    if "of_planned" in step:
        row += [f"{step['tokens_per_s_gpu']:,.0f}", f"{100 * step['of_planned']:.0f} %"]
    return row


def _simulated_headings(setups: Sequence[Mapping[str, Any]]) -> list[str]:
    simulated = any("of_planned" in step for setup in setups for step in setup["steps"])
    return ["tokens/s a GPU", "of planned"] if simulated else []


def _limits(setups: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = []
    for setup in setups:
        for step in setup["steps"]:
            where = f"{setup['name']}, {users_said(step['users'])}"
            lines += [f"{where}: {reason}." for reason in step["limited_by"]]
            lines += [
                f"{where}: {count} × {kind}: {step['messages'].get(kind, '')}"
                for kind, count in step["failures"].items()
            ]
    return lines


def _times(of: Mapping[str, float] | None) -> str:
    return _NONE if of is None else f"{_number(of['p50'])} / {_number(of['p99'])}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _ratio(step: Mapping[str, Any]) -> str:
    return _NONE if step["ratio"] is None else f"{step['ratio']:.2f}"


def _alt(name: str) -> str:
    return next((text for kind, text in _ALT.items() if kind in name), name)


def _read(page: Path) -> str:
    try:
        return page.read_text(encoding="utf-8")
    except OSError as error:
        raise ParameterError(f"{page} cannot be read ({error.strerror}): name the folder that holds load.md.") from None
