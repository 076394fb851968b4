from __future__ import annotations

import asyncio
import time

import orjson
import pytest

from deployments.openai import ApiError, NoAnswerError
from deployments.plans.plan import Cascade, SelfVerification
from tests.unit.deployments.plans.conftest import JUDGE, Bench

CASCADE = Cascade(("small", "large"), (0.5,), JUDGE)
THREE = Cascade(("small", "spare", "large"), (0.5, 0.5), JUDGE)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("score", "answers"), [(0.5, "small"), (0.49, "large")])
async def test_an_answer_is_kept_from_its_threshold_on(bench: Bench, score: float, answers: str, stream: bool) -> None:
    bench.judge.scores["small says"] = score
    answered = await bench.ask(CASCADE, stream=stream)
    assert answered.text == f"{answers} says"
    assert answered.header["x-pointsman-expert"] == answers
    assert bench.judge.asked == [("a question", ("small says " if stream else "small says",))]
    if answers == "small":
        assert answered.outcomes == [("small", "accepted")]
        assert answered.header["x-pointsman-score"] == "0.5000"
    else:
        assert answered.outcomes == [("small", "rejected"), ("large", "answered")]
        assert b"small" not in answered.client.body, "nothing of a rejected answer may leak"


async def test_every_attempts_tokens_are_paid_for(bench: Bench) -> None:
    answered = await bench.ask(THREE)
    assert [outcome for _, outcome in answered.outcomes] == ["rejected", "accepted"]
    # 10 tokens in and 3 out of each, at the prices of the experts.
    expected = (10 * 1 + 3 * 2 + 10 * 5 + 3 * 5) / 1e6
    assert float(answered.header["x-pointsman-cost"]) == pytest.approx(expected)


@pytest.mark.parametrize("wanted", [False, True])
async def test_the_last_experts_stream_is_counted_without_showing_it(bench: Bench, wanted: bool) -> None:
    options = {"stream_options": {"include_usage": True}} if wanted else {}
    answered = await bench.ask(CASCADE, stream=True, **options)
    assert (b'"usage"' in answered.client.body) == wanted
    usage = answered.exchange.ledger.attempts[-1].usage
    assert usage is not None
    assert usage.output_tokens == 3
    assert answered.exchange.ledger.cost == pytest.approx((10 + 6 + 100 + 60) / 1e6)


@pytest.mark.parametrize("stream", [False, True])
async def test_an_expert_that_does_not_answer_is_passed_over(bench: Bench, stream: bool) -> None:
    bench.experts["small"].status = 503
    answered = await bench.ask(THREE, stream=stream)
    assert (answered.text, answered.outcomes) == ("spare says", [("small", "refused"), ("spare", "accepted")])


@pytest.mark.parametrize("stream", [False, True])
async def test_where_the_last_does_not_answer_the_best_rejected_answer_does(bench: Bench, stream: bool) -> None:
    bench.experts["large"].status = 503
    bench.judge.scores |= {"small says": 0.4, "spare says": 0.2}
    answered = await bench.ask(THREE, stream=stream)
    assert answered.text == "small says"
    assert answered.header["x-pointsman-fallback"] == "failed"
    assert answered.outcomes[-1] == ("large", "refused")


async def test_at_the_deadline_the_best_rejected_answer_is_given(bench: Bench) -> None:
    bench.experts["large"].delay_s = 30
    started_s = time.monotonic()
    answered = await bench.ask(CASCADE, timeout_s=0.7)
    assert (answered.text, answered.header["x-pointsman-fallback"]) == ("small says", "late")
    assert time.monotonic() - started_s < 1.2


async def test_without_any_answer_the_deadline_is_told(bench: Bench) -> None:
    for scripted in bench.experts.values():
        scripted.delay_s = 30
    with pytest.raises(NoAnswerError) as caught:
        await bench.ask(CASCADE, timeout_s=0.5)
    assert caught.value.status == 408


@pytest.mark.parametrize("how", ["late", "failed"])
async def test_without_a_judge_the_last_expert_answers(bench: Bench, how: str) -> None:
    bench.judge.scores["small says"] = 1.0
    bench.judge.delay_s, bench.judge.fails = (0.5, False) if how == "late" else (0.0, True)
    bench.scoring_timeout_s = 0.1 if how == "late" else 2.0
    answered = await bench.ask(CASCADE)
    assert (answered.text, answered.header["x-pointsman-fallback"]) == ("large says", how)


