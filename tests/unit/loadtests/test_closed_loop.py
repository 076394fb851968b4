import asyncio
import json
import subprocess
import sys

import pytest
from aiohttp import web

from loadtests.closed_loop import Load, Quantiles, run_load
from loadtests.errors import LoadTestError

EVENTS = [b'{"choices":[{"delta":{"role":"assistant","content":""}}]}', b'{"choices":[{"delta":{"content":"7"}}]}']


def answer_with(text="7", **headers):
    return web.json_response({"choices": [{"message": {"content": text}}]}, headers=headers)


async def stream(request: web.Request, events: list[bytes], pause_s: float = 0.0) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    for event in events:
        await response.write(b"data: " + event + b"\n\n")
        await asyncio.sleep(pause_s)
    await response.write_eof()
    return response


async def test_it_counts_what_the_server_answered_within_the_time(serve_chat):
    at_a_time, most_at_a_time, asked = 0, 0, []

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal at_a_time, most_at_a_time
        at_a_time += 1
        most_at_a_time = max(most_at_a_time, at_a_time)
        asked.append(await request.json())
        await asyncio.sleep(0.05)
        at_a_time -= 1
        return answer_with(**{"x-took": str(len(asked))})

    seconds = []
    load = Load(await serve_chat(handler), "auto", users=4, duration_s=0.6, number_header="x-took")
    result = await run_load(load, seconds.append)
    assert most_at_a_time == 4
    assert 8 <= result.requests <= 48
    assert len(asked) > result.requests
    assert result.requests_per_s == pytest.approx(result.requests / 0.6, abs=8 / 0.6)
    assert result.latency_ms.p50 >= 50
    assert result.first_token_ms.p50 <= result.latency_ms.p50
    assert result.failures == {}
    assert 4 < result.header.p50 < len(asked)
    assert 0 < result.client_cpu <= 1.5
    assert seconds[-1] == pytest.approx(0.6)
    first = asked[0]
    assert (first["model"], first["max_tokens"], first["ignore_eos"], first["stream"]) == ("auto", 16, True, False)
    assert len({body["messages"][0]["content"] for body in asked[:10]}) > 5


async def test_the_rate_does_not_depend_on_how_many_bursts_end_in_time(serve_chat):
    async def handler(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.4)
        return answer_with()

    result = await run_load(Load(await serve_chat(handler), "small", users=2, duration_s=0.6))
    assert result.requests == 2
    assert result.requests_per_s == pytest.approx(2 / (result.latency_ms.mean / 1e3), rel=0.1)


async def test_first_token_of_a_stream(serve_chat):
    async def handler(request: web.Request) -> web.StreamResponse:
        assert (await request.json())["stream"]
        return await stream(request, [*EVENTS, b"[DONE]"], pause_s=0.05)

    load = Load(await serve_chat(handler), "small", users=2, duration_s=0.5, stream=True)
    result = await run_load(load)
    assert result.failures == {}
    assert result.first_token_ms.p50 >= 50
    assert result.latency_ms.p50 - result.first_token_ms.p50 >= 90


async def test_failures_are_counted_by_kind_and_are_no_answers(serve_chat):
    number = 0

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal number
        number += 1
        kind = number % 4
        if kind == 0:
            raise web.HTTPServiceUnavailable
        if kind == 1:
            return answer_with("")
        if kind == 2:
            request.transport.abort()
        return answer_with()

    load = Load(await serve_chat(handler), "small", users=1, duration_s=0.6, warmup_s=0.1)
    result = await run_load(load)
    assert set(result.failures) == {"status 503", "no content", "connection"}
    assert max(result.failures.values()) - min(result.failures.values()) <= 1
    assert 0 < result.requests <= number - sum(result.failures.values())


async def test_a_stream_that_breaks_off_is_a_failure(serve_chat):
    async def handler(request: web.Request) -> web.StreamResponse:
        return await stream(request, EVENTS)

    load = Load(await serve_chat(handler), "small", duration_s=0.2, stream=True, warmup_s=0.05)
    result = await run_load(load)
    assert set(result.failures) == {"incomplete stream"}
    assert (result.requests, result.first_token_ms) == (0, None)


async def test_a_request_that_takes_too_long_is_a_failure(serve_chat):
    async def handler(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(1)
        return answer_with()

    load = Load(await serve_chat(handler), "small", duration_s=0.3, warmup_s=0.1, timeout_s=0.1)
    assert set((await run_load(load)).failures) == {"timeout"}


async def test_a_server_that_is_not_there_is_a_failure():
    load = Load("http://127.0.0.1:9/v1", "small", duration_s=0.2, warmup_s=0.1)
    result = await run_load(load)
    assert set(result.failures) == {"connection"}
    assert result.requests == 0


@pytest.mark.parametrize(
    "url", ["http://example.com/v1", "http://10.0.0.1:8000/v1", "https://127.0.0.1/v1", "http://127.0.0.1.example/v1"]
)
def test_only_this_machine_may_be_loaded(url):
    with pytest.raises(LoadTestError, match=r"http://127\.|on 127\."):
        Load(url, "small").address()


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://127.0.0.1:8123/v1/", ("127.0.0.1", 8123, "/v1")),
        ("http://localhost/v1", ("localhost", 80, "/v1")),
        ("http://[::1]:8000/v1", ("::1", 8000, "/v1")),
    ],
)
def test_addresses_of_this_machine(url, address):
    load = Load(url, "small")
    assert load.address() == address
    assert f"\r\nhost: {url.split('/')[2]}\r\n".encode() in load.requests()[0]


def test_quantiles():
    assert Quantiles.of([]) is None
    quantiles = Quantiles.of([float(value) for value in range(101)])
    assert (quantiles.p50, quantiles.p99, quantiles.mean) == (50.0, 99.0, 50.0)


def run_alone(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "loadtests.closed_loop", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


async def test_it_runs_alone_and_prints_json(serve_chat):
    async def handler(request: web.Request) -> web.StreamResponse:
        return answer_with()

    url = await serve_chat(handler)
    arguments = [url, "--model", "small", "--users", "2", "--seconds", "0.2"]
    done, said = await asyncio.gather(
        asyncio.to_thread(run_alone, *arguments, "--json"), asyncio.to_thread(run_alone, *arguments)
    )
    assert done.returncode == said.returncode == 0, done.stderr
    assert json.loads(done.stdout)["requests"] > 0
    assert "failures: 0" in said.stdout


def test_alone_it_refuses_another_machine_in_one_line():
    done = run_alone("http://192.0.2.1/v1", "--model", "small", "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert "'192.0.2.1' is not this machine" in done.stderr
    assert "Traceback" not in done.stderr
