import asyncio
import base64
import json
import signal
import socket
import subprocess
import sys

import httpx
import numpy as np
import openai
import pytest

from loadtests.closed_loop import Load, run_load
from loadtests.errors import LoadTestError
from loadtests.instant_expert import chat_events, serve_instantly
from loadtests.stacks import free_port

MESSAGES = [{"role": "user", "content": "What is 3 plus 4?"}]


@pytest.fixture
async def url():
    port, ready = free_port(), asyncio.Event()
    server = asyncio.create_task(serve_instantly(port, ready=ready))
    await asyncio.wait_for(ready.wait(), 5)
    yield f"http://127.0.0.1:{port}/v1"
    server.cancel()
    await asyncio.gather(server, return_exceptions=True)


@pytest.fixture
async def client(url):
    async with openai.AsyncOpenAI(base_url=url, api_key="none") as client:
        yield client


async def test_a_client_gets_as_many_tokens_as_it_asks_for(client):
    answer = await client.chat.completions.create(model="small", messages=MESSAGES, max_tokens=5)
    assert answer.choices[0].message.content == "word word word word word"
    assert (answer.usage.completion_tokens, answer.model) == (5, "small")
    assert answer.system_fingerprint == "simulated"


async def test_a_stream_has_an_event_for_each_token(client):
    options = {"include_usage": True}
    stream = await client.chat.completions.create(
        model="small", messages=MESSAGES, max_tokens=4, stream=True, stream_options=options
    )
    events = [event async for event in stream]
    texts = [event.choices[0].delta.content for event in events[:-1]]
    assert texts == ["", "word", " word", " word", " word"]
    assert events[-2].choices[0].finish_reason == "length"
    assert events[-1].usage.completion_tokens == 4


async def test_events_come_one_by_one(url):
    host, port = url.removeprefix("http://").removesuffix("/v1").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    body = json.dumps({"model": "small", "stream": True, "max_tokens": 16}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    writer.write(head)
    await asyncio.sleep(0.05)
    writer.write(body)
    received = b""
    while not received.endswith(b"0\r\n\r\n"):
        received += await reader.read(65536)
    writer.close()
    assert received.count(b"data: ") == len(chat_events("small", 16)) == 18


@pytest.mark.parametrize("encoding", ["float", "base64"])
async def test_embeddings_have_the_asked_encoding_and_unit_length(url, encoding):
    async with httpx.AsyncClient() as client:
        answer = await client.post(f"{url}/embeddings", json={"input": ["x"], "encoding_format": encoding})
    found = answer.json()["data"][0]["embedding"]
    vector = np.frombuffer(base64.b64decode(found), "<f4") if encoding == "base64" else np.array(found)
    assert vector.shape == (1536,)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


async def test_other_requests_get_json_and_the_right_status(url):
    async with httpx.AsyncClient() as client:
        models = await client.get(f"{url}/models")
        nowhere = await client.get(f"{url}/nowhere")
        broken = await client.post(f"{url}/chat/completions", content=b"{")
        listed = await client.post(f"{url}/chat/completions", json=[1])
    assert models.json()["data"][0]["simulated"] is True
    assert (models.status_code, nowhere.status_code, broken.status_code, listed.status_code) == (200, 404, 400, 400)
    assert "error" in nowhere.json()


@pytest.mark.parametrize("stream", [False, True])
async def test_the_load_generator_sees_no_failure(url, stream):
    result = await run_load(Load(url, "small", users=20, duration_s=0.3, stream=stream, warmup_s=1.0))
    assert result.failures == {}
    assert result.requests > 20


async def test_a_taken_port_is_an_error():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(LoadTestError, match="give another one"):
            await serve_instantly(taken.getsockname()[1])


def test_the_command_answers_until_it_is_ended():
    port = free_port()
    command = [sys.executable, "-m", "loadtests.instant_expert", "--port", str(port)]
    with subprocess.Popen(command) as process:
        try:
            transport = httpx.HTTPTransport(retries=20)
            with httpx.Client(transport=transport, timeout=30) as client:
                assert client.get(f"http://127.0.0.1:{port}/health").status_code == 200
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
        finally:
            process.kill()
