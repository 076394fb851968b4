import pytest

from routers import Prompt, conversation_side, conversation_text, prompt_text


def test_one_message_gives_exactly_its_text() -> None:
    assert conversation_text([{"role": "user", "content": " What is 2 + 2?\n"}]) == " What is 2 + 2?\n"


def test_all_messages_count_in_order() -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "user", "content": "Why?"},
    ]
    assert conversation_text(messages) == "Be brief.\n\nHi\n\nWhy?"


def test_text_parts_count_and_images_do_not() -> None:
    parts = [
        {"type": "text", "text": "Look:"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "text", "text": "what is it?"},
        "bare",
        None,
        {"type": "text", "text": 3},
    ]
    assert conversation_text([{"role": "user", "content": parts}]) == "Look:\nwhat is it?\nbare"


@pytest.mark.parametrize("messages", [None, "text", b"x", 3, {}, [], [None], [{}], [{"content": 7}], [["a"]]])
def test_what_has_no_text_gives_none(messages: object) -> None:
    assert conversation_text(messages) == ""


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("a", "a"),
        (["a", "b"], "a\n\nb"),
        ([1, 2, 3], ""),
        ([[1, 2], [3]], ""),
        (["a", 1, ""], "a"),
        (None, ""),
    ],
)
def test_completion_prompts(prompt: object, text: str) -> None:
    assert prompt_text(prompt) == text


def test_a_chat_request_says_what_is_in_it() -> None:
    body = {
        "model": "auto",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello"},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Compare"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                    {"type": "image_url", "image_url": {"url": "https://example.com/b.png"}},
                    {"type": "input_audio", "input_audio": {"data": "AAAA"}},
                ],
            },
        ],
        "tools": [{"type": "function", "function": {"name": "look_up"}}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": {}}},
    }
    text = "Be brief.\n\nHi\n\nHello\n\nCompare"
    side = conversation_side(body)
    assert side == {"images": 2, "tools": 1, "turns": 2, "characters": len(text), "json": True}
    assert Prompt(conversation_text(body["messages"]), side).side == side


def test_a_response_request_says_what_is_in_it() -> None:
    parts = [{"type": "input_text", "text": "What is it?"}, {"type": "input_image", "image_url": "data:,"}]
    body = {"input": [{"role": "user", "content": parts}], "text": {"format": {"type": "json_object"}}}
    assert conversation_side(body) == {"images": 1, "tools": 0, "turns": 1, "characters": 11, "json": True}
    body = {"input": "What is it?", "text": {"format": {"type": "text"}}}
    assert conversation_side(body) == {"images": 0, "tools": 0, "turns": 1, "characters": 11, "json": False}


def test_a_completion_request_says_what_is_in_it() -> None:
    body = {"prompt": ["ab", "c"], "functions": [{}, {}]}
    assert conversation_side(body) == {"images": 0, "tools": 2, "turns": 1, "characters": 5, "json": False}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"messages": None, "tools": "x", "response_format": "json_object", "text": []},
        {"messages": [], "tools": None, "response_format": {"type": ["json_object"]}},
        {"messages": [None, 3, "x"], "response_format": {}},
        {"messages": [{"content": [None, 3, [], {"type": 7}, {"type": ""}]}]},
        {"messages": {"role": "user"}},
        {"input": [1, 2, 3]},
        {"prompt": 3},
    ],
)
def test_what_is_not_of_the_form_counts_as_not_there(body: dict[str, object]) -> None:
    assert conversation_side(body) == {"images": 0, "tools": 0, "turns": 0, "characters": 0, "json": False}
