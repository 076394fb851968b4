"""Whether the experts are ready, asked at most once a second however many clients want to know."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

from .upstream import ExpertTarget, Upstream

__all__ = ["Health"]

_PROBE_TIMEOUT_S = 3.0
_FRESH_S = 1.0


class Health:
    """Probes of the experts that are to be probed.

    Args:
        upstream: the connections to the experts.
        targets: the experts; those with ``probe=False`` count as ready (a probe would wake them from zero replicas).
    """

    def __init__(self, upstream: Upstream, targets: Iterable[ExpertTarget]) -> None:
        self._upstream = upstream
        self._targets = tuple(targets)
        self._lock = asyncio.Lock()
        self._known: dict[str, bool] = {}
        self._known_at_s = float("-inf")

    async def experts(self) -> dict[str, bool]:
        """Readiness by expert id."""
        async with self._lock:
            if time.monotonic() - self._known_at_s > _FRESH_S:
                ready = await asyncio.gather(*map(self._probe, self._targets))
                self._known = dict(zip((target.expert for target in self._targets), ready, strict=True))
                self._known_at_s = time.monotonic()
            return self._known

    async def _probe(self, target: ExpertTarget) -> bool:
        return not target.probe or await self._upstream.ready(target, timeout_s=_PROBE_TIMEOUT_S)
