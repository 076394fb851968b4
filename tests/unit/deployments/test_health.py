import asyncio
from typing import Any

from deployments.health import Health
from deployments.upstream import ExpertTarget


class Upstream:
    """Counts how often it is asked."""

    def __init__(self, **ready: bool) -> None:
        self.answers = ready
        self.asked: list[str] = []

    async def ready(self, target: ExpertTarget, *, timeout_s: float) -> bool:
        assert timeout_s > 0
        self.asked.append(target.expert)
        return self.answers[target.expert]


def target(name: str, **changes: Any) -> ExpertTarget:
    return ExpertTarget(name, f"http://127.0.0.1/{name}/v1", name, {}, **changes)


async def test_probes_once_for_many_askers_and_spares_sleepers() -> None:
    upstream = Upstream(a=True, b=False)
    health = Health(upstream, [target("a"), target("b"), target("sleepy", probe=False)])  # type: ignore[arg-type]
    answers = await asyncio.gather(*(health.experts() for _ in range(20)))
    assert answers[0] == {"a": True, "b": False, "sleepy": True}
    assert sorted(upstream.asked) == ["a", "b"]
