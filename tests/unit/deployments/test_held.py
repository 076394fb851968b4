from __future__ import annotations

from typing import Any

import orjson
import pytest

from deployments.attempts import Usage
from deployments.held import HeldAnswer, UsageMeter
from deployments.openai import NoAnswerError
from deployments.upstream import UpstreamAnswer


def whole(fields: Any) -> HeldAnswer:
    body = fields if isinstance(fields, bytes) else orjson.dumps(fields)
    return HeldAnswer("small", UpstreamAnswer(200, (), body, streamed=False))


def stream(*events: Any) -> HeldAnswer:
    parts = [event if isinstance(event, bytes) else orjson.dumps(event) for event in events]
    body = b"".join(b"data: " + part + b"\n\n" for part in parts)
    return HeldAnswer("small", UpstreamAnswer(200, (), body, streamed=True))


def delta(index: int, **fields: Any) -> dict[str, Any]:
    return {"id": "1", "choices": [{"index": index, "delta": fields, "finish_reason": None}]}


USAGE = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
CALL = {"id": "c", "function": {"name": "add", "arguments": '{"a": 1}'}}


def test_texts_of_a_whole_answer_with_tools_behind_them() -> None:
    choices = [
        {"index": 0, "message": {"role": "assistant", "content": "one"}},
        {"index": 1, "message": {"role": "assistant", "content": None, "tool_calls": [CALL]}},
    ]
    held = whole({"choices": choices, "usage": USAGE})
    assert held.texts == ("one", 'add{"a": 1}')
    assert (held.uses_tools, held.usage) == (True, Usage(5, 7))
    completion = whole({"choices": [{"index": 0, "text": "two"}]})
    assert (completion.texts, completion.uses_tools, completion.usage) == (("two",), False, None)


def test_a_stream_is_put_together_by_choice() -> None:
    held = stream(
        delta(0, role="assistant", content="on"),
        delta(1, content="tw"),
        delta(0, content="e"),
        delta(1, content="o", tool_calls=[{"index": 0, **CALL}]),
        {"id": "1", "choices": [], "usage": USAGE},
        b"[DONE]",
    )
    assert held.texts == ("one", 'twoadd{"a": 1}')
    assert held.usage == Usage(5, 7)


def test_all_of_a_whole_answer_is_the_same_bytes() -> None:
    raw = b'{ "choices" : [ {"index": 0, "message": {"content": "a"}} ] }'
    assert whole(raw).body(None, with_usage=False) == raw


def test_some_choices_in_a_new_order() -> None:
    choices = [{"index": i, "message": {"content": text}, "logprobs": i} for i, text in enumerate("abc")]
    body = orjson.loads(whole({"id": "1", "choices": choices, "usage": USAGE}).body([2, 0], with_usage=False))
    assert [(one["index"], one["message"]["content"], one["logprobs"]) for one in body["choices"]] == [
        (0, "c", 2),
        (1, "a", 0),
    ]
    assert body["usage"] == USAGE


@pytest.mark.parametrize(("with_usage", "events"), [(True, 4), (False, 3)])
def test_one_choice_of_a_stream(with_usage: bool, events: int) -> None:
    held = stream(
        delta(0, content="a"), delta(1, content="b"), delta(1, content="c"), {"choices": [], "usage": USAGE}, b"[DONE]"
    )
    sent = held.body([1], with_usage=with_usage).split(b"\n\n")[:-1]
    assert len(sent) == events
    assert sent[-1] == b"data: [DONE]"
    first, second = (orjson.loads(event.removeprefix(b"data: "))["choices"][0] for event in sent[:2])
    assert [(one["index"], one["delta"]["content"]) for one in (first, second)] == [(0, "b"), (0, "c")]


@pytest.mark.parametrize("body", [b"", b"not JSON", b"[]", b"{}", b'{"choices": []}', b'{"choices": [1]}', b"null"])
def test_what_is_no_answer_is_a_failure_of_the_expert(body: bytes) -> None:
    with pytest.raises(NoAnswerError) as caught:
        whole(body)
    assert caught.value.outcome == "failed"


def test_an_error_within_a_stream_is_a_failure_of_the_expert() -> None:
    with pytest.raises(NoAnswerError):
        stream(delta(0, content="a"), {"error": {"message": "engine dead"}})


LINES = [
    b'data: {"choices":[{"index":0,"delta":{"content":"the \\"usage\\""}}]}\n',
    b"\n",
    b"data: " + orjson.dumps({"choices": [], "usage": USAGE}) + b"\n",
    b"\n",
    b"data: [DONE]\n",
    b"\n",
]


def test_a_meter_counts_and_leaves_out_what_the_client_did_not_ask_for() -> None:
    meter = UsageMeter(keeps=False)
    assert [meter(line) for line in LINES] == [*LINES[:2], b"", b"", *LINES[4:]]
    assert meter.usage == Usage(5, 7)
    keeping = UsageMeter(keeps=True)
    assert [keeping(line) for line in LINES] == LINES
    assert keeping.usage == Usage(5, 7)


def test_a_meter_reads_whole_bodies() -> None:
    meter = UsageMeter(keeps=False)
    body = orjson.dumps({"choices": [{"index": 0, "text": "x"}], "usage": USAGE})
    assert meter(body) == body
    assert meter.usage == Usage(5, 7)
    assert UsageMeter(keeps=False)(b'{"usage": broken') == b'{"usage": broken'
