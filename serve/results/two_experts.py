"""Studies of a small and a large expert: RouteLLM's sets, and Hybrid LLM's protocol."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from routers import RoutingData
from routers.evaluation import by_fold
from serve.reporting import Scene
from serve.reporting.plots import deferral
from serve.reporting.tables_in_docs import table
from serve.results.line_up import HYBRID, TWO_EXPERTS, Entry
from serve.results.published import HYBRID_DROPS, ROUTELLM, ROUTELLM_TRAINING
from serve.results.study import Aim, Section, Study, beside_rows, curve_row, judged_part

__all__ = ["GAPS", "chosen_pairs", "hybrid", "routellm"]

_SETS = {"routellm-mmlu": ("MMLU", 0.72), "routellm-gsm8k": ("GSM8K", 0.66), "routellm-mtbench": ("MT-Bench", None)}
_COLUMNS = ("router", "CPT(50 %)", "CPT(80 %)", "APGR [95 %]")
_CAUSE = {
    "routellm-mmlu": "What a subject tells of prompts that were not learned from is the row of the domain alone; the "
    "domain oracle is above it because it knows the judged labels. Words and embeddings add little within a subject, "
    "where it is mostly chance which of the two experts knows a single fact, or guessed right among four answers.",
    "routellm-gsm8k": "There are about 1,050 prompts to learn from, all of one kind. Noise alone does not forbid more: "
    "who knows one measurement of the small expert is far better by another one (see label noise).",
}
GAPS = {"small": 0.05, "medium": 0.20, "large": 0.50}
"""Relative gap in quality, 1 - small / large, that a pair of each kind should have."""


def routellm(study: Study, entries: Sequence[Entry] = TWO_EXPERTS) -> Section:
    """Our routers on RouteLLM's sets, in-domain with 5 folds, beside RouteLLM's published figures."""
    section = Section()
    section.say(
        "Mixtral-8x7B and GPT-4, prompts that RouteLLM marks as contaminated left out as it does. Ours are trained on "
        f"four fifths of the same set and judged on the rest ({study.protocol}), so they know what the set is about; "
        f"RouteLLM's published routers do not: they were trained on {ROUTELLM_TRAINING}. The two are not the same "
        "task, and ours is the easier one. CPT is in % of calls to GPT-4: less is better.",
        "Members of the ensembles are `linear`, `forest` and `poly-knn`; with MiniLM the last one compares embeddings "
        "of all-MiniLM-L6-v2 instead of words. Routers with the domain are told each prompt's subject beside the text, "
        "as a request can do it (`routing.side`). Tried as well, and no better by more than chance: runs of "
        "characters, words without shapes and counts, a line on embeddings, more members, and weights from a stack.",
    )
    for place, (source, (title, aim)) in enumerate(_SETS.items()):
        data = study.load(source, "contaminated")
        scene = study.judged(data, study.folds(data), entries, told=study.within(place, len(_SETS)))
        _routellm_set(study, section, source, title, scene)
        if aim is not None:
            best, of = max(scene.judgement.routers.items(), key=lambda item: item[1]["apgr"] or 0.0)
            row = curve_row(best, of)[-1]
            text = f"APGR of at least {aim:.2f} on RouteLLM's {title}; the best is {best} with {row}"
            section.aims.append(Aim(text, bool(of["apgr"] and of["apgr"] >= aim), _CAUSE[source]))
    return section


def _routellm_set(study: Study, section: Section, source: str, title: str, scene: Scene) -> None:
    found = scene.judgement
    rows = [curve_row(name, of) for name, of in found.routers.items()]
    rows += beside_rows(found, "length", "domain-oracle", "prompt-oracle")
    rows += [
        [f"published: {name}", f"{cpt50:.1f}", f"{cpt80:.1f}", f"{apgr:.3f}"]
        for name, (cpt50, cpt80, apgr) in ROUTELLM[source].items()
    ]
    section.say(f"### {title}: {found.n_prompts:,} prompts", table(_COLUMNS, rows))
    if source == "routellm-mtbench":
        section.say(
            f"{found.n_prompts} questions are far too few: intervals of this width say next to nothing about "
            f"which router is better, "
            "and nothing was tuned on them."
        )
    if "suspect" in scene.exam.data.frame:
        first = scene.exam.data.frame.drop_duplicates("prompt_id")
        trusted = judged_part(study, scene, ~first["suspect"].to_numpy(dtype=bool)).judgement
        rows = [curve_row(name, of) for name, of in trusted.routers.items()]
        rows += beside_rows(trusted, "length", "domain-oracle")
        section.say(
            f"Without high_school_mathematics, where GPT-4's answers were most likely not recognised "
            f"({trusted.n_prompts:,} prompts, same trained routers):",
            table(_COLUMNS, rows),
        )
    section.show(source, f"Quality against the share of calls to GPT-4 on {title}", deferral(scene))


def chosen_pairs(data: RoutingData) -> dict[str, tuple[str, str]]:
    """For each kind of gap the pair (small, large) whose relative gap in quality is nearest to it.

    The large expert is the better and the dearer one; of equals the first pair by name.
    """
    names = sorted(data.experts)
    order = [data.experts.index(name) for name in names]
    quality, cost = data.quality().mean(axis=0)[order], data.cost().mean(axis=0)[order]
    pairs = [
        (1 - quality[i] / quality[j], names[i], names[j])
        for i in range(len(names))
        for j in range(len(names))
        if quality[i] < quality[j] and cost[i] < cost[j]
    ]
    return {kind: min(pairs, key=lambda pair: (abs(pair[0] - aim), pair[1:]))[1:] for kind, aim in GAPS.items()}


def hybrid(study: Study, entries: Sequence[Entry] = HYBRID) -> Section:
    """Quality drop at three cost advantages, for pairs with a small, a medium and a large gap."""
    section = Section()
    gaps = ", ".join(f"{100 * aim:.0f} % ({kind})" for kind, aim in GAPS.items())
    section.say(
        f"Of every set the pairs whose relative gap in quality, 1 − small / large, is nearest to {gaps}, where the "
        "large expert is also the dearer one. Two of five folds are judged (by routers that learned from the "
        "other four). "
        "Quality drop in % against sending everything to the large expert; below 0 is a gain.",
        "The public sets have one sample an answer, graded right or wrong. With that, the labels of r_det, r_prob and "
        "r_trans are the same by their definitions (Pr[H ≥ 0] is 0 or 1, and no relaxation t below 1 changes it), so "
        "the three routers agree here; they can differ only on data with several samples.",
    )
    headings = ["pair", "router", "at 10 %", "20 %", "40 %"]
    sources = {"zeroeval": ("ZeroEval", entries), "mmlu-pro": ("MMLU-Pro", entries[1:2] or entries)}
    for place, (source, (title, running)) in enumerate(sources.items()):
        whole = study.load(source)
        rows: list[list[str]] = []
        for number, (kind, pair) in enumerate(chosen_pairs(whole).items()):
            data, told = whole.select(pair), study.within(place * len(GAPS) + number, 2 * len(GAPS))
            scene = study.judged(data, by_fold(data, 5)[:2], running, pair=pair, told=told)
            rows += _drops(kind, scene)
        section.say(f"### {title}", table(headings, rows))
    published = [
        [f"published, {kind}", name, *(f"{drops[share][i]:.1f}" for share in (10, 20, 40))]
        for kind, drops in HYBRID_DROPS.items()
        for i, name in enumerate(("r_det", "r_prob", "r_trans"))
    ]
    section.say(
        "### As published",
        "Other models, other prompts (MixInstruct), quality by BARTScore and an encoder of 300 million parameters: the "
        "shape can be compared, the figures cannot.",
        table(headings, published),
    )
    return section


def _drops(kind: str, scene: Scene) -> list[list[str]]:
    found = scene.judgement
    quality = {name: 100 * of["quality"] for name, of in found.experts.items()}
    pair = f"{kind}: {found.small} ({quality[found.small]:.1f} %) → {found.large} ({quality[found.large]:.1f} %)"
    rows = []
    for name, of in [
        *found.routers.items(),
        ("*length*", found.baselines["length"]),
        ("*random*", found.baselines["random"]),
    ]:
        cells = []
        for share in ("10", "20", "40"):
            drop, limits = of["quality_drop"][share], of["ci95"]["quality_drop"].get(share)
            inside = "" if limits is None else f" [{100 * limits[0]:.1f}, {100 * limits[1]:.1f}]"
            cells.append("–" if drop is None or not np.isfinite(drop) else f"{100 * drop:.1f}{inside}")
        rows.append([pair, name, *cells])
    return rows
