"""What each part says in docs/autoscaling.md: its tables, and whether it came up to what was aimed at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from serve.reporting.tables_in_docs import table
from serve.scaling.growth import FULL
from serve.scaling.settings import ROUTER

__all__ = ["aims_of_following", "following_text", "growth_text", "zero_text"]

_LINEAR = 0.9
_NONE = "–"


def aims_of_following(found: Mapping[str, Any]) -> list[tuple[bool, str]]:
    """What was aimed at, and whether it was reached."""
    aims = [
        (not found["lost"]["failed"], f"requests that failed for a client: {found['lost']['failed']:,}"),
        (
            not found["lost"]["given_to_another"],
            f"requests that an expert failed and another one answered: {found['lost']['given_to_another']:,}",
        ),
    ]
    for name, pool in found["pools"].items():
        judged = pool["judged"]
        excess, never = judged["excess_turns"], judged["lag"]["never"]
        aims.append((not excess, f"{name}: changes of direction beyond the load's own: {excess}"))
        aims.append((not never, f"{name}: numbers of replicas that were needed and never ran: {never}"))
    return aims


def following_text(found: Mapping[str, Any]) -> str:
    """The figures of a day or a spike."""
    summary = found["summary"]
    first, whole = summary["first_token_ms"], summary["latency_ms"]
    said = (
        f"{summary['requests']:,} requests in {found['about']['scenario']['seconds']:g} s; first token "
        f"{_ms(first, 'p50')} in the median, {_ms(first, 'p95')} (95 %), {_ms(first, 'p99')} (99 %); whole answer "
        f"{_ms(whole, 'p50')}, {_ms(whole, 'p95')}, {_ms(whole, 'p99')}. Delays were divided by "
        f"{found['compression']:g}. {_machine(found)}"
    )
    lines = [
        said,
        "",
        table(
            [
                "pool", "replicas", "turns, of them the load's", "came after the load, s", "went after it, s",
                "too few, s", "replica-seconds", "of a fixed pool", "saved",
            ],
            [_pool_row(name, pool) for name, pool in found["pools"].items()],
        ),
        "",
        *_gpus(found["pools"]),
        *_aims(aims_of_following(found)),
    ]  # fmt: skip
    return "\n".join(lines)


def zero_text(found: Mapping[str, Any]) -> str:
    """The figures of an expert that sleeps."""
    rows = [
        [
            episode["what"],
            str(episode["requests"]),
            f"{episode['running']} of {episode['held']}",
            f"{episode['waited_s']:.1f}",
            ", ".join(episode["experts"]) or _NONE,
            episode["tried"] or _NONE,
            str(episode["lost"]),
        ]
        for episode in found["episodes"]
    ]
    rests = "; ".join(f"{rest['unwanted_s']:.1f} s and {rest['gone_s']:.1f} s" for rest in found["rests"])
    head = ["sent", "requests", "replicas running, of those there", "answered after, s", "by", "tried", "lost"]
    lines = [
        f"Expert `{found['expert']}`, asked by route `{found['route']}`; delays divided by {found['compression']:g}.",
        "",
        table(head, rows),
        "",
        f"After the last answer no replica was wanted, and then none was left, after {rests}.",
        "",
        *_aims([(not found["lost"], f"requests lost: {found['lost']}")]),
    ]
    return "\n".join(lines)


def growth_text(found: Mapping[str, Any]) -> str:
    """The figures of growth."""
    routers, experts = found["routers"], found["experts"]
    router_rows = [
        [
            str(point["count"]),
            f"{point['requests_per_s']:,.0f}",
            f"{_against(point, routers):.2f}",
            f"{point['machine_cpu']:.0%}",
            f"{1e3 * point['cpu_s']['router']:.2f}",
            f"{1 / max(point['cpu_s']['router'], 1e-9):,.0f}",
            f"{1e3 * point['cpu_s']['haproxy']:.2f}",
            f"{1e3 * point['cpu_s']['experts']:.2f}",
            f"{1e3 * point['client_cpu'] / max(point['requests_per_s'], 1e-9):.2f}",
            f"{point['bytes_per_request']:,.0f}",
            str(point["failures"]),
        ]
        for point in routers
    ]
    expert_rows = [
        [
            str(point["count"]),
            f"{point['requests_per_s']:,.1f}",
            f"{_against(point, experts):.3f}",
            f"{point['machine_cpu']:.0%}",
            str(point["failures"]),
        ]
        for point in experts
    ]
    router_head = [
        "Routers", "requests/s", "of linear", "machine in use", "Router, ms of a processor a request",
        "requests/s of a Router's core", "HAProxy, ms", "expert, ms", "load generator, ms",
        "bytes a request", "failures",
    ]  # fmt: skip
    slow = (
        f"Experts of {found['expert']['capacity']['max_sequences']} sequences at "
        f"{1e3 * found['expert']['timing']['step_s']:g} ms a step, {found['users_an_expert']} users each, one Router:"
    )
    lines = [
        f"{found['users']} users, instant experts, {found['answer_tokens']} tokens, {found['processors']} processors:",
        "",
        table(router_head, router_rows),
        "",
        f"{_full(routers, 'Routers')}",
        "",
        slow,
        "",
        table(["experts", "requests/s", "of linear", "machine in use", "failures"], expert_rows),
        "",
        f"{_full(experts, 'experts')}",
        "",
        *_aims([_linear(point, experts) for point in experts[1:]]),
    ]
    return "\n".join(lines)


def _linear(point: Mapping[str, Any], points: Sequence[Mapping[str, Any]]) -> tuple[bool, str]:
    share = _against(point, points)
    return share >= _LINEAR, f"{point['count']} experts: {share:.1%} of linear (aim: {_LINEAR:.0%})"


def _against(point: Mapping[str, Any], points: Sequence[Mapping[str, Any]]) -> float:
    """The rate beside the first one's, times the count."""
    first = points[0]
    linear = first["requests_per_s"] * point["count"] / first["count"]
    return float(point["requests_per_s"] / max(linear, 1e-9))


