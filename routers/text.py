"""What a router reads of a request: one text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["conversation_text", "prompt_text"]


def conversation_text(messages: Any) -> str:
    """Text of a conversation in OpenAI's `messages` form.

    The texts of all messages, system instructions and earlier turns included, in order and a blank line
    apart; so a single message gives exactly its text. Of a content that is a list of parts, the text parts
    count, a line each; images, audio and files do not. Whatever has no text is passed over, and nothing is
    refused: whether a request is valid is for the expert to say.
    """
    if not isinstance(messages, Iterable) or isinstance(messages, str | bytes | Mapping):
        return ""
    texts = (_content_text(message.get("content")) for message in messages if isinstance(message, Mapping))
    return "\n\n".join(text for text in texts if text)


def prompt_text(prompt: Any) -> str:
    """Text of the `prompt` of `/v1/completions`: a string, or strings a blank line apart.

    Token ids cannot be read without the expert's tokenizer, so they count as no text.
    """
    if isinstance(prompt, str):
        return prompt
    if not isinstance(prompt, list | tuple):
        return ""
    return "\n\n".join(part for part in prompt if isinstance(part, str) and part)


def _content_text(content: Any) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list | tuple):
        return ""
    texts = (_part_text(part) for part in content)
    return "\n".join(text for text in texts if text)


def _part_text(part: Any) -> str:
    if isinstance(part, str):
        return part
    text = part.get("text") if isinstance(part, Mapping) else None
    return text if isinstance(text, str) else ""
