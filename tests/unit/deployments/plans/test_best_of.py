from __future__ import annotations

import orjson
import pytest

from deployments.openai import ApiError
from deployments.plans.plan import Single
from tests.unit.deployments.plans.conftest import Bench

ARM = Single(("small-x3", "large"))


@pytest.fixture
def three(bench: Bench) -> Bench:
    bench.experts["small"].texts = ("fair", "best", "bad")
    bench.judge.scores |= {"fair": 0.5, "best": 0.8, "bad": 0.1}
    return bench


@pytest.mark.parametrize("stream", [False, True])
async def test_the_best_of_three_is_given_as_one_answer(three: Bench, stream: bool) -> None:
    answered = await three.ask(ARM, stream=stream)
    assert answered.text == "best"
    assert three.experts["small"].bodies[0]["n"] == 3
    assert answered.header["x-pointsman-expert"] == "small"
    assert answered.header["x-pointsman-score"] == "0.8000"
    if not stream:
        body = orjson.loads(answered.client.body)
        assert [choice["index"] for choice in body["choices"]] == [0]
        assert body["usage"]["completion_tokens"] == 9, "all answers were made"
    assert answered.exchange.ledger.cost == pytest.approx((10 * 1 + 9 * 2) / 1e6)


async def test_the_best_of_more_where_the_client_wants_several(three: Bench) -> None:
    answered = await three.ask(ARM, n=2)
    assert three.experts["small"].bodies[0]["n"] == 6
    choices = orjson.loads(answered.client.body)["choices"]
    assert [(choice["index"], choice["message"]["content"]) for choice in choices] == [(0, "best"), (1, "best")]


async def test_at_temperature_zero_one_answer_is_enough(three: Bench) -> None:
    answered = await three.ask(ARM, temperature=0)
    assert three.experts["small"].bodies[0].get("n") is None
    assert answered.text == "fair"


async def test_without_a_judge_the_first_is_given(three: Bench) -> None:
    three.judge.fails = True
    answered = await three.ask(ARM)
    assert (answered.text, answered.header["x-pointsman-fallback"]) == ("fair", "failed")


async def test_another_expert_answers_where_the_arms_does_not(three: Bench) -> None:
    three.experts["small"].status = 503
    answered = await three.ask(ARM)
    assert (answered.text, answered.outcomes[0]) == ("large says", ("small", "refused"))


async def test_arms_answer_completions_and_chats_only(three: Bench) -> None:
    with pytest.raises(ApiError, match="name an expert"):
        await three.ask(ARM, path="/v1/responses", input="x")
