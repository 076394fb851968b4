"""The page docs/results.md: its frame, and how the sections of single studies are put into it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from routers.errors import ParameterError
from serve.results.learning import learning
from serve.results.pools import pools
from serve.results.shifts import domains, noise, transfer
from serve.results.study import Section, Study
from serve.results.two_experts import hybrid, routellm

__all__ = ["PARTS", "write_section"]

PARTS: Mapping[str, tuple[str, Callable[[Study], Section]]] = {
    "routellm": ("RouteLLM's three sets", routellm),
    "pools": ("Pools of experts", pools),
    "hybrid": ("Hybrid LLM's protocol", hybrid),
    "transfer": ("From one set to another", transfer),
    "domains": ("Held-out domains", domains),
    "noise": ("Label noise", noise),
    "learning": ("Learning curves", learning),
}
"""The studies by name: heading, and what runs it."""

_HEAD = """\
# Results

What the routers reach on published data, beside what others published and what needs no router. `make results`
writes this page and its pictures from the data folder ([data.md](data.md)); one part of it: `python -m
serve.results --data DIR --out docs --only PART`. Nothing else wrote a figure here. [evaluation.md](evaluation.md)
explains the metrics. In brackets are 95 % intervals from resampled prompts ({resamples}); they tell how far a
figure moves with other prompts, not with other training data or another seed. Expensive studies take the faster
routers, and each says what it judged. `poly-knn` on words has 128 dimensions throughout, twice its default.
"""
_AIMS = "## What was aimed at"
_NO_AIMS = "No study with an aim has been run."
_SECTION = "<!-- begin: {name}; {resamples} resamples, {protocol}, seed {seed} -->\n{text}\n<!-- end: {name} -->"
_FIND = r"<!-- begin: {name};[^\n]*-->\n.*?\n<!-- end: {name} -->"
_AIM = re.compile(r"^- (?:Reached|\*\*Missed\*\*): .*$", re.MULTILINE)


def write_section(name: str, section: Section, study: Study, out: Path) -> Path:
    """Put a study's section into `results.md` in a folder, and its pictures into `results/` beside it.

    Sections of other studies stay as they are; the list of aims is made of all of them.

    Returns:
        The path of the page.

    Raises:
        ParameterError: the folder cannot be written.
    """
    page = out / "results.md"
    pictures = out / "results"
    try:
        pictures.mkdir(parents=True, exist_ok=True)
        for file, content in section.pictures.items():
            (pictures / file).write_bytes(content)
        before = page.read_text(encoding="utf-8") if page.exists() else ""
        page.write_text(_page(before, name, section, study), encoding="utf-8")
    except OSError as error:
        raise ParameterError(
            f"The results cannot be written to {out} ({error.strerror or error}): name another folder."
        ) from None
    return page


def _page(before: str, name: str, section: Section, study: Study) -> str:
    held = {part: found.group() for part in PARTS if (found := _found(before, part))}
    settings = f"*{study.resamples} resamples; {study.protocol}; seed {study.seed}.*"
    body = [f"## {PARTS[name][0]}", settings, *section.text]
    if section.aims:
        body.append("\n".join(map(str, section.aims)))
    mark = {"name": name, "resamples": study.resamples, "protocol": study.protocol, "seed": study.seed}
    held[name] = _SECTION.format(**mark, text="\n\n".join(body))
    sections = [held[part] for part in PARTS if part in held]
    aims = _AIM.findall("\n".join(sections))
    counts = sorted({int(count) for count in re.findall(r"<!-- begin: \w+; (\d+) resamples", "\n".join(sections))})
    head = _HEAD.format(resamples=" or ".join(map(str, counts)))
    return "\n\n".join([head.strip(), _AIMS, "\n".join(aims) or _NO_AIMS, *sections]) + "\n"


def _found(text: str, part: str) -> re.Match[str] | None:
    return re.search(_FIND.format(name=part), text, re.DOTALL)