def _full(points: Sequence[Mapping[str, Any]], what: str) -> str:
    full = next((point for point in points if point["machine_cpu"] >= FULL), None)
    if full is None:
        return f"The machine was not the limit up to {points[-1]['count']} {what}."
    used = f"{full['machine_cpu']:.0%} of its processors in use"
    return f"From {full['count']} {what} on the machine itself was the limit ({used})."


def _pool_row(name: str, pool: Mapping[str, Any]) -> list[str]:
    judged = pool["judged"]
    lag = judged["lag"]
    return [
        name,
        f"{judged['least']}–{judged['most']} (may: {pool['bounds']['least']}–{pool['bounds']['most']})",
        f"{judged['turns']}, {judged['load_turns']}",
        _range(lag["up_s"]),
        _range(lag["down_s"]),
        f"{judged['short_s']:.0f}",
        f"{judged['held_s']:,.0f}",
        f"{judged['fixed_s']:,.0f}",
        f"{judged['saved']:.0%}",
    ]


def _range(values: Sequence[float]) -> str:
    if not values:
        return _NONE
    return f"{min(values):.1f}–{max(values):.1f}" if len(values) > 1 else f"{values[0]:.1f}"


def _gpus(pools: Mapping[str, Any]) -> list[str]:
    experts = [pool for name, pool in pools.items() if name != ROUTER]
    held = sum(pool["gpus"] * pool["judged"]["held_s"] for pool in experts)
    fixed = sum(pool["gpus"] * pool["judged"]["fixed_s"] for pool in experts)
    if not fixed:
        return []
    return [f"In GPU-seconds: {held:,.0f} instead of {fixed:,.0f}, which saves {1 - held / fixed:.0%}.", ""]


def _aims(aims: Sequence[tuple[bool, str]]) -> list[str]:
    return [f"- {'Reached' if reached else '**Missed**'}: {text}." for reached, text in aims]


def _ms(of: Mapping[str, float] | None, name: str) -> str:
    return _NONE if of is None else f"{of[name]:,.0f} ms"


def _machine(found: Mapping[str, Any]) -> str:
    used = found["client"]["machine_cpu"]
    limit = "; the load generator was a limit" if found["client"]["was_limit"] else ""
    return "" if used is None else f"The machine's processors were in use by {used:.0%} on average{limit}."
