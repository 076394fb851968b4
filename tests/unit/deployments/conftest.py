from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from deployments.upstream import ExpertTarget
from tests.unit.deployments.network import Handler


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
