import json

import pytest

from deployments.experts.simulation.answers import Template
from deployments.experts.simulation.wire import Writer, parse, plan
from deployments.openai import ApiError

ANSWERS = Template("an answer of twenty four")


def choices_of(body, *, chat=True, longest=1000):
    wanted = parse(json.dumps(body).encode(), chat=chat)
    return wanted, plan(wanted, ANSWERS, longest)


def asked(**more):
    return {"messages": [{"role": "user", "content": "x" * 40}], **more}


def only(**more):
    (choice,) = choices_of(asked(**more))[1]
    return choice


def test_an_answer_ends_by_itself():
    choice = only()
    assert (choice.answer.text, choice.answer.tokens, choice.finish_reason) == ("an answer of twenty four", 6, "stop")
    assert choice.prompt_tokens == 10


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_limit_cuts_it(name):
    choice = only(**{name: 2})
    assert (choice.answer.text, choice.answer.tokens, choice.finish_reason) == ("an answe", 2, "length")


def test_a_fixed_length_is_kept():
    choice = only(max_tokens=50, ignore_eos=True)
    assert (choice.answer.tokens, choice.finish_reason) == (50, "length")
    assert only(max_tokens=50, min_tokens=20).answer.tokens == 20


def test_a_stop_sequence_ends_it():
    choice = only(stop=["of", "answer"])
    assert (choice.answer.text, choice.finish_reason) == ("an ", "stop")


def test_the_context_ends_it_too():
    _, (choice,) = choices_of(asked(), longest=12)
    assert (choice.answer.tokens, choice.finish_reason) == (2, "length")
    with pytest.raises(ApiError, match="longest context is 10 tokens, and the prompt has 10"):
        choices_of(asked(), longest=10)


def test_several_choices_and_several_prompts():
    wanted, choices = choices_of({"prompt": ["abcd", [1, 2, 3]], "n": 2}, chat=False)
    assert [(choice.index, choice.prompt_tokens) for choice in choices] == [(0, 1), (1, 1), (2, 3), (3, 3)]
    usage = Writer(wanted, choices, "e").whole()["usage"]
    assert usage == {"prompt_tokens": 4, "completion_tokens": 24, "total_tokens": 28}


def test_a_whole_answer_says_that_it_is_simulated():
    wanted, choices = choices_of(asked(model="m"))
    body = Writer(wanted, choices, "e").whole()
    assert (body["model"], body["object"], body["system_fingerprint"]) == ("m", "chat.completion", "simulated")
    assert body["choices"][0]["message"]["content"] == "an answer of twenty four"


@pytest.mark.parametrize("chat", [True, False])
def test_a_stream_is_the_answer_and_ends_as_openai_says(chat):
    body = asked() if chat else {"prompt": "x"}
    wanted, (choice,) = choices_of({**body, "stream": True, "stream_options": {"include_usage": True}}, chat=chat)
    writer = Writer(wanted, [choice], "e")
    sent = writer.opening() + writer.tokens(choice, 0, 2) + writer.tokens(choice, 2, 6) + writer.closing()
    *events, last = [line.removeprefix("data: ") for line in sent.decode().split("\n\n") if line]
    assert last == "[DONE]"
    *chunks, usage = [json.loads(event) for event in events]
    texts = [one["delta"].get("content", "") if chat else one["text"] for [one] in (c["choices"] for c in chunks)]
    assert "".join(texts) == choice.answer.text
    assert [c["choices"][0]["finish_reason"] for c in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == 6
    assert {chunk["system_fingerprint"] for chunk in chunks} == {"simulated"}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"logprobs": True}, "no logprobs"),
        ({"response_format": {"type": "json_object"}}, "cannot answer as json_object"),
        ({"tool_choice": "required"}, "calls no tool"),
        ({"n": 0}, "n must be a whole number from 1 to 128"),
        ({"max_tokens": "many"}, "max_tokens must be a whole number of at least 1"),
        ({"messages": []}, "at least one message"),
        ({"messages": "hello"}, "at least one message"),
    ],
)
def test_what_cannot_be_simulated_is_refused(more, message):
    with pytest.raises(ApiError, match=message) as refused:
        choices_of(asked(**more))
    assert refused.value.status == 400


@pytest.mark.parametrize("raw", [b"{broken", b"[]", b'{"prompt": {}}', b"{}"])
def test_no_body_of_another_form_passes(raw):
    with pytest.raises(ApiError):
        parse(raw, chat=False)


def test_tools_that_may_be_called_are_no_reason_to_refuse():
    assert only(tools=[{"type": "function"}], tool_choice="auto", response_format={"type": "text"}).answer.tokens == 6
