"""Studies of pools: several experts against the best single one, and what oracles reach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from routers.evaluation import Difference
from serve.reporting import Scene
from serve.reporting.plots import cluster_map, cost_curve, heat_map
from serve.reporting.tables_in_docs import table
from serve.results.line_up import N_EXPERTS, Entry
from serve.results.study import Aim, Section, Study, with_interval

__all__ = ["POOLS", "Pool", "pools"]

_SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Pool:
    """Experts of one public set.

    Attributes:
        title: what the page calls it.
        source: the set.
        experts: ids.
        aim: mean quality that a router should reach; None: no such aim.
    """

    title: str
    source: str
    experts: tuple[str, ...]
    aim: float | None = None


POOLS: dict[str, Pool] = {
    "pool-small": Pool(
        "MMLU-Pro, experts of 4 to 8 billion parameters",
        "mmlu-pro",
        ("Meta-Llama-3.1-8B-Instruct", "Phi-3-mini-4k-instruct", "mathstral-7B"),
        aim=0.46,
    ),
    "pool-large": Pool(
        "MMLU-Pro, large experts",
        "mmlu-pro",
        ("DeepSeek-Coder-V2", "Meta-Llama-3.1-70B-Instruct", "gemini-1.5-flash-002", "gemini-1.5-pro-002"),
    ),
    "pool-frontier": Pool(
        "ZeroEval, frontier experts",
        "zeroeval",
        ("Llama-3.1-405B-Instruct", "Mistral-Large-2", "claude-3-5-sonnet-20241022", "gpt-4o-2024-08-06"),
    ),
}
_WORSE = "The lead of the best expert over the others is larger than what these features tell apart."
_BELOW = (
    "Even an oracle that knows each prompt's true domain gains little over the best single expert, since "
    "a domain's best "
    "expert is rarely much better there; what is left would have to be told from the words within a domain."
)


def pools(study: Study, entries: Sequence[Entry] = N_EXPERTS) -> Section:
    """Routers for any number of experts, 5 folds, beside the best single expert and two oracles."""
    section = Section()
    section.say(
        f"Own choice of each router, {study.protocol}: the expert with the best predicted quality, whatever "
        f"it costs. The "
        "difference from the best single expert is on the same resamples of the prompts. The domain oracle knows each "
        "domain's mean qualities on these very prompts, the prompt oracle every single answer. Large experts: the "
        "prompts that all four answered. Frontier: the best model without hidden reasoning of each of four makers."
    )
    for place, (name, pool) in enumerate(POOLS.items()):
        data = study.load(pool.source, experts=pool.experts)
        scene = study.judged(data, study.folds(data), entries, told=study.within(place, len(POOLS)))
        _pool(section, name, pool, scene)
    return section


def _pool(section: Section, name: str, pool: Pool, scene: Scene) -> None:
    found = scene.judgement
    best = f"expert:{found.best}"
    beside = {other.first: other for other in found.paired if other.second == best and other.metric == "quality"}
    rows = [_row(router, of, beside.get(router)) for router, of in found.routers.items()]
    rows += [_row(f"*{expert}*", found.baselines[f"expert:{expert}"], None) for expert in pool.experts]
    oracles = ("domain-oracle", "prompt-oracle")
    rows += [_row(f"*{oracle}*", found.baselines[oracle], None) for oracle in oracles if oracle in found.baselines]
    headings = ["router", "quality, % [95 %]", "cost of 1,000, $", "against best single [95 %]", "AIQ"]
    section.say(f"### {pool.title}: {found.n_prompts:,} prompts", table(headings, rows))
    section.show(name, f"Quality against cost, {pool.title}", cost_curve(scene))
    if name == "pool-small":
        section.show(f"{name}-domains", f"Quality by domain, {pool.title}", heat_map(scene))
        section.show(f"{name}-map", f"Map of the prompts, {pool.title}", cluster_map(scene))
    section.aims += _aims(pool, scene, beside)


def _row(name: str, of: dict[str, Any], beside: Difference | None) -> list[str]:
    own = of["own_choice"]
    against = "–"
    if beside is not None:
        limits = "" if beside.ci95 is None else f" [{100 * beside.ci95[0]:+.1f}, {100 * beside.ci95[1]:+.1f}]"
        against = f"{100 * beside.difference:+.1f}{limits}"
    aiq = "–" if of["aiq"] is None else f"{100 * of['aiq']:.1f}"
    quality = with_interval(own["quality"], of["ci95"]["own_choice"]["quality"], percent=True)
    return [name, quality, f"{1000 * own['cost']:.3g}", against, aiq]


def _aims(pool: Pool, scene: Scene, beside: dict[str, Difference]) -> list[Aim]:
    found = scene.judgement
    aims = []
    if pool.aim is not None:
        best, of = max(found.routers.items(), key=lambda item: item[1]["own_choice"]["quality"])
        quality = of["own_choice"]["quality"]
        shown = with_interval(quality, of["ci95"]["own_choice"]["quality"], percent=True)
        text = f"at least {100 * pool.aim:.1f} % on {pool.title}; the best is {best} with {shown}"
        aims.append(Aim(text, quality >= pool.aim, _BELOW))
    worse = [
        f"{name} ({100 * one.difference:+.1f})"
        for name, one in beside.items()
        if one.difference < 0 and one.p is not None and one.p < _SIGNIFICANT
    ]
    text = f"no router significantly worse than the best single expert on {pool.title}"
    aims.append(Aim(text + (f"; worse: {', '.join(worse)}" if worse else ""), not worse, _WORSE))
    return aims
