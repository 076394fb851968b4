from __future__ import annotations

import asyncio
import time

import orjson
import pytest

from deployments.openai import ApiError, NoAnswerError
from deployments.plans.plan import Single
from tests.unit.deployments.plans.conftest import Bench

CHAIN = Single(("small", "large", "spare"))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [429, 500, 503, 401])
async def test_the_next_expert_answers_where_the_first_does_not(bench: Bench, status: int, stream: bool) -> None:
    bench.experts["small"].status = status
    answered = await bench.ask(CHAIN, stream=stream)
    assert (answered.status, answered.text) == (200, "large says")
    assert answered.header["x-pointsman-expert"] == "large"
    assert answered.header["x-pointsman-attempts"] == "2"
    assert answered.header["x-pointsman-tried"].startswith("small=")
    assert answered.outcomes[1] == ("large", "answered")
    assert bench.experts["spare"].bodies == []


async def test_a_request_at_fault_is_asked_once(bench: Bench) -> None:
    bench.experts["small"].status = 400
    with pytest.raises(ApiError) as caught:
        await bench.ask(CHAIN)
    assert (caught.value.status, caught.value.body["error"]["message"]) == (400, "told to")
    assert bench.experts["large"].bodies == []


async def test_the_last_experts_own_error_is_told(bench: Bench) -> None:
    for scripted in bench.experts.values():
        scripted.status = 503
    with pytest.raises(NoAnswerError) as caught:
        await bench.ask(CHAIN)
    assert caught.value.body["error"]["message"] == "told to"
    assert bench.exchange is not None
    assert [attempt.outcome for attempt in bench.exchange.ledger.attempts] == ["refused"] * 3


@pytest.mark.parametrize("stream", [False, True])
async def test_an_expert_that_hangs_takes_its_share_of_the_time_only(bench: Bench, stream: bool) -> None:
    bench.experts["small"].delay_s = 30
    started_s = time.monotonic()
    answered = await bench.ask(CHAIN, timeout_s=1.5, stream=stream)
    assert answered.text == "large says"
    assert time.monotonic() - started_s < 1.2
    assert answered.outcomes[0] == ("small", "late")
    await asyncio.wait_for(bench.experts["small"].gone.wait(), 2)


async def test_a_stream_that_hangs_behind_its_headers_has_not_begun(bench: Bench) -> None:
    bench.experts["small"].hangs_after_headers = True
    answered = await bench.ask(CHAIN, timeout_s=1.2, stream=True)
    assert answered.text == "large says"
    assert answered.client.body.count(b"[DONE]") == 1


async def test_one_deadline_covers_all_attempts(bench: Bench) -> None:
    for scripted in bench.experts.values():
        scripted.delay_s = 30
    started_s = time.monotonic()
    with pytest.raises(NoAnswerError) as caught:
        await bench.ask(CHAIN, timeout_s=0.6)
    assert caught.value.status == 408
    assert 0.5 < time.monotonic() - started_s < 1.2
    await asyncio.sleep(0.1)
    async with asyncio.timeout(2):
        for scripted in bench.experts.values():
            await scripted.gone.wait()


async def test_a_client_that_leaves_cancels_the_attempt(bench: Bench) -> None:
    bench.experts["small"].delay_s = 30
    await bench.ask(CHAIN, timeout_s=60, leaves_after_s=0.2)
    await asyncio.wait_for(bench.experts["small"].gone.wait(), 2)
    assert bench.exchange is not None
    assert [attempt.outcome for attempt in bench.exchange.ledger.attempts] == ["cancelled"]


async def test_one_expert_is_asked_for_exactly_what_the_client_wants(bench: Bench) -> None:
    answered = await bench.ask(Single(("small",)), stream=True, n=2, tools=[{"type": "function"}])
    assert bench.experts["small"].bodies == [
        {
            "messages": [{"role": "user", "content": "a question"}],
            "stream": True,
            "n": 2,
            "tools": [{"type": "function"}],
            "model": "small",
        }
    ]
    assert b'"usage"' not in answered.client.body
    assert "x-pointsman-tried" not in answered.header


async def test_the_debug_header_tells_every_attempt(bench: Bench) -> None:
    bench.experts["small"].status = 503
    answered = await bench.ask(CHAIN, headers={"x-pointsman-debug": "1"})
    told = orjson.loads(answered.header["x-pointsman-decision"])
    assert [(one["expert"], one["outcome"]) for one in told["attempts"]] == [
        ("small", "refused"),
        ("large", "answered"),
    ]
    assert told["expert"] == "large"
    assert told["plan"]["kind"] == "single"
