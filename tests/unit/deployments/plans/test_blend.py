from __future__ import annotations

import asyncio
import time

import orjson
import pytest

from deployments.openai import ApiError, NoAnswerError
from deployments.plans.plan import Blend, Fusion
from tests.unit.deployments.plans.conftest import JUDGE, Bench

BLEND = Blend(("small", "large", "spare"), JUDGE, None, 2.0)
FUSED = Blend(("small", "spare"), JUDGE, Fusion("large", 2, "Fuse:\n{answers}"), 2.0)


@pytest.mark.parametrize("stream", [False, True])
async def test_the_best_answer_is_given(bench: Bench, stream: bool) -> None:
    answered = await bench.ask(BLEND, stream=stream)
    assert (answered.text, answered.header["x-pointsman-expert"]) == ("large says", "large")
    assert sorted(answered.outcomes) == [("large", "accepted"), ("small", "rejected"), ("spare", "rejected")]
    assert answered.header["x-pointsman-score"] == "0.9000"
    everybody = sum((10 * i + 3 * o) / 1e6 for i, o in ((1.0, 2.0), (10.0, 20.0), (5.0, 5.0)))
    assert float(answered.header["x-pointsman-cost"]) == pytest.approx(everybody)


async def test_equal_answers_are_judged_once(bench: Bench) -> None:
    for name in ("small", "spare"):
        bench.experts[name].texts = ("the same",)
    bench.judge.scores["the same"] = 0.95
    answered = await bench.ask(BLEND)
    assert bench.judge.asked == [("a question", ("the same", "large says"))]
    assert answered.header["x-pointsman-expert"] == "small"


async def test_members_are_asked_at_the_same_time(bench: Bench) -> None:
    for scripted in bench.experts.values():
        scripted.delay_s = 0.4
    started_s = time.monotonic()
    await bench.ask(BLEND)
    assert time.monotonic() - started_s < 1.0


@pytest.mark.parametrize("stream", [False, True])
async def test_a_slow_member_is_not_waited_for(bench: Bench, stream: bool) -> None:
    bench.experts["large"].delay_s = 30
    started_s = time.monotonic()
    answered = await bench.ask(Blend(BLEND.experts, JUDGE, None, 0.3), stream=stream)
    assert answered.text == "spare says"
    assert time.monotonic() - started_s < 1.5
    assert ("large", "cancelled") in answered.outcomes
    await asyncio.wait_for(bench.experts["large"].gone.wait(), 2)


async def test_the_first_answer_is_taken_where_all_are_slow(bench: Bench) -> None:
    bench.experts["small"].delay_s = 0.5
    bench.experts["large"].delay_s = bench.experts["spare"].delay_s = 30
    answered = await bench.ask(Blend(BLEND.experts, JUDGE, None, 0.1))
    assert answered.text == "small says"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_failing_member_is_left_out(bench: Bench, stream: bool) -> None:
    bench.experts["large"].status = 503
    answered = await bench.ask(BLEND, stream=stream)
    assert answered.text == "spare says"
    assert ("large", "refused") in answered.outcomes


async def test_without_any_answer_the_failure_is_told(bench: Bench) -> None:
    for scripted in bench.experts.values():
        scripted.status = 503
    with pytest.raises(NoAnswerError):
        await bench.ask(BLEND)
    bench.experts["small"].status = 400
    with pytest.raises(ApiError) as caught:
        await bench.ask(BLEND)
    assert caught.value.status == 400, "what is wrong with the request is the more useful thing to know"


async def test_the_deadline_ends_a_blend(bench: Bench) -> None:
    for scripted in bench.experts.values():
        scripted.delay_s = 30
    with pytest.raises(NoAnswerError) as caught:
        await bench.ask(BLEND, timeout_s=0.5)
    assert caught.value.status == 408


async def test_without_a_ranker_the_first_member_goes_before_others(bench: Bench) -> None:
    bench.judge.fails = True
    answered = await bench.ask(BLEND)
    assert (answered.text, answered.header["x-pointsman-fallback"]) == ("small says", "failed")
    bench.experts["small"].status = 500
    assert (await bench.ask(BLEND)).text == "large says"


async def test_a_client_that_leaves_cancels_all_members(bench: Bench) -> None:
    for scripted in bench.experts.values():
        scripted.delay_s = 30
    await bench.ask(BLEND, timeout_s=60, leaves_after_s=0.3)
    async with asyncio.timeout(2):
        for scripted in bench.experts.values():
            await scripted.gone.wait()


@pytest.mark.parametrize("stream", [False, True])
async def test_a_fuser_writes_the_answer_from_the_best(bench: Bench, stream: bool) -> None:
    answered = await bench.ask(FUSED, stream=stream)
    assert answered.text == "large says"
    told = bench.experts["large"].bodies[0]["messages"]
    assert [message["role"] for message in told] == ["user", "user"]
    assert told[1]["content"].split() == ["Fuse:", "[1]", "spare", "says", "[2]", "small", "says"]
    last = answered.exchange.ledger.attempts[-1]
    assert (last.expert, last.purpose, last.outcome) == ("large", "fuse", "answered")


async def test_where_the_fuser_fails_the_best_answer_is_given(bench: Bench) -> None:
    bench.experts["large"].status = 503
    answered = await bench.ask(FUSED)
    assert (answered.text, answered.header["x-pointsman-fallback"]) == ("spare says", "failed")


async def test_calls_of_tools_are_not_fused(bench: Bench) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    spare = bench.experts["spare"]
    answer = spare._answer

    async def with_tools(request: object, body: object) -> object:
        from aiohttp import web

        await answer(request, body)  # type: ignore[arg-type]
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
        return web.json_response({"choices": [{"index": 0, "message": message}]})

    spare._answer = with_tools  # type: ignore[assignment, method-assign]
    bench.judge.scores["add{}"] = 1.0
    answered = await bench.ask(FUSED)
    assert orjson.loads(answered.client.body)["choices"][0]["message"]["tool_calls"] == [call]
    assert bench.experts["large"].bodies == []


async def test_what_a_blend_cannot_do_is_refused(bench: Bench) -> None:
    for fields, param in (({"n": 2}, "n"), ({"path": "/v1/embeddings", "input": "x"}, "model")):
        with pytest.raises(ApiError) as caught:
            await bench.ask(BLEND, **fields)  # type: ignore[arg-type]
        assert (caught.value.status, caught.value.param) == (400, param)
    with pytest.raises(ApiError, match="one by one"):
        await bench.ask(BLEND, path="/v1/completions", prompt=["a", "b"])
    with pytest.raises(ApiError, match="fuses answers"):
        await bench.ask(FUSED, path="/v1/completions", prompt="a")
    assert all(scripted.bodies == [] for scripted in bench.experts.values())
