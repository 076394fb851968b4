import json
from types import SimpleNamespace

import pytest
from ray.serve.llm.openai_api_models import ChatCompletionRequest, ChatCompletionResponse

from serve.peers.instant_engine import InstantEngine

MESSAGES = [{"role": "user", "content": "What is 3 plus 4?"}]


@pytest.fixture
async def engine():
    engine = InstantEngine(SimpleNamespace(model_id="small"))
    await engine.start()
    await engine.check_health()
    return engine


async def test_a_whole_answer_is_of_the_type_that_the_ingress_takes(engine):
    request = ChatCompletionRequest(model="small", messages=MESSAGES, max_tokens=3)
    (answer,) = [part async for part in engine.chat(request)]
    assert isinstance(answer, ChatCompletionResponse)
    assert answer.choices[0].message.content == "word word word"
    assert (answer.usage.completion_tokens, answer.model) == (3, "small")


async def test_a_stream_is_events_as_text(engine):
    request = ChatCompletionRequest(model="small", messages=MESSAGES, max_tokens=3, stream=True)
    events = [event async for event in engine.chat(request)]
    assert events[-1] == "data: [DONE]\n\n"
    texts = [json.loads(event.removeprefix("data: "))["choices"][0]["delta"]["content"] for event in events[:-1]]
    assert texts == ["", "word", " word", " word"]


async def test_other_requests_are_refused(engine):
    with pytest.raises(NotImplementedError):
        [part async for part in engine.embeddings(None)]
