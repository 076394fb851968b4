"""The builders that ``config.yaml`` names: ``serve.app:build``, ``serve.app:vllm`` and ``serve.app:simulated``.

Ray Serve reads the annotation of a builder's parameter as a class, so this module does not postpone annotations.
"""

from pathlib import Path
from typing import Any

from ray import serve
from ray.serve import Application

from deployments.experts.naps import NAPS_ENV
from deployments.experts.simulated import Script, SimulatedExpert
from deployments.internal_token import TOKEN_HEADER, cluster_token
from deployments.router import Limits, Router, RouterSettings
from deployments.scorer import Scorer
from deployments.upstream import ExpertTarget
from routers import ParameterError
from serve.config import ExpertSettings, PointsmanSettings, SimulatedSettings, VLLMSettings
from serve.routing import Routing, read_routing, route_table

__all__ = ["EVENT_LOOP_ENV", "build", "simulated", "vllm"]

UNLIMITED = 1_000_000
CPU_KV_CACHE_GIB = 1
# uvloop accepts one connection each time around, so that an engine which is busy leaves new ones waiting for long.
EVENT_LOOP_ENV = "RAY_USE_UVLOOP"
ROUTER_OPTIONS: dict[str, Any] = {
    "max_ongoing_requests": UNLIMITED,
    "ray_actor_options": {"num_cpus": 0},
    "health_check_period_s": 5,
    "graceful_shutdown_timeout_s": 60,
}
SCORER_OPTIONS: dict[str, Any] = {
    "max_ongoing_requests": 256,
    "ray_actor_options": {"num_cpus": 0},
    "autoscaling_config": {"min_replicas": 1, "max_replicas": 2, "target_ongoing_requests": 64},
    "health_check_period_s": 5,
    "user_config": {},
}


def build(args: PointsmanSettings) -> Application:
    """The Router pool, Pointsman's endpoint, and the Scorer pool if a route needs it.

    Args:
        args: experts, routes and limits.

    Raises:
        PointsmanError: an artifact is missing, damaged, or trained for other experts.
    """
    routing = read_routing(args)
    route_table(args, routing)
    router = serve.deployment(serve.ingress()(Router), name="Router", **ROUTER_OPTIONS)
    settings = router_settings(args, routing)
    if not routing.slow:
        return router.bind(settings)
    scorer = serve.deployment(Scorer, name="Scorer", **SCORER_OPTIONS)
    return router.bind(settings, scorer.bind(routing.slow))


def vllm(args: VLLMSettings) -> Application:
    """A vLLM engine as an expert, with its native OpenAI server at ``/experts/<id>``.

    Args:
        args: the model, the device, and any key of ``ray.serve.llm.LLMConfig``.

    Raises:
        ParameterError: a key that neither Pointsman nor ``LLMConfig`` knows.
    """
    # Imports vLLM, which a Router must never need.
    from ray.serve.llm import LLMConfig, build_llm_deployment

    from deployments.experts.vllm import VLLMExpert

    keys = args.llm_config_keys
    unknown = [key for key in keys if key not in LLMConfig.model_fields]
    if unknown:
        raise ParameterError(
            f"serve.app:vllm does not know the key {unknown[0]!r}: "
            "use model, id, device or a key of ray.serve.llm.LLMConfig."
        )
    config = LLMConfig(**llm_config_arguments(args))
    return build_llm_deployment(
        config,
        deployment_cls=serve.ingress()(VLLMExpert),
        bind_kwargs={"token": cluster_token(), "named_by_application": args.id is None},
        override_serve_options={"name": "Expert"},
    )


def simulated(args: SimulatedSettings) -> Application:
    """An expert that only pretends: a template or recorded answers, and a model of the time they take.

    Args:
        args: what it says, how long it takes, how much it holds.

    Raises:
        PointsmanError: a limit is out of its range, or the recorded answers cannot be read.
    """
    timing, capacity = args.engine()
    recorded = args.recorded
    script = Script(args.answer) if recorded is None else Script(args.answer, recorded.file.resolve(), recorded.expert)
    deployment = serve.deployment(
        serve.ingress()(SimulatedExpert),
        name="Expert",
        max_ongoing_requests=UNLIMITED,
        ray_actor_options={"num_cpus": 0},
    )
    return deployment.bind(script, timing, capacity, stream_interval=args.stream_interval, token=cluster_token())


def router_settings(args: PointsmanSettings, routing: Routing) -> RouterSettings:
    """What a Router replica is told, from what the user configured."""
    serve_url = (args.serve_url or _serve_url()).rstrip("/")
    return RouterSettings(
        targets={name: _target(name, expert, serve_url) for name, expert in args.experts.items()},
        prices={
            name: (expert.price.input_per_million, expert.price.output_per_million)
            for name, expert in args.experts.items()
        },
        routes=routing.routes,
        arms=routing.arms,
        artifacts=routing.quick,
        default_route=args.default_route,
        limits=Limits(**args.limits.model_dump()),
    )


def llm_config_arguments(args: VLLMSettings) -> dict[str, Any]:
    """The arguments of ``LLMConfig``: good defaults, under what the user gave."""
    given = args.llm_config_keys
    loading = {
        "model_id": args.id or "expert",
        "model_source": args.model,
        **given.pop("model_loading_config", {}),
    }
    env_vars = {"RAYLLM_ENABLE_REQUEST_PROMPT_LOGS": "0", EVENT_LOOP_ENV: "0"}
    engine = dict(args.engine_kwargs)
    deployment = {"graceful_shutdown_timeout_s": 60, **args.deployment_config}
    defaults: dict[str, Any] = {"accelerator_config": {"kind": args.device}}
    if Path(args.model).is_dir():
        env_vars["HF_HUB_OFFLINE"] = "1"
        defaults["callback_config"] = {"callback_class": "deployments.experts.local_checkpoint.LocalCheckpoint"}
    if args.device == "cpu":
        env_vars |= {"VLLM_CPU_KVCACHE_SPACE": str(CPU_KV_CACHE_GIB), "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
        env_vars[NAPS_ENV] = "1"
        engine = {"enforce_eager": True, "dtype": "bfloat16", **engine}
        deployment.setdefault("ray_actor_options", {}).setdefault("num_cpus", 0)
        defaults["placement_group_config"] = {"bundles": [{"CPU": 0.01}]}
    runtime_env = dict(given.pop("runtime_env", None) or {})
    runtime_env["env_vars"] = {**env_vars, **runtime_env.get("env_vars", {})}
    return {
        **defaults,
        **given,
        "model_loading_config": loading,
        "engine_kwargs": engine,
        "deployment_config": deployment,
        "runtime_env": runtime_env,
    }


def _target(name: str, expert: ExpertSettings, serve_url: str) -> ExpertTarget:
    if expert.url is None:
        headers = {TOKEN_HEADER: cluster_token()}
        return ExpertTarget(name, f"{serve_url}/experts/{name}/v1", name, headers, True, expert.probe)
    key = expert.api_key()
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    return ExpertTarget(name, expert.url, expert.model or name, headers, False, expert.probe)


def _serve_url() -> str:
    """Serve's HTTP proxy on this node: a proxy runs on every node that has replicas."""
    from ray.serve.context import _get_global_client

    client = _get_global_client(raise_if_no_controller_running=False)
    return f"http://127.0.0.1:{8000 if client is None else client.http_config.port}"
