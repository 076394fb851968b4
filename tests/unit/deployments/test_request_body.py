from typing import Any

import orjson
import pytest

from deployments.asgi import Request
from deployments.openai import ApiError
from deployments.request_body import named_expert, read_body

CHAT = "/v1/chat/completions"


def request(body: Any, *, query: bytes = b"", headers: dict[str, str] | None = None) -> Request:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return Request("POST", CHAT, query, headers or {}, raw)


async def test_only_model_is_rewritten_and_routing_removed() -> None:
    fields = {
        "model": "auto",
        "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:x"}}]}],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
        "response_format": {"type": "json_object"},
        "seed": 2**53 + 1,
        "routing": {"threshold": 0.1},
        "unheard_of": None,
    }
    body = await read_body(request(fields))
    sent = orjson.loads(await body.encoded("small"))
    assert sent == {**{k: v for k, v in fields.items() if k != "routing"}, "model": "small"}


async def test_a_large_body_survives_the_way_through_a_thread() -> None:
    fields = {"model": "auto", "messages": [{"role": "user", "content": "x" * 400_000}]}
    body = await read_body(request(fields))
    assert orjson.loads(await body.encoded("b"))["messages"] == fields["messages"]


@pytest.mark.parametrize("raw", [b"", b"{", b"[1]", b'"text"', b'{"model": 5}', b"\xff\xfe"])
async def test_broken_bodies_are_refused(raw: bytes) -> None:
    with pytest.raises(ApiError) as caught:
        await read_body(request(raw))
    assert caught.value.status == 400


@pytest.mark.parametrize("messages", [None, [], "hi", [1], [{"content": "no role"}], {}])
async def test_messages_must_be_messages(messages: Any) -> None:
    body = await read_body(request({"model": "auto", "messages": messages}))
    with pytest.raises(ApiError) as caught:
        body.text(CHAT)
    assert caught.value.status == 400
    assert caught.value.param is not None
    assert caught.value.param.startswith("messages")


@pytest.mark.parametrize(
    ("path", "fields", "text"),
    [
        (CHAT, {"messages": [{"role": "user", "content": "hello"}]}, "hello"),
        ("/v1/completions", {"prompt": "once"}, "once"),
        ("/v1/completions", {"prompt": [1, 2, 3]}, ""),
        ("/v1/responses", {"input": "ask"}, "ask"),
        ("/v1/responses", {"input": [{"role": "user", "content": "ask"}]}, "ask"),
        ("/v1/embeddings", {"input": ["a", "b"]}, "a\n\nb"),
        ("/v1/route", {"messages": [{"role": "user", "content": "hello"}]}, "hello"),
    ],
)
async def test_text_that_the_router_reads(path: str, fields: dict[str, Any], text: str) -> None:
    assert (await read_body(request(fields))).text(path) == text


async def test_what_the_body_says_beside_its_text() -> None:
    parts = [{"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": "data:x"}}]
    body = await read_body(request({"messages": [{"role": "user", "content": parts}], "tools": [{}, {}]}))
    said = body.side()
    assert (said["images"], said["tools"], said["turns"]) == (1, 2, 1)


async def test_completions_need_a_prompt() -> None:
    body = await read_body(request({"model": "auto"}))
    with pytest.raises(ApiError, match="prompt is missing"):
        body.text("/v1/completions")


def test_expert_named_without_json() -> None:
    form = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nlarge\r\n--b--\r\n'
    typed = b'--b\r\nContent-Disposition: form-data; name="model"\r\nContent-Type: text/plain\r\n\r\nlarge\r\n--b--\r\n'
    multipart = {"content-type": "multipart/form-data; boundary=b"}
    assert named_expert(request(form, headers=multipart)) == "large"
    assert named_expert(request(typed, headers=multipart)) == "large"
    assert named_expert(request(b"", query=b"model=small")) == "small"
    assert named_expert(request(b"", headers={"x-pointsman-expert": "small"})) == "small"
    assert named_expert(request(b"")) is None