async def test_a_request_at_fault_ends_the_cascade(bench: Bench) -> None:
    bench.experts["small"].status = 400
    with pytest.raises(ApiError) as caught:
        await bench.ask(CASCADE)
    assert caught.value.status == 400
    assert bench.experts["large"].bodies == []


@pytest.mark.parametrize("stage", ["small", "judge", "large"])
async def test_a_client_that_leaves_cancels_every_stage(bench: Bench, stage: str) -> None:
    if stage == "judge":
        bench.judge.delay_s = 0.6
    else:
        bench.experts[stage].delay_s = 30
    await bench.ask(CASCADE, timeout_s=60, leaves_after_s=0.3)
    if stage != "judge":
        await asyncio.wait_for(bench.experts[stage].gone.wait(), 2)
    later = {"small": ["large"], "judge": ["large"], "large": []}[stage]
    assert all(bench.experts[name].bodies == [] for name in later)


async def test_several_choices_are_kept_by_their_mean(bench: Bench) -> None:
    bench.experts["small"].texts = ("good", "bad")
    bench.judge.scores |= {"good": 0.9, "bad": 0.3}
    answered = await bench.ask(CASCADE, n=2)
    assert len(orjson.loads(answered.client.body)["choices"]) == 2
    assert answered.outcomes == [("small", "accepted")]
    assert answered.header["x-pointsman-score"] == "0.6000"


async def test_many_cascades_at_a_time_do_not_mix(bench: Bench) -> None:
    bench.judge.scores["small says"] = 0.4
    targets = {name: await bench._start(scripted.handle, name=name) for name, scripted in bench.experts.items()}

    async def start(_: object, *, name: str) -> object:
        return targets[name]

    bench._start = start  # type: ignore[assignment]
    answers = await asyncio.gather(*(bench.ask(CASCADE, stream=i % 2 == 0, timeout_s=30) for i in range(200)))
    assert {answered.text for answered in answers} == {"large says"}
    assert {tuple(answered.outcomes) for answered in answers} == {(("small", "rejected"), ("large", "answered"))}
    assert all(answered.outcomes == [("small", "rejected"), ("large", "answered")] for answered in answers)


VERIFY = Cascade(("small", "large"), (0.5,), SelfVerification(4, "Q: {question} A: {answer} OK?", "(?i)^yes"))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("replies", "answers"), [(("Yes", "no", "yes!", "no"), "small"), (("no", "no", "yes", "no"), "large")]
)
async def test_an_expert_judges_its_own_answer(
    bench: Bench, replies: tuple[str, ...], answers: str, stream: bool
) -> None:
    small = bench.experts["small"]
    small.texts = replies
    answered = await bench.ask(VERIFY, stream=stream)
    assert answered.header["x-pointsman-expert"] == answers
    asked = small.bodies[1]
    assert asked["n"] == 4
    assert asked["temperature"] == 1.0
    said = small.bodies[0]
    assert "tools" not in asked
    assert said.get("stream", False) == stream
    assert asked["messages"][0]["content"].startswith("Q: a question A: ")
    purposes = [(attempt.expert, attempt.purpose) for attempt in answered.exchange.ledger.attempts]
    assert purposes[:2] == [("small", "answer"), ("small", "verify")]
    verified = answered.exchange.ledger.attempts[1].usage
    assert verified is not None
    assert verified.output_tokens == 12, "verification is paid for too"


async def test_an_expert_that_cannot_verify_leaves_it_to_the_last(bench: Bench) -> None:
    bench.experts["small"].texts = ("fine",)
    how = SelfVerification(2, "{answer}", "never matches this")
    answered = await bench.ask(Cascade(("small", "large"), (0.5,), how))
    assert answered.text == "large says"


@pytest.mark.parametrize(
    ("replies", "kept"), [(("42.", " 42. ", "42.", "7"), True), (("42.", "420", "4", "42"), False)]
)
async def test_an_expert_that_gives_the_same_answer_again_is_believed(
    bench: Bench, replies: tuple[str, ...], kept: bool
) -> None:
    bench.experts["small"].texts = replies
    how = SelfVerification(4, "{question}", r"^\s*{answer}\s*$")
    answered = await bench.ask(Cascade(("small", "large"), (0.6,), how))
    assert bench.experts["small"].bodies[1]["messages"][0]["content"] == "a question"
    assert (answered.header["x-pointsman-expert"] == "small") == kept
