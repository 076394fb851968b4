"""Real Locust processes on a real HTTP server of this machine."""

import asyncio
import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import orjson
import pytest
from aiohttp import web

from loadtests.errors import LoadTestError
from loadtests.locust_process import run_locust
from loadtests.scenario import Scenario

ROOT = Path(__file__).resolve().parents[3]
LOCUSTFILE = ROOT / "loadtests" / "locustfile.py"
SHORT = {"shape": "constant", "users": 4, "seconds": 2.0, "max_tokens": 5, "spawn_rate": 1000.0}


def event(**fields):
    return b"data: " + orjson.dumps(fields) + b"\n\n"


async def stream_of_five(request):
    """The first token after 50 ms, four more 10 ms apart; says who answered, and that it only pretends."""
    body = await request.json()
    response = web.StreamResponse(headers={"x-pointsman-expert": f"e{len(body['messages']) % 2}"})
    await response.prepare(request)
    await response.write(
        event(system_fingerprint="simulated", choices=[{"delta": {"role": "assistant", "content": ""}}])
    )
    await asyncio.sleep(0.05)
    for _ in range(5):
        await response.write(event(choices=[{"delta": {"content": "x"}}]))
        await asyncio.sleep(0.01)
    await response.write(event(choices=[], usage={"prompt_tokens": 8, "completion_tokens": 5}) + b"data: [DONE]\n\n")
    return response


async def run(url, folder, **settings):
    samples, progress = await asyncio.to_thread(run_locust, Scenario(url=url, **{**SHORT, **settings}), folder)
    assert len(samples) == progress.requests
    return samples, progress


async def test_users_of_one_process_see_what_the_server_does(serve_chat, tmp_path):
    samples, _ = await run(await serve_chat(stream_of_five), tmp_path)
    assert samples.failures == 0
    assert len(samples) >= 4
    waited_s = samples.column("first_token_s") - samples.column("started_s")
    assert waited_s.min() >= 0.05
    # On a busy machine some parts of a stream arrive together.
    assert np.median(samples.column("ended_s") - samples.column("first_token_s")) >= 0.04
    assert set(samples.column("output_tokens")) == {5}
    assert set(samples.column("prompt_tokens")) == {8}
    assert set(samples.texts("expert")) == {"e1"}
    assert samples.simulated == {"e1"}
    assert samples.ticks


async def test_several_processes_bring_their_samples_together(serve_chat, tmp_path):
    samples, progress = await run(await serve_chat(stream_of_five), tmp_path, processes=2, seconds=4.0, mix="chat")
    assert len({tick.process for tick in samples.ticks}) == 2
    assert samples.failures == progress.failures == 0
    assert len(samples) > 20


async def test_a_trace_is_sent_whole_by_all_processes(serve_chat, tmp_path):
    folder = tmp_path / "azure_traces"
    folder.mkdir()
    rows = [f"2023-11-16 18:15:0{second}.{part}000000,{40},{3}" for second in range(3) for part in (0, 5)]
    text = "\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens", *rows]) + "\n"
    (folder / "AzureLLMInferenceTrace_conv.csv").write_text(text)
    bodies = []

    async def note(request):
        bodies.append(await request.json())
        return await stream_of_five(request)

    settings = {"shape": "azure-conv", "data": tmp_path, "processes": 2, "seconds": 4.0}
    samples, _ = await run(await serve_chat(note), tmp_path, **settings)
    assert len(samples) == len(bodies) == 6
    assert {(body["max_tokens"], body["ignore_eos"]) for body in bodies} == {(3, True)}
    assert {len(body["messages"][0]["content"]) for body in bodies} == {160}


async def test_failures_are_told_apart(serve_chat, tmp_path):
    text, end = event(choices=[{"delta": {"content": "x"}}]), b"data: [DONE]\n\n"
    bodies = {
        "status 503": (503, b'{"error": {"message": "The pool is full."}}'),
        "incomplete stream": (200, text),
        "no content": (200, event(choices=[{"delta": {}}]) + end),
        "error in a stream": (200, text + event(error={"message": "It broke."}) + end),
    }
    kinds = itertools.cycle([*bodies, "timeout", "connection"])

    async def answer(request):
        kind = next(kinds)
        if kind == "timeout":
            await asyncio.sleep(2)
        if kind == "connection":
            request.transport.close()
        status, body = bodies.get(kind, (200, b""))
        return web.Response(status=status, body=body)

    settings = {"users": 1, "seconds": 4.0, "timeout_s": 0.8}
    samples, _ = await run(await serve_chat(answer), tmp_path, **settings)
    assert set(samples.texts("failure")) == {*bodies, "timeout", "connection"}
    assert samples.failures == len(samples)
    assert samples.messages["status 503"] == "The pool is full."
    assert samples.messages["error in a stream"] == "It broke."
    assert samples.messages["timeout"] == "No whole answer within 0.8 s."


async def test_a_kept_connection_that_the_server_closes_is_no_failure(serve_chat, tmp_path):
    asked = 0

    async def answer(request):
        nonlocal asked
        asked += 1
        response = web.json_response({"choices": [{"message": {"content": "x"}}]})
        asyncio.get_running_loop().call_later(0.02, request.transport.close)
        return response

    settings = {"users": 1, "seconds": 2.0, "stream": False, "think_s": 0.3}
    samples, _ = await run(await serve_chat(answer), tmp_path, **settings)
    assert samples.failures == 0
    assert len(samples) == asked > 1


async def test_the_load_ends_with_the_most_requests(serve_chat, tmp_path):
    samples, progress = await run(await serve_chat(stream_of_five), tmp_path, seconds=60.0, most_requests=10)
    assert progress.at_s - progress.started_s < 30
    assert len(samples) >= 10


def test_what_locust_refuses_is_one_sentence(tmp_path):
    with pytest.raises(LoadTestError, match=r"Not one request was made: .*zeroeval_scores.csv cannot be read"):
        run_locust(Scenario(shape="constant", users=1, seconds=1, mix="zeroeval", data=tmp_path), tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--load-mix", "poems"], "Error: --mix 'poems' is unknown"),
        (["--host", "http://192.0.2.1/v1"], "Error: '192.0.2.1' is not this machine"),
    ],
)
def test_the_locustfile_names_what_is_wrong(options, message):
    command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert message in done.stderr


def test_gevent_stays_in_locusts_processes():
    code = (
        "import sys, serve.cli, loadtests.locust_process, loadtests.results, loadtests.checking, loadtests.watch; "
        "print(*[name for name in ('gevent', 'locust', 'geventhttpclient') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


async def test_an_interrupted_load_test_reports_and_leaves_no_process(serve_chat, tmp_path):
    found = []

    def interrupt(progress):
        if progress.requests:
            found.extend(int(name) for name in os.listdir("/proc") if name.isdigit() and is_locust(name, tmp_path))
            raise KeyboardInterrupt

    scenario = Scenario(url=await serve_chat(stream_of_five), **{**SHORT, "seconds": 60.0, "processes": 2})
    samples, progress = await asyncio.to_thread(run_locust, scenario, tmp_path, interrupt)
    assert len(samples) >= progress.requests > 0
    assert len(found) == 3
    assert [pid for pid in found if is_locust(pid, tmp_path)] == []


def is_locust(pid, folder):
    try:
        return str(folder) in Path(f"/proc/{pid}/cmdline").read_bytes().decode()
    except OSError:
        return False
