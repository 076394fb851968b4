"""Studies of prompts unlike those learned from: other sets, held-out subjects; and of labels that are wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from routers import RoutingData
from routers.evaluation import Fold, Predictions, by_domain, by_fold, predict
from serve.importing.routellm import EXPERTS
from serve.reporting import Scene
from serve.reporting.tables_in_docs import table
from serve.results.line_up import FAST_TWO, HELD_OUT, Entry
from serve.results.study import Aim, Section, Study, beside_rows, curve_row

__all__ = ["domains", "noise", "renamed", "transfer"]

_COLUMNS = ("router", "CPT(50 %)", "CPT(80 %)", "APGR [95 %]")
_GROUPS = 5
_FOLDS = 5
_MMLU_PRO_PAIR = ("Mixtral-8x7B-Instruct-v0.1", "Meta-Llama-3.1-70B-Instruct")
_ZEROEVAL_PAIR = ("Meta-Llama-3.1-8B-Instruct", "gpt-4o-2024-08-06")


@dataclass(frozen=True)
class _Way:
    """One transfer: where from, without which columns' rows, and where to."""

    title: str
    source: str
    source_drop: tuple[str, ...]
    source_pair: tuple[str, str]
    target: str
    target_drop: tuple[str, ...]
    target_pair: tuple[str, str]


_WAYS = (
    _Way(
        "MMLU-Pro (without the questions of MMLU) → RouteLLM's MMLU",
        "mmlu-pro",
        ("in_mmlu_test",),
        _MMLU_PRO_PAIR,
        "routellm-mmlu",
        ("contaminated",),
        EXPERTS,
    ),
    _Way(
        "ZeroEval (without GSM8K) → RouteLLM's GSM8K",
        "zeroeval",
        ("in_gsm8k_test",),
        _ZEROEVAL_PAIR,
        "routellm-gsm8k",
        ("contaminated",),
        EXPERTS,
    ),
    _Way(
        "RouteLLM's GSM8K → ZeroEval (without GSM8K)",
        "routellm-gsm8k",
        (),
        EXPERTS,
        "zeroeval",
        ("in_gsm8k_test",),
        _ZEROEVAL_PAIR,
    ),
)


def renamed(data: RoutingData, names: Mapping[str, str]) -> RoutingData:
    """The same rows with experts of other names, in the order of `names`' values."""
    frame = data.frame
    frame["expert"] = frame["expert"].map(lambda name: names.get(name, name))
    return RoutingData(frame).select(names.values())


def transfer(study: Study, entries: Sequence[Entry] = FAST_TWO) -> Section:
    """Routers trained on one set and judged on another, with another pair of experts."""
    section = Section()
    section.say(
        "Trained on one set and its pair of a small and a large expert, judged on another: the large one's "
        "role is taken "
        "over by the target's. No prompt of the target was learned from; questions that both sets have are left out of "
        "the training as docs/data.md says. At .5 nothing was carried over."
    )
    for place, way in enumerate(_WAYS):
        source = study.load(way.source, *way.source_drop, experts=way.source_pair)
        target = study.load(way.target, *way.target_drop, experts=way.target_pair)
        data = renamed(target, dict(zip(way.target_pair, way.source_pair, strict=True)))
        predictions: dict[str, Predictions] = {}
        for entry in entries:
            router = entry.make(way.source_pair, study.seed).fit(source.select(way.source_pair), study.within(place, 3))
            predictions[entry.label] = predict(router, data, timed=False)
        found = study.scene(data, predictions, way.source_pair).judgement
        rows = [curve_row(name, of) for name, of in found.routers.items()] + beside_rows(
            found, "length", "domain-oracle"
        )
        source_pair, target_pair = (" → ".join(pair) for pair in (way.source_pair, way.target_pair))
        section.say(
            f"### {way.title}",
            f"Learned from {len(source.texts):,} prompts, {source_pair}; judged on {found.n_prompts:,}, {target_pair}.",
            table(_COLUMNS, rows),
        )
    return section


