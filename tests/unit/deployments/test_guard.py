from typing import Any

import orjson
import pytest

from deployments.experts.guard import TokenGuard


async def inner(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})


async def ask(headers: list[tuple[bytes, bytes]], kind: str = "http") -> list[Any]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await TokenGuard(inner, token="secret")({"type": kind, "headers": headers}, None, send)  # type: ignore[arg-type]
    return sent


async def test_the_token_opens() -> None:
    assert (await ask([(b"x-pointsman-internal-token", b"secret")]))[0]["status"] == 200


@pytest.mark.parametrize("headers", [[], [(b"x-pointsman-internal-token", b"guess")], [(b"authorization", b"secret")]])
async def test_everybody_else_is_refused(headers: list[tuple[bytes, bytes]]) -> None:
    start, body = await ask(headers)
    assert start["status"] == 401
    assert orjson.loads(body["body"])["error"]["code"] == "internal_endpoint"


async def test_the_lifespan_passes() -> None:
    assert (await ask([], kind="lifespan"))[0]["status"] == 200
