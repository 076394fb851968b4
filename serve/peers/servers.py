"""The servers that are compared: Pointsman, its peers, and what stands behind them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from loadtests.stacks import Stack, free_port
from serve.bench_session import RAY
from serve.bench_stacks import (
    bare_stack,
    environment,
    instant_stack,
    local_url,
    pointsman_stack,
    ray_stack,
    written,
)
from serve.benchmark import BenchSource, llm_config

__all__ = ["INSTANT", "LITELLM", "PEERS", "ROUTELLM", "Experts", "instant_stacks", "missing", "real_stacks"]

INSTANT = "instant expert"
LITELLM = "LiteLLM"
ROUTELLM = "RouteLLM"
PEERS = (RAY, LITELLM, ROUTELLM)
_FOLDERS = {LITELLM: "litellm", ROUTELLM: "routellm"}
_INSTANT_ENGINE = {"RAYLLM_VLLM_ENGINE_CLS": "serve.peers.instant_engine:InstantEngine"}
# Their own requests to the internet at start, which would only be waited for where there is none.
_OFFLINE = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "HF_HUB_OFFLINE": "1", "LITELLM_LOG": "ERROR"}
# RouteLLM's own sizes of its matrix-factorization router.
_MF = {"dim": 128, "num_models": 64, "text_dim": 1536, "num_classes": 1, "use_proj": True}


class Experts(StrEnum):
    """What stands behind every server."""

    INSTANT = "instant"
    REAL = "real"


def missing(installed: Path, peers: Iterable[str]) -> list[str]:
    """The peers that have no environment in a folder."""
    return [peer for peer in peers if peer in _FOLDERS and not _python(installed, peer).is_file()]


def instant_stacks(
    source: BenchSource, folder: Path, installed: Path, *, peers: Iterable[str], workers: int
) -> list[Stack]:
    """Pointsman and its peers in front of an expert that answers at once, and that expert alone.

    Args:
        source: the configuration that Pointsman's routes, prices and settings are taken from.
        folder: where configurations are written.
        installed: the folder of the peers' environments.
        peers: those to measure, of `PEERS`.
        workers: Router replicas, and processes of each other proxy.
    """
    stacks = [instant_stack(INSTANT)]
    stacks.append(
        pointsman_stack(source, folder, direct=False, upstream=instant_stack("behind"), router_replicas=workers)
    )
    if RAY in peers:
        engine = llm_config(source)
        variables = {**engine["runtime_env"]["env_vars"], **_INSTANT_ENGINE, "PYTHONPATH": os.getcwd()}
        engine["runtime_env"] = {**engine["runtime_env"], "env_vars": variables}
        stacks.append(ray_stack(source, engine, folder))
    if LITELLM in peers:
        stacks.append(_litellm(source, instant_stack("behind"), folder, installed, workers))
    if ROUTELLM in peers:
        stacks.append(_routellm(source, [instant_stack("behind")], folder, installed, workers))
    return stacks


def real_stacks(
    source: BenchSource, folder: Path, installed: Path, *, peers: Iterable[str], workers: int
) -> list[Stack]:
    """The same in front of the real engine, and a vLLM server alone; arguments as for `instant_stacks`."""
    engine = llm_config(source)
    stacks = [bare_stack(source, engine), pointsman_stack(source, folder, direct=False, router_replicas=workers)]
    if RAY in peers:
        stacks.append(ray_stack(source, engine, folder))
    if LITELLM in peers:
        stacks.append(_litellm(source, bare_stack(source, engine), folder, installed, workers))
    if ROUTELLM in peers:
        behind = [bare_stack(source, engine), instant_stack("embeddings")]
        body = _no_end_of_text(engine["model_loading_config"]["model_source"])
        stacks.append(_routellm(source, behind, folder, installed, workers, body))
    return stacks


def _litellm(source: BenchSource, behind: Stack, folder: Path, installed: Path, workers: int) -> Stack:
    """A LiteLLM proxy without keys, as Pointsman here has none, database or logs of requests."""
    port = free_port()
    parameters = {"model": f"hosted_vllm/{source.expert}", "api_base": behind.url, "api_key": "none"}
    config = {
        "model_list": [{"model_name": source.expert, "litellm_params": parameters}],
        "general_settings": {"dangerously_permit_weak_or_unset_master_key": True},
    }
    command = [str(_python(installed, LITELLM).with_name("litellm")), "--host", "127.0.0.1", "--port", str(port)]
    command += ["--num_workers", str(workers), "--config", written(config, folder / "litellm.yaml")]
    return Stack(LITELLM, command, local_url(port), {LITELLM: source.expert}, _peers_environment(), [behind])


def _routellm(
    source: BenchSource,
    behind: list[Stack],
    folder: Path,
    installed: Path,
    workers: int,
    body: Mapping[str, Any] | None = None,
) -> Stack:
    """RouteLLM's server with its matrix-factorization router, over the first server behind it.

    Embeddings come from the last one. The router's weights are random: the real ones are on a hub, and what they are
    makes no difference to the time.
    """
    weights = folder / "routellm-mf"
    weights.mkdir(exist_ok=True)
    draw = np.random.default_rng(0).standard_normal
    shapes = {
        "P.weight": (_MF["num_models"], _MF["dim"]),
        "text_proj.0.weight": (_MF["dim"], _MF["text_dim"]),
        "classifier.0.weight": (_MF["num_classes"], _MF["dim"]),
    }
    save_file({name: draw(shape).astype(np.float32) for name, shape in shapes.items()}, weights / "model.safetensors")
    (weights / "config.json").write_text(json.dumps(_MF))
    port = free_port()
    model = f"hosted_vllm/{source.expert}"
    command = [str(_python(installed, ROUTELLM)), "-m", "routellm.openai_server", "--port", str(port)]
    command += ["--routers", "mf", "--strong-model", model, "--weak-model", model]
    command += ["--base-url", behind[0].url, "--api-key", "none", *(["--workers", str(workers)] if workers > 1 else [])]
    command += ["--config", written({"mf": {"checkpoint_path": str(weights)}}, folder / "routellm.yaml")]
    variables = {**_peers_environment(), "OPENAI_API_KEY": "none", "OPENAI_BASE_URL": behind[-1].url}
    return Stack(
        ROUTELLM, command, local_url(port), {f"{ROUTELLM}, mf": "router-mf-0.5"}, variables, behind, body or {}
    )


def _no_end_of_text(checkpoint: str) -> dict[str, Any]:
    """What makes an answer as long as asked for where the server in front drops ``ignore_eos``, as RouteLLM's does."""
    ends = json.loads((Path(checkpoint) / "config.json").read_text())["eos_token_id"]
    return {"logit_bias": {str(end): -100 for end in (ends if isinstance(ends, list) else [ends])}}


def _peers_environment() -> dict[str, str]:
    variables = {**environment(), **_OFFLINE}
    variables.pop("PYTHONPATH", None)
    return variables


def _python(installed: Path, peer: str) -> Path:
    return installed.absolute() / _FOLDERS[peer] / "bin" / "python"
