"""Figures of a study as its parts give them, small enough to be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from serve.study.setups import Source

ROOT = Path(__file__).parents[3]
CONFIG = ROOT / "serve" / "configs" / "demo-plans.yaml"
RECORDS = ROOT / "demo" / "data"


@pytest.fixture(scope="session")
def source() -> Source:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return Source.read(CONFIG)


def step(users: int, requests_per_s: float, **more: Any) -> dict[str, Any]:
    times = {"p50": 100.0 * users, "p99": 200.0 * users}
    return {
        "users": users,
        "from_s": 10.0,
        "until_s": 20.0,
        "requests": 500,
        "requests_per_s": requests_per_s,
        "tokens_per_s": 10 * requests_per_s,
        "first_token_ms": times,
        "token_interval_ms": None,
        "latency_ms": times,
        "shares": {"large": 0.6, "small": 0.4},
        "failures": {},
        "failed": 0,
        "messages": {},
        "limited_by": [],
        **more,
    }


def setup(kind: str, *steps: dict[str, Any], drop: float | None = 0.0, name: str | None = None) -> dict[str, Any]:
    quality = None if drop is None else {"quality": 0.9, "drop": drop, "drop_ci95": (drop - 0.01, drop + 0.01)}
    return {
        "name": name or kind,
        "kind": kind,
        "engines": "`large`",
        "gpus": 8,
        "steps": list(steps),
        "quality": quality,
    }
