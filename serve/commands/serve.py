"""``pointsman serve``: check a configuration, start it with Ray Serve's fast settings, say when it is ready."""

from __future__ import annotations

import logging
import os
import random
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from deployments.disconnects import IMPORT_PATH
from routers.errors import PointsmanError
from serve.haproxy import haproxy_environment

if TYPE_CHECKING:
    from ray.dashboard.modules.serve.sdk import ServeSubmissionClient

__all__ = ["FAST_ENVIRONMENT", "serve"]

FAST_ENVIRONMENT = {
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": IMPORT_PATH,
}
# Ray gives its workers the lowest priority but one, so a client on the same machine would starve the engines.
PRIORITY_ENVIRONMENT = {"RAY_worker_niceness": "0"}
_QUIET_ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
# HAProxy ends at once where another Ray Serve on the machine listens on its ports for metrics and statistics; the proxy
# that wakes sleeping experts would share its port with the other one's, and half of their requests would go astray.
_HAPROXY_PORTS = {
    "RAY_SERVE_HAPROXY_METRICS_PORT": 9101,
    "RAY_SERVE_HAPROXY_STATS_PORT": 8404,
    "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": 8500,
}
_NEARBY_PORTS = 400
_TRIED_PORTS = 20
_POLL_S = 0.5
_EXIT_S = 10.0
_ERROR_LINE = re.compile(r"^\s*(?:\w+\.)*(?:\w*(?:Error|Exception)): (.+)$", re.MULTILINE)


class StartError(PointsmanError):
    """An application did not start."""


def serve(
    config: Annotated[Path, typer.Argument(help="Ray Serve configuration file.")] = Path("config.yaml"),
    plain: Annotated[
        bool, typer.Option("--plain", help="Ray Serve's Python proxy instead of HAProxy and throughput mode.")
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="Check the configuration and stop.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show the logs of all replicas.")] = False,
    timeout_s: Annotated[float, typer.Option(help="Give up when not everything is ready by then.")] = 900.0,
) -> None:
    """Run an application on this machine until Ctrl-C, with HAProxy and Serve's throughput mode.

    SIGHUP reads the configuration again and deploys what changed: policies in `user_config` without a restart.
    """
    # Ray reads the environment when it is imported.
    with _environment(plain):
        _serve(config, check, verbose, timeout_s)


def _serve(config: Path, check: bool, verbose: bool, timeout_s: float) -> None:
    from serve.preflight import check_port, load_config

    console = Console()
    settings = load_config(config)
    http = settings.get("http_options") or {}
    host, port = http.get("host", "127.0.0.1"), int(http.get("port", 8000))
    if check:
        console.print(f"{config} is fine.")
        return
    check_port(host, port)
    started_s = time.monotonic()
    url = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"  # noqa: S104
    try:
        with _ray(verbose) as dashboard_url:
            # From here on, so that a hangup while everything starts does not end it.
            asked = threading.Event()
            signal.signal(signal.SIGHUP, lambda signum, frame: asked.set())
            client = _deploy(settings, dashboard_url)
            _wait_until_ready(client, url, console, timeout_s)
            _say_ready(console, url, settings, time.monotonic() - started_s)
            _reload_on_hangup(asked, client, config, settings, console)
    except KeyboardInterrupt:
        console.print("Stopped.")


@contextmanager
def _environment(plain: bool) -> Iterator[None]:
    """Set what Ray reads at its start, but nothing that the user has set."""
    with TemporaryDirectory(prefix="pointsman-") as folder:
        for name, value in {
            **({} if plain else {**FAST_ENVIRONMENT, **haproxy_environment(Path(folder))}),
            **PRIORITY_ENVIRONMENT,
            **_QUIET_ENVIRONMENT,
            **{name: str(_usable_port(port)) for name, port in _HAPROXY_PORTS.items()},
        }.items():
            os.environ.setdefault(name, value)
        yield


def _usable_port(wanted: int) -> int:
    """The wanted port, or one near it where somebody listens on it.

    A port that the system chooses may be given to another program before HAProxy asks for it, since it gives away none
    of those near the wanted ones by itself.
    """
    for port in (wanted, *random.sample(range(wanted + 1, wanted + _NEARBY_PORTS), _TRIED_PORTS)):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("", port))
            return port
    return wanted


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def _ray(verbose: bool) -> Iterator[str]:
    """A Ray instance of our own, and none of its processes afterwards; yields its dashboard's URL."""
    import psutil
    import ray

    context = ray.init(
        address="local",
        namespace="serve",
        include_dashboard=True,
        log_to_driver=verbose,
        logging_level=logging.INFO if verbose else logging.ERROR,
    )
    # Ray installs a handler of its own that would end this process before it has cleaned up.
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield f"http://{context.dashboard_url}"
    finally:
        # Nothing is drained: Ctrl-C means now. An engine's processes can outlive the replica that started them.
        descendants = psutil.Process().children(recursive=True)
        ray.shutdown()
        _, alive = psutil.wait_procs(descendants, timeout=_EXIT_S)
        for process in alive:
            process.kill()
        psutil.wait_procs(alive, timeout=_EXIT_S)


