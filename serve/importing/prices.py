"""What tokens cost: list prices of the models in the public sets, and a user's own prices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from routers.errors import DataError, ParameterError
from serve.config import PriceSettings

__all__ = ["LIST_PRICES", "prices_for", "read_prices"]

# What Together charged in 2024 for a model without a price of its own, by the number of parameters.
_UP_TO_4B = (0.10, 0.10)
_UP_TO_8B = (0.20, 0.20)
_UP_TO_21B = (0.30, 0.30)
_UP_TO_41B = (0.80, 0.80)
_UP_TO_80B = (0.90, 0.90)
_UP_TO_110B = (1.80, 1.80)
_MIXTRAL = (0.60, 0.60)
_LLAMA_405B = (3.50, 3.50)
_COMMAND_R = (0.50, 1.50)
_DEEPSEEK_V2 = (0.14, 0.28)
_GEMINI_FLASH = (0.075, 0.30)
_GEMINI_PRO = (1.25, 5.00)
_YI_LARGE = (3.00, 3.00)

_USD_PER_MILLION = {
    # OpenAI
    "chatgpt-4o-latest-24-09-07": (5.00, 15.00),
    "gpt-3.5-turbo-0125": (0.50, 1.50),
    "gpt-4-0314": (30.00, 60.00),
    "gpt-4-1106-preview": (10.00, 30.00),
    "gpt-4-turbo-2024-04-09": (10.00, 30.00),
    "gpt-4o-2024-05-13": (5.00, 15.00),
    "gpt-4o-2024-08-06": (2.50, 10.00),
    "gpt-4o-mini-2024-07-18": (0.15, 0.60),
    "o1-mini-2024-09-12": (3.00, 12.00),
    "o1-preview-2024-09-12": (15.00, 60.00),
    # Anthropic
    "claude-3-haiku-20240307": (0.25, 1.25),
    "claude-3-sonnet-20240229": (3.00, 15.00),
    "claude-3-opus-20240229": (15.00, 75.00),
    "claude-3-5-haiku-20241022": (0.80, 4.00),
    "claude-3-5-sonnet-20240620": (3.00, 15.00),
    "claude-3-5-sonnet-20241022": (3.00, 15.00),
    # Google
    "gemini-1.5-flash": _GEMINI_FLASH,
    "gemini-1.5-flash-002": _GEMINI_FLASH,
    "gemini-1.5-flash-exp-0827": _GEMINI_FLASH,
    "gemini-1.5-pro": _GEMINI_PRO,
    "gemini-1.5-pro-002": _GEMINI_PRO,
    "gemini-1.5-pro-exp-0801": _GEMINI_PRO,
    "gemini-1.5-pro-exp-0827": _GEMINI_PRO,
    # Other makers' own prices
    "DeepSeek-Coder-V2": _DEEPSEEK_V2,
    "deepseek-coder": _DEEPSEEK_V2,
    "deepseek-v2-chat-0628": _DEEPSEEK_V2,
    "deepseek-v2-coder-0724": _DEEPSEEK_V2,
    "deepseek-v2.5-0908": _DEEPSEEK_V2,
    "Mistral-Large-2": (3.00, 9.00),
    "Mistral-Nemo-Instruct-2407": (0.30, 0.30),
    "c4ai-command-r-v01": _COMMAND_R,
    "command-r": _COMMAND_R,
    "command-r-plus": (3.00, 15.00),
    "grok-2-1212": (2.00, 10.00),
    "jamba-1.5-large": (2.00, 8.00),
    "reka-core-20240501": (10.00, 25.00),
    "reka-flash-20240226": (0.80, 2.00),
    "yi-large": _YI_LARGE,
    "yi-large-preview": _YI_LARGE,
    # Open weights, by size
    "Llama-2-7b-hf": _UP_TO_8B,
    "Llama-2-13b-hf": _UP_TO_21B,
    "Llama-2-70b-hf": _UP_TO_80B,
    "Meta-Llama-3-8B": _UP_TO_8B,
    "Meta-Llama-3-8B-Instruct": _UP_TO_8B,
    "Meta-Llama-3-70B": _UP_TO_80B,
    "Meta-Llama-3-70B-Instruct": _UP_TO_80B,
    "Meta-Llama-3.1-8B": _UP_TO_8B,
    "Meta-Llama-3.1-8B-Instruct": _UP_TO_8B,
    "Meta-Llama-3.1-70B": _UP_TO_80B,
    "Meta-Llama-3.1-70B-Instruct": _UP_TO_80B,
    "Llama-3.1-405B-Instruct": _LLAMA_405B,
    "Athene-70B": _UP_TO_80B,
    "Mistral-7B-v0.1": _UP_TO_8B,
    "Mistral-7B-v0.2-hf": _UP_TO_8B,
    "Mistral-7B-Instruct-v0.1": _UP_TO_8B,
    "Mistral-7B-Instruct-v0.2": _UP_TO_8B,
    "mathstral-7B": _UP_TO_8B,
    "Mixtral-8x7B-v0.1": _MIXTRAL,
    "Mixtral-8x7B-Instruct-v0.1": _MIXTRAL,
    "gemma-7b": _UP_TO_8B,
    "gemma-2-2b-it": _UP_TO_4B,
    "gemma-2-9b-it": _UP_TO_21B,
    "gemma-2-27b-it": _UP_TO_41B,
    "Phi-3-mini-4k-instruct": _UP_TO_4B,
    "Phi-3.5-mini-instruct": _UP_TO_4B,
    "Yi-6B": _UP_TO_8B,
    "Yi-6b-Chat": _UP_TO_8B,
    "Yi-34B": _UP_TO_41B,
    "Yi-1.5-9B-Chat": _UP_TO_21B,
    "Yi-1.5-34B-Chat": _UP_TO_41B,
    "Qwen1.5-7B-Chat": _UP_TO_8B,
    "Qwen1.5-72B-Chat": _UP_TO_80B,
    "Qwen1.5-110B": _UP_TO_110B,
    "Qwen2-7B-Instruct": _UP_TO_8B,
    "Qwen2-72B-Instruct": _UP_TO_80B,
    "Qwen2.5-3B-Instruct": _UP_TO_4B,
    "Qwen2.5-7B-Instruct": _UP_TO_8B,
    "Qwen2.5-32B-Instruct": _UP_TO_41B,
    "Qwen2.5-72B-Instruct": _UP_TO_80B,
}

LIST_PRICES: Mapping[str, PriceSettings] = {
    name: PriceSettings(input_per_million=of_input, output_per_million=of_output)
    for name, (of_input, of_output) in _USD_PER_MILLION.items()
}
"""Price of every model of the public sets, in US dollars; docs/data.md says where each comes from."""


def read_prices(path: Path) -> dict[str, PriceSettings]:
    """Read a YAML or JSON file that gives an expert's price as `config.yaml` does.

    It maps the expert's id to `input_per_million` and `output_per_million`.

    Raises:
        ParameterError: the file cannot be read, or is not of this form.
    """
    import yaml

    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
        return TypeAdapter(dict[str, PriceSettings]).validate_python(given)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ParameterError(f"{path} cannot be read as a file of prices (YAML or JSON): {reason}") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise ParameterError(
            f"{path}: {place}: {first['msg']}; give each expert {{input_per_million: …, output_per_million: …}}."
        ) from None


def prices_for(experts: Iterable[str], given: Mapping[str, PriceSettings]) -> dict[str, PriceSettings]:
    """Price of each expert: the one given, else its list price.

    Raises:
        DataError: nobody knows an expert's price.
    """
    known = {**LIST_PRICES, **given}
    names = list(experts)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise DataError(
            f"No price is known for {', '.join(map(repr, unknown))}: give one in a file of --prices, "
            "or a column 'cost' in data of your own."
        )
    return {name: known[name] for name in names}
