"""The demo with real vLLM engines, asked by the `openai` client as any user would."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import openai
import pytest
from tokenizers import Tokenizer

from tests.conftest import ROOT, Endpoint

METRICS_EXPORT_S = 15.0
EASY = [{"role": "user", "content": "calculate 2 plus 3"}]
CHOICE_SCHEMA = {
    "type": "object",
    "properties": {"answer": {"enum": ["yes", "no"]}},
    "required": ["answer"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def client(endpoint: Endpoint) -> openai.OpenAI:
    return endpoint.client()


def chat(client: openai.OpenAI, **options: Any) -> Any:
    return client.chat.completions.create(**{"model": "auto", "messages": EASY, "max_tokens": 8, **options})


def test_a_real_model_answers_through_the_route(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="auto",
        messages=EASY,  # type: ignore[arg-type]
        temperature=0,
    )
    answer = raw.parse()
    assert answer.choices[0].message.content == "5"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.prompt_tokens > 0
    assert answer.usage.completion_tokens > 0
    assert raw.headers["x-pointsman-route"] == "auto"
    assert raw.headers["x-pointsman-expert"] == answer.model


def test_chat_streams_with_usage(client: openai.OpenAI) -> None:
    stream = chat(client, stream=True, temperature=0, stream_options={"include_usage": True})
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "5"
    assert chunks[-1].usage.completion_tokens > 0
    assert {chunk.model for chunk in chunks} <= {"small", "large"}


@pytest.mark.parametrize("stream", [False, True])
def test_completions(client: openai.OpenAI, stream: bool) -> None:
    answer = client.completions.create(model="large", prompt="calculate", max_tokens=4, stream=stream)
    if not stream:
        assert answer.choices[0].finish_reason in ("length", "stop")
        assert answer.usage.completion_tokens <= 4
        return
    chunks = list(answer)
    assert chunks[-1].choices[0].finish_reason in ("length", "stop")


def test_n_and_logprobs(client: openai.OpenAI) -> None:
    answer = chat(client, model="small", n=3, logprobs=True, top_logprobs=2, temperature=0.7)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    for choice in answer.choices:
        assert all(token.logprob <= 0 for token in choice.logprobs.content)
        assert all(len(token.top_logprobs) >= 2 for token in choice.logprobs.content)


def test_stop(client: openai.OpenAI) -> None:
    prompt = [{"role": "user", "content": "calculate 12 plus 7"}]
    whole = chat(client, model="large", messages=prompt, temperature=0).choices[0].message.content
    cut = chat(client, model="large", messages=prompt, temperature=0, stop=[whole[-1]]).choices[0]
    assert cut.message.content == whole[: whole.index(whole[-1])]
    assert cut.finish_reason == "stop"


def test_response_format_with_a_json_schema(client: openai.OpenAI) -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "choice", "schema": CHOICE_SCHEMA, "strict": True}}
    answer = chat(client, response_format=schema, max_tokens=64)
    assert json.loads(answer.choices[0].message.content)["answer"] in ("yes", "no")


def test_tools_pass_through(client: openai.OpenAI) -> None:
    tool = {"type": "function", "function": {"name": "choose", "parameters": CHOICE_SCHEMA}}
    forced = {"type": "function", "function": {"name": "choose"}}
    # The demo's models never saw JSON, and would fill it with blanks for ever.
    tokenizer = Tokenizer.from_file(str(ROOT / "demo" / "experts" / "small" / "tokenizer.json"))
    blanks = {str(i): -100 for i in range(tokenizer.get_vocab_size()) if not tokenizer.decode([i]).strip()}
    answer = chat(client, tools=[tool], tool_choice=forced, max_tokens=160, logit_bias=blanks)
    call = answer.choices[0].message.tool_calls[0]
    assert call.function.name == "choose"
    assert json.loads(call.function.arguments)["answer"] in ("yes", "no")
    assert chat(client, tools=[tool]).choices[0].finish_reason in ("stop", "length", "tool_calls")


def test_a_conversation_with_system_and_parts(client: openai.OpenAI) -> None:
    messages = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "calculate 2 plus 3"}]},
        {"role": "assistant", "content": "5"},
        {"role": "user", "content": "calculate 4 plus 4"},
    ]
    assert chat(client, messages=messages).choices[0].message.content is not None


def test_unknown_model(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        chat(client, model="gpt-5")
    assert caught.value.code == "model_not_found"


def test_empty_messages_and_broken_json(client: openai.OpenAI, endpoint: Endpoint) -> None:
    with pytest.raises(openai.BadRequestError):
        chat(client, messages=[])
    response = httpx.post(f"{endpoint.url}/v1/chat/completions", content=b'{"model": "auto", ')
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "invalid_json"


def test_an_over_long_prompt_is_the_engines_own_error(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="maximum context length"):
        chat(client, messages=[{"role": "user", "content": "calculate 1 plus 1 " * 600}])


def test_responses_are_routed_too(endpoint: Endpoint) -> None:
    response = httpx.post(f"{endpoint.url}/v1/responses", json={"model": "auto", "input": "calculate 2 plus 3"})
    assert response.status_code == 200, response.text
    assert response.json()["model"] in ("small", "large")


def test_a_client_that_leaves_mid_stream_frees_the_engine(client: openai.OpenAI, endpoint: Endpoint) -> None:
    answers, tokens = 32, 450
    before = generated_tokens(endpoint)
    options = {"n": answers, "max_tokens": tokens, "stream": True, "extra_body": {"ignore_eos": True}}
    stream = chat(client, model="large", **options)
    next(iter(stream))
    stream.close()
    # Had the engine gone on, it would have made all of them within the time that is waited for here.
    started_s = time.monotonic()
    whole = chat(client, model="large", n=answers, max_tokens=tokens, extra_body={"ignore_eos": True})
    assert whole.usage.completion_tokens == answers * tokens
    time.sleep(max(METRICS_EXPORT_S, time.monotonic() - started_s))
    made = generated_tokens(endpoint) - before
    assert answers * tokens <= made < 1.6 * answers * tokens


def generated_tokens(endpoint: Endpoint) -> float:
    """Tokens that all engines have made since they started, from Ray's metrics."""
    lines = httpx.get(endpoint.metrics_url).text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("ray_vllm_generation_tokens"))
