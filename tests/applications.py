"""Serve applications that are tested beside the demo: endpoints with simulated experts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from routers import make_judge, make_router, save_judge, save_router
from tests.synthetic import answered, synthetic_data
from tests.unit.routers.checkpoints import tiny_encoder

__all__ = ["CHEAP", "DEAR", "planned_applications", "simulated_applications"]

CHEAP = {"input_per_million": 0.1, "output_per_million": 0.2}
DEAR = {"input_per_million": 1.0, "output_per_million": 2.0}
_SLOW = {"timing": {"step_s": 0.2}}
_QUICK = {"metrics_interval_s": 0.5, "look_back_period_s": 2, "upscale_delay_s": 1, "downscale_delay_s": 4}


def simulated_applications(router: Path, hosted_port: int) -> list[dict[str, Any]]:
    """An endpoint at /sim with pretended experts, and one "hosted" expert where nobody listens."""
    experts: dict[str, Any] = {
        "sim-small": {"price": CHEAP},
        "sim-large": {"price": DEAR},
        "sim-slow": {"price": DEAR},
        "sim-scaled": {"price": DEAR},
        "sim-away": {"price": DEAR, "url": f"http://127.0.0.1:{hosted_port}/v1", "probe": False},
    }
    args = {
        "experts": experts,
        "routes": {"guess": {"router": str(router)}},
        "default_route": "guess",
        "limits": {"max_body_bytes": 1_000_000, "request_timeout_s": 20},
    }
    scaled = {"min_replicas": 1, "max_replicas": 2, "target_ongoing_requests": 4, **_QUICK}
    return [
        _endpoint("simulated", "/sim", args),
        _expert("sim-small", answer="sim-small says {prompt}"),
        _expert("sim-large", answer="sim-large says {prompt}"),
        _expert("sim-slow", **_SLOW, answer=" ".join(["word"] * 300)),
        {
            **_expert("sim-scaled", **_SLOW, answer=" ".join(["word"] * 24)),
            "deployments": [{"name": "Expert", "autoscaling_config": scaled}],
        },
    ]


def planned_applications(router: Path, folder: Path) -> list[dict[str, Any]]:
    """An endpoint at /plans over the same experts and three more: with a short queue, mortal, and asleep."""
    _train(folder)
    names = ("sim-small", "sim-large", "sim-slow", "sim-tight", "sim-mortal", "sim-asleep")
    experts: dict[str, Any] = {name: {"price": CHEAP if name == "sim-small" else DEAR} for name in names}
    experts["sim-asleep"]["probe"] = False
    pair = ["sim-small", "sim-large"]
    verify = {"prompt": "{question} {answer}", "accept": "easy", "samples": 3}
    routes = {
        "neural": {"router": str(folder / "neural"), "light": str(router)},
        "frugal": {"cascade": str(folder / "frugal")},
        "frugal-neural": {"cascade": str(folder / "frugal-neural")},
        "verify": {"self_verify": {"experts": pair, **verify}},
        "verify-slow": {"self_verify": {"experts": ["sim-slow", "sim-large"], **verify}},
        "escalate-slow": {"self_verify": {"experts": ["sim-small", "sim-slow"], **verify, "accept": "never"}},
        "blend": {"blend": {"ranker": str(folder / "judge"), "experts": [*pair, "sim-mortal"], "member_timeout_s": 2}},
        "blend-slow": {"blend": {"ranker": str(folder / "judge"), "experts": ["sim-slow", "sim-mortal"]}},
        "mortal": {"router": str(folder / "first-sim-mortal")},
        "tight": {"router": str(folder / "first-sim-tight")},
        "asleep": {"router": str(folder / "first-sim-asleep")},
    }
    arms = {"small-x3": {"expert": "sim-small", "n": 3, "ranker": str(folder / "judge")}}
    args = {"experts": experts, "routes": routes, "arms": arms, "limits": {"request_timeout_s": 60}}
    few = {"max_sequences": 1, "max_waiting": 1}
    sleeps = {"min_replicas": 0, "max_replicas": 1, "target_ongoing_requests": 4, **_QUICK}
    return [
        _endpoint("planned", "/plans", args),
        _expert("sim-tight", **_SLOW, capacity=few, answer=" ".join(["word"] * 10)),
        _expert("sim-mortal", timing={"step_s": 0.1}, answer="sim-mortal says {prompt}"),
        {
            **_expert("sim-asleep", answer="sim-asleep says {prompt}"),
            "deployments": [{"name": "Expert", "autoscaling_config": sleeps}],
        },
    ]


def _train(folder: Path) -> None:
    data = answered(synthetic_data("sim-small", "sim-large"))
    encoder = {"encoder": tiny_encoder(), "encoder_epochs": 15, "encoder_batch_size": 16, "encoder_learning_rate": 5e-3}
    save_router(make_router("hybrid-det", **encoder).fit(data), folder / "neural")
    save_judge(make_judge("frugal", budget_share=0.8).fit(data), folder / "frugal")
    save_judge(make_judge("frugal", budget_share=0.8, **encoder).fit(data), folder / "frugal-neural")
    save_judge(make_judge("answer-scorer").fit(data), folder / "judge")
    for first in ("sim-mortal", "sim-tight", "sim-asleep"):
        save_router(
            make_router("constant", expert=first).fit(synthetic_data(first, "sim-large")), folder / f"first-{first}"
        )


def _endpoint(name: str, prefix: str, args: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "route_prefix": prefix, "import_path": "serve.app:build", "args": args}


def _expert(name: str, **args: Any) -> dict[str, Any]:
    prefix = f"/experts/{name}"
    return {"name": name, "route_prefix": prefix, "import_path": "serve.app:simulated", "args": args}
