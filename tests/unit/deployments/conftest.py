from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import uvloop
from aiohttp import web

from deployments.upstream import ExpertTarget
from tests.unit.deployments.network import Handler


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Ray Serve's replicas run on uvloop; what is closest to the sockets runs on asyncio's own loop too."""
    factories: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"uvloop": uvloop.new_event_loop}
    if item.path.name == "test_http_pool.py":
        factories["asyncio"] = asyncio.new_event_loop
    return factories


@pytest.fixture
async def expert() -> AsyncIterator[Callable[[Handler], Awaitable[ExpertTarget]]]:
    """Starts a real HTTP server with one handler, and gives its address as an expert."""
    runners = []

    async def start(handler: Handler, *, name: str = "small", **changes: Any) -> ExpertTarget:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)
        runner = web.AppRunner(app, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        runners.append(runner)
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        fields = {"upstream_model": name, "headers": {"authorization": "Bearer key"}, "internal": False, **changes}
        return ExpertTarget(name, url, **fields)

    yield start
    for runner in runners:
        await runner.cleanup()
