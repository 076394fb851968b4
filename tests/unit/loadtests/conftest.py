from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Start = Callable[..., Awaitable[str]]


@pytest.fixture
async def serve_chat() -> AsyncIterator[Start]:
    """Starts a real HTTP server on this machine with a handler of chats, and gives its base URL."""
    runners = []

    async def start(handler: Handler, models: Handler | None = None) -> str:
        app = web.Application()
        if models is not None:
            app.router.add_get("/v1/models", models)
        app.router.add_post("/v1/chat/completions", handler)
        runner = web.AppRunner(app)
        await runner.setup()
        runners.append(runner)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}/v1"

    yield start
    for runner in runners:
        await runner.cleanup()
