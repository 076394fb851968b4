import asyncio
from typing import Any

import orjson
import pytest
from aiohttp import web

from deployments.openai import ApiError, NoAnswerError
from deployments.upstream import ExpertTarget, Upstream, UpstreamRequest
from tests.unit.deployments.network import Client

REQUEST = UpstreamRequest("POST", "/chat/completions?x=1", {"authorization": "Bearer client", "x-kept": "1"}, b"{}")


async def relay(target: ExpertTarget, *, timeout_s: float = 5.0) -> Client:
    client = Client()
    async with Upstream(connect_timeout_s=1.0) as upstream:
        deadline_s = asyncio.get_running_loop().time() + timeout_s
        await upstream.relay(target, REQUEST, client.response, lambda: {"x-added": "2"}, deadline_s=deadline_s)
    return client


async def test_bytes_pass_and_credentials_are_replaced(expert: Any) -> None:
    seen = {}

    async def handler(request: web.Request) -> web.Response:
        seen.update(request.headers, path=request.path_qs, body=await request.read())
        return web.Response(body=b'{"model":"small"}', content_type="application/json", headers={"x-from": "expert"})

    client = await relay(await expert(handler))
    assert (client.status, client.body) == (200, b'{"model":"small"}')
    assert client.headers[b"x-from"] == b"expert"
    assert client.headers[b"x-added"] == b"2"
    assert (seen["path"], seen["body"]) == ("/v1/chat/completions?x=1", b"{}")
    assert seen["Authorization"] == "Bearer key"
    assert seen["x-kept"] == "1"


async def test_the_clients_key_never_reaches_an_expert_without_a_key(expert: Any) -> None:
    seen = {}

    async def handler(request: web.Request) -> web.Response:
        seen.update(request.headers)
        return web.json_response({})

    await relay(await expert(handler, headers={}))
    assert "Authorization" not in seen


async def test_a_hosted_models_name_becomes_the_experts_id(expert: Any) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        if request.query.get("x") != "1":
            return web.Response(status=500)
        return web.json_response({"id": "1", "model": "org/some-model", "choices": []})

    client = await relay(await expert(handler, upstream_model="org/some-model"))
    assert orjson.loads(client.body)["model"] == "small"


async def test_a_stream_is_relayed_and_renamed_across_chunks(expert: Any) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await answer.prepare(request)
        for part in (b'data: {"id":"1","mod', b'el":"org/m","choices":[]}\n\nda', b"ta: [DONE]\n\n"):
            await answer.write(part)
            await asyncio.sleep(0.01)
        return answer

    client = await relay(await expert(handler, upstream_model="org/m"))
    assert client.body == b'data: {"id":"1","model":"small","choices":[]}\n\ndata: [DONE]\n\n'
    assert client.messages[-1]["more_body"] is False


async def test_chunks_are_sent_on_as_they_come(expert: Any) -> None:
    release = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await answer.prepare(request)
        await answer.write(b"data: 1\n\n")
        await release.wait()
        return answer

    target = await expert(handler)
    client = Client()
    async with Upstream(connect_timeout_s=1.0) as upstream:
        deadline_s = asyncio.get_running_loop().time() + 5
        task = asyncio.create_task(upstream.relay(target, REQUEST, client.response, dict, deadline_s=deadline_s))
        await asyncio.wait_for(client.received_body.wait(), 3)
        assert client.body == b"data: 1\n\n"
        release.set()
        assert await task == 200


async def test_openai_errors_pass_and_plain_ones_are_shaped(expert: Any) -> None:
    async def json_error(request: web.Request) -> web.Response:
        return web.json_response({"error": {"message": "too long", "code": 400}}, status=400)

    with pytest.raises(ApiError) as refused:
        await relay(await expert(json_error))
    assert not isinstance(refused.value, NoAnswerError), "another expert would say the same"
    assert (refused.value.status, refused.value.body["error"]["message"]) == (400, "too long")

    async def html_error(request: web.Request) -> web.Response:
        return web.Response(status=503, text="<html>No server</html>", content_type="text/html")

    with pytest.raises(ApiError) as caught:
        await relay(await expert(html_error))
    assert (caught.value.status, caught.value.retry_after_s) == (503, 1)


async def test_nobody_there_is_503() -> None:
    with pytest.raises(ApiError) as caught:
        await relay(ExpertTarget("small", "http://127.0.0.1:9/v1", "small", {}))
    assert (caught.value.status, caught.value.retry_after_s) == (503, 1)


async def test_the_deadline_before_the_first_byte_is_408(expert: Any) -> None:
    async def handler(request: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    with pytest.raises(ApiError) as caught:
        await relay(await expert(handler), timeout_s=0.2)
    assert caught.value.status == 408


async def test_the_deadline_within_a_stream_ends_it_with_an_error_event(expert: Any) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await answer.prepare(request)
        await answer.write(b"data: 1\n\n")
        await asyncio.sleep(30)
        return answer

    client = await relay(await expert(handler), timeout_s=0.3)
    events = client.body.split(b"\n\n")
    assert events[0] == b"data: 1"
    assert orjson.loads(events[1].removeprefix(b"data: "))["error"]["type"] == "timeout_error"
    assert client.messages[-1]["more_body"] is False


async def test_a_connection_that_the_expert_closed_is_tried_again(expert: Any) -> None:
    calls = []

    async def handler(request: web.Request) -> web.Response:
        calls.append(1)
        if len(calls) == 1:
            assert request.transport is not None
            request.transport.close()
        return web.json_response({"model": "small"})

    client = await relay(await expert(handler))
    assert (client.status, len(calls)) == (200, 2)


async def test_cancelling_hangs_up_on_the_expert(expert: Any) -> None:
    started, gone = asyncio.Event(), asyncio.Event()

    async def handler(request: web.Request) -> web.Response:
        started.set()
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            gone.set()
            raise
        return web.Response()

    task = asyncio.create_task(relay(await expert(handler), timeout_s=30))
    await asyncio.wait_for(started.wait(), 5)
    task.cancel()
    await asyncio.wait_for(gone.wait(), 5)
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_ready_asks_the_health_endpoint(expert: Any) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=200 if request.path == "/health" else 404)

    target = await expert(handler, internal=True)
    async with Upstream(connect_timeout_s=1.0) as upstream:
        assert await upstream.ready(target, timeout_s=2)
        assert not await upstream.ready(await expert(handler, internal=False), timeout_s=2)
        assert not await upstream.ready(ExpertTarget("x", "http://127.0.0.1:9/v1", "x", {}), timeout_s=2)
