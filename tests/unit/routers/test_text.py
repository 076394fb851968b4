import pytest

from routers import conversation_text, prompt_text


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
