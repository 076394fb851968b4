import asyncio
from typing import Any

import orjson
import pytest

from deployments.asgi import (
    Application,
    ClientGone,
    Request,
    Response,
    read_request,
    run_while_connected,
)
from deployments.openai import ApiError


def scope(**changes: Any) -> dict[str, Any]:
    return {"type": "http", "method": "POST", "path": "/v1/x", "query_string": b"", "headers": [], **changes}


def receiver(*messages: dict[str, Any]) -> Any:
    pending = list(messages)

    async def receive() -> dict[str, Any]:
        if pending:
            return pending.pop(0)
        await asyncio.Event().wait()
        raise AssertionError

    return receive


async def test_reads_a_body_in_parts_below_a_prefix() -> None:
    receive = receiver(
        {"type": "http.request", "body": b"ab", "more_body": True}, {"type": "http.request", "body": b"c"}
    )
    request = await read_request(
        scope(path="/sub/v1/x", root_path="/sub", query_string=b"model=a%20b", headers=[(b"x-a", b"1")]),
        receive,
        max_body_bytes=3,
    )
    assert (request.path, request.body, request.headers) == ("/v1/x", b"abc", {"x-a": "1"})
    assert request.query_value("model") == "a b"
    assert request.query_value("other") is None


@pytest.mark.parametrize("headers", [[], [(b"content-length", b"4")]])
async def test_a_large_body_is_refused(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(ApiError) as caught:
        await read_request(
            scope(headers=headers), receiver({"type": "http.request", "body": b"abcd"}), max_body_bytes=3
        )
    assert caught.value.status == 413


async def test_a_client_that_leaves_while_sending() -> None:
    with pytest.raises(ClientGone):
        await read_request(scope(), receiver({"type": "http.disconnect"}), max_body_bytes=3)


async def test_work_is_cancelled_when_the_client_leaves() -> None:
    cancelled = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    await run_while_connected(work(), receiver({"type": "http.disconnect"}))
    assert cancelled.is_set()


async def test_work_that_ends_leaves_no_listener_behind() -> None:
    done = []

    async def work() -> None:
        done.append(True)

    before = len(asyncio.all_tasks())
    await run_while_connected(work(), receiver())
    assert done
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == before


async def test_somebody_elses_cancelling_is_not_taken_for_a_client_that_left() -> None:
    async def work() -> None:
        await asyncio.sleep(60)

    task = asyncio.create_task(run_while_connected(work(), receiver()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_nothing_stays_cancelled_after_the_client_has_left() -> None:
    async def serve() -> int:
        await run_while_connected(asyncio.sleep(60), receiver({"type": "http.disconnect"}))
        await asyncio.sleep(0)
        current = asyncio.current_task()
        assert current is not None
        return current.cancelling()

    assert await asyncio.create_task(serve()) == 0


async def test_an_error_of_the_work_reaches_the_caller() -> None:
    async def work() -> None:
        raise ApiError(400, "No.")

    with pytest.raises(ApiError, match="No"):
        await run_while_connected(work(), receiver())


async def test_response_sends_json_with_its_length() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    response = Response(send)
    assert not response.started
    await response.error(ApiError(429, "Later.", retry_after_s=1), {"x-a": "b"})
    assert response.started
    start, body = sent
    headers = dict(start["headers"])
    assert start["status"] == 429
    assert headers[b"retry-after"] == b"1"
    assert headers[b"x-a"] == b"b"
    assert int(headers[b"content-length"]) == len(body["body"])
    assert orjson.loads(body["body"])["error"]["type"] == "rate_limit_error"
    assert body["more_body"] is False


async def hello(request: Request, response: Response) -> None:
    await response.json({"path": request.path})


async def call(app: Application, **changes: Any) -> list[Any]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope(**changes), receiver({"type": "http.request", "body": b"abc"}), send)
    return sent


async def test_application_answers_and_refuses() -> None:
    assert (await call(Application(hello, max_body_bytes=3, max_open_requests=1)))[0]["status"] == 200
    assert (await call(Application(hello, max_body_bytes=2, max_open_requests=1)))[0]["status"] == 413
    start, body = await call(Application(hello, max_body_bytes=3, max_open_requests=0))
    assert start["status"] == 429
    assert (b"retry-after", b"1") in start["headers"]
    assert orjson.loads(body["body"])["error"]["code"] == "overloaded"


async def test_application_counts_open_requests_down_again() -> None:
    app = Application(hello, max_body_bytes=3, max_open_requests=1)
    assert [(await call(app))[0]["status"] for _ in range(3)] == [200, 200, 200]


async def test_lifespan_is_answered() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message["type"])

    app = Application(hello, max_body_bytes=3, max_open_requests=1)
    messages = receiver({"type": "lifespan.startup"}, {"type": "lifespan.shutdown"})
    await app({"type": "lifespan"}, messages, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