def _deploy(settings: dict[str, Any], dashboard_url: str) -> ServeSubmissionClient:
    """Deploy the applications by Serve's REST API, and give its client.

    Raises:
        StartError: Serve does not start, or refuses the configuration.
    """
    from ray import serve as ray_serve
    from ray.dashboard.modules.serve.sdk import ServeSubmissionClient
    from ray.exceptions import RayError

    try:
        ray_serve.start(
            proxy_location=settings.get("proxy_location", "EveryNode"), http_options=_http_options(settings)
        )
    except RayError as error:
        raise StartError(f"Ray Serve's proxy did not start: {_last_error(str(error))}") from error
    client = ServeSubmissionClient(dashboard_url)
    _submit(client, settings)
    return client


def _http_options(settings: dict[str, Any]) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": 8000, **(settings.get("http_options") or {})}


def _submit(client: ServeSubmissionClient, settings: dict[str, Any]) -> None:
    try:
        client.deploy_applications({**settings, "http_options": _http_options(settings)})
    except RuntimeError as error:
        raise StartError(f"Ray Serve refused the configuration: {_last_error(str(error))}") from error


def _reload_on_hangup(
    asked: threading.Event, client: ServeSubmissionClient, config: Path, settings: dict[str, Any], console: Console
) -> NoReturn:
    """Deploy the configuration anew whenever SIGHUP asks for it; a wrong one changes nothing."""
    from serve.preflight import load_config

    while True:
        if not asked.wait(_POLL_S):
            continue
        asked.clear()
        try:
            changed = load_config(config)
            _submit(client, {**changed, "http_options": settings.get("http_options")})
        except PointsmanError as error:
            console.print(f"[bold red]Not reloaded:[/] {escape(str(error))}")
        else:
            console.print(f"Reloaded {config}.")


def _wait_until_ready(client: ServeSubmissionClient, url: str, console: Console, timeout_s: float) -> None:
    """Wait until every application runs and the endpoint's experts answer.

    Raises:
        StartError: an application failed, or time is up.
    """
    deadline_s = time.monotonic() + timeout_s
    with console.status("Starting Ray Serve …") as status:
        while time.monotonic() < deadline_s:
            starting = _starting(client.get_serve_details()["applications"])
            if not starting and _healthy(url):
                return
            status.update(f"Starting {', '.join(starting) or 'the endpoint'} …")
            time.sleep(_POLL_S)
    raise StartError(f"Not everything was ready after {timeout_s:g} s: see the logs, or raise --timeout-s.")


def _starting(applications: dict[str, Any]) -> list[str]:
    """The applications that do not run yet.

    Raises:
        StartError: one of them failed.
    """
    for name, application in applications.items():
        if application["status"] in ("DEPLOY_FAILED", "UNHEALTHY"):
            raise StartError(f"The application {name!r} did not start: {_cause(application)}")
    return [name for name, application in applications.items() if application["status"] != "RUNNING"]


def _healthy(url: str) -> bool:
    import httpx

    try:
        return httpx.get(f"{url}/health", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def _cause(application: dict[str, Any]) -> str:
    """The error in the longest message that Serve has for a failed application; it holds a whole stack trace."""
    messages = [application["message"], *(d["message"] for d in application["deployments"].values())]
    return _last_error(max(messages, key=len))


def _last_error(text: str) -> str:
    errors = _ERROR_LINE.findall(text)
    return str(errors[-1]) if errors else text.strip() or "see Ray's logs."


def _say_ready(console: Console, url: str, settings: dict[str, Any], seconds: float) -> None:
    """Where it listens, and what to try."""
    endpoint = next((app for app in settings["applications"] if app["import_path"] == "serve.app:build"), None)
    console.print(f"[bold green]Ready[/] after {seconds:.0f} s: {url}/v1")
    if endpoint is None:
        return
    model = endpoint["args"].get("default_route") or next(iter(endpoint["args"]["experts"]))
    body = '{"model": "%s", "messages": [{"role": "user", "content": "calculate 2 plus 3"}]}' % model  # noqa: UP031
    console.print("Try it:")
    console.print(
        f"  curl -i {url}/v1/chat/completions -H 'content-type: application/json' -d '{body}'", soft_wrap=True
    )
    console.print(f"  curl {url}/v1/models")
    console.print(f"Ctrl-C stops everything; kill -HUP {os.getpid()} reads the configuration again.")