def domains(study: Study, entries: Sequence[Entry] = HELD_OUT) -> Section:
    """Whole subjects of MMLU, and whole data sets of ZeroEval, held out."""
    section = Section()
    section.say(
        f"MMLU's 57 subjects in {_GROUPS} groups, by the hash of their names; each group is judged by routers that "
        "learned from the other subjects. ZeroEval's three data sets likewise. One threshold for all groups. "
        f"({study.protocol.capitalize()}.)"
    )
    mmlu = study.load("routellm-mmlu", "contaminated")
    scene = study.judged(mmlu, _subject_groups(mmlu)[: study.judged_folds], entries, told=study.within(0, 2))
    section.say(f"### RouteLLM's MMLU, {_GROUPS} groups of subjects", _curves(scene))
    best, of = max(scene.judgement.routers.items(), key=lambda item: item[1]["apgr"] or 0.0)
    length = scene.judgement.baselines["length"]
    text = (
        f"APGR above length on held-out subjects of MMLU; the best is {best} with {curve_row(best, of)[-1]}, "
        f"length has "
        f"{curve_row('', length)[-1]}"
    )
    cause = "Words tell of the subject; on subjects that were never seen they tell less than the prompt's length does."
    section.aims.append(Aim(text, of["apgr"] > length["apgr"], cause))
    zeroeval = study.load("zeroeval", experts=_ZEROEVAL_PAIR)
    scene = study.judged(zeroeval, by_domain(zeroeval), entries, pair=_ZEROEVAL_PAIR, told=study.within(1, 2))
    section.say(f"### ZeroEval, each data set held out ({' → '.join(_ZEROEVAL_PAIR)})", _curves(scene))
    return section


def noise(study: Study, entries: Sequence[Entry] = FAST_TWO) -> Section:
    """The small expert measured twice on GSM8K: how far labels agree, and what that costs a router."""
    first = study.load("routellm-gsm8k", "contaminated")
    small, large = EXPERTS
    again = _measured_again(study, first, small)
    one, two = (data.quality()[:, data.experts.index(small)] for data in (first, again))
    section = Section()
    section.say(
        f"{small} was measured on GSM8K by RouteLLM and by ZeroEval, with other prompts around the question. On the "
        f"{len(one):,} questions that RouteLLM does not mark as contaminated it is right on "
        f"{100 * one.mean():.1f} % and on "
        f"{100 * two.mean():.1f} %, and both agree on {100 * (one == two).mean():.1f} %. {large} is "
        f"RouteLLM's in both.",
        "Rows: what was learned from. Columns: whose labels it is judged by (5 folds). The last row knows "
        "every label of "
        "the first measurement: by the second one it shows how much of a perfect router is left.",
    )
    pair, folds = (small, large), by_fold(first, _FOLDS)
    learned = {"first": first, "second": again}
    predictions: dict[str, Mapping[str, Predictions]] = {}
    for place, (name, data) in enumerate(learned.items()):
        scene = study.judged(data.select(pair), folds, entries, pair=pair, told=study.within(place, 2))
        predictions |= {f"{label}, learned from the {name}": {label: of} for label, of in scene.predictions.items()}
    oracle = first.select(pair).quality()
    known = Predictions(oracle, oracle.argmax(axis=1), first.select(pair).cost().mean(axis=0))
    predictions["knows the first"] = {"knows": known}
    rows = []
    for label, said in predictions.items():
        cells = [study.scene(data.select(pair), said, pair).judgement.routers for data in learned.values()]
        rows.append([label, *(curve_row("", next(iter(of.values())))[-1] for of in cells)])
    section.say(table(["router", "APGR by the first [95 %]", "by the second [95 %]"], rows))
    return section


def _measured_again(study: Study, first: RoutingData, expert: str) -> RoutingData:
    """The same data with an expert's quality as ZeroEval has it."""
    second = study.load("zeroeval", experts=(expert,)).frame
    right = dict(zip(second["prompt"], second["quality"], strict=True))
    frame = first.frame
    mine = frame["expert"] == expert
    frame.loc[mine, "quality"] = frame.loc[mine, "prompt"].map(right)
    return RoutingData(frame)


def _subject_groups(data: RoutingData) -> list[Fold]:
    """Folds of whole domains, held against one threshold."""
    frame = data.frame
    frame["fold"] = frame["domain"].map(_group)
    return [replace(fold, alike=False) for fold in by_fold(RoutingData(frame), min(_GROUPS, frame["fold"].nunique()))]


def _group(name: str) -> int:
    return int.from_bytes(sha256(name.encode()).digest()[:8], "big") % _GROUPS


def _curves(scene: Scene) -> str:
    found = scene.judgement
    rows = [curve_row(name, of) for name, of in found.routers.items()]
    return table(_COLUMNS, rows + beside_rows(found, "length", "domain-oracle"))
