from importlib import import_module
from typing import Any

import pytest

from deployments import disconnects
from serve.commands.serve import FAST_ENVIRONMENT


async def test_only_a_process_that_watches_spares_serve_the_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disconnects, "_watching", False)
    assert disconnects.middlewares() == []
    disconnects.this_process_watches()
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["headers"])

    (middleware,) = disconnects.middlewares()
    wrapped: Any = middleware.cls(app)
    headers = [(b"x-kept", b"1")]
    await wrapped({"type": "http", "headers": headers}, None, None)
    await wrapped({"type": "lifespan", "headers": headers}, None, None)
    assert seen == [[(b"x-kept", b"1"), (b"x-request-disconnect-disabled", b"?1")], headers]


def test_serve_finds_it_and_knows_the_header() -> None:
    from ray.serve._private.constants import SERVE_HTTP_REQUEST_DISCONNECT_DISABLED_HEADER

    module, _, name = FAST_ENVIRONMENT["RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"].partition(":")
    assert getattr(import_module(module), name) is disconnects.middlewares
    assert disconnects.WATCHED_HEADER == SERVE_HTTP_REQUEST_DISCONNECT_DISABLED_HEADER
