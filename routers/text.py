"""What a router reads of a request: one text, and what else the request says by itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["CHARS_PER_TOKEN", "conversation_side", "conversation_text", "estimated_tokens", "prompt_text"]

CHARS_PER_TOKEN = 4
"""Of English text with common tokenizers, where nothing better is known."""

_IMAGES = {"image", "image_url", "input_image"}
_JSON_FORMATS = {"json_object", "json_schema"}


def estimated_tokens(text: str) -> int:
    """Tokens of a text without a tokenizer: its characters divided by `CHARS_PER_TOKEN`, rounded up."""
    return -(-len(text) // CHARS_PER_TOKEN)


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


def conversation_side(body: Mapping[str, Any]) -> dict[str, int | bool]:
    """What a request says beside its text, as side information of a `Prompt`.

    Like the text, it refuses nothing: what is not of OpenAI's form counts as not there.

    Args:
        body: the parsed JSON body of a request for a chat completion, a completion or a response.

    Returns:
        `images`: parts of the conversation that are images; `tools`: tools (or functions) that the model may call;
        `turns`: messages of the user; `characters`: length of what `conversation_text` or `prompt_text` gives;
        `json`: whether the answer has to be JSON (`response_format`, or `text.format` of a response).
    """
    messages = body.get("messages", body.get("input"))
    said = [message for message in messages if isinstance(message, Mapping)] if isinstance(messages, list) else []
    contents = [content for message in said if isinstance(content := message.get("content"), list | tuple)]
    text = conversation_text(said) if said else prompt_text(body.get("prompt", body.get("input")))
    tools = body.get("tools", body.get("functions"))
    return {
        "images": sum(_kind_of(part) in _IMAGES for content in contents for part in content),
        "tools": len(tools) if isinstance(tools, list) else 0,
        "turns": sum(message.get("role") == "user" for message in said) if said else int(bool(text)),
        "characters": len(text),
        "json": _wants_json(body),
    }


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


def _kind_of(part: Any) -> str:
    """The `type` of an object; empty for anything else."""
    kind = part.get("type") if isinstance(part, Mapping) else None
    return kind if isinstance(kind, str) else ""


def _wants_json(body: Mapping[str, Any]) -> bool:
    text = body.get("text")
    formats = (body.get("response_format"), text.get("format") if isinstance(text, Mapping) else None)
    return any(_kind_of(found) in _JSON_FORMATS for found in formats)
