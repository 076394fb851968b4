"""How long one step of an engine with continuous batching takes, and how much it can hold."""

from __future__ import annotations

from dataclasses import dataclass

from routers.errors import ParameterError

__all__ = ["Capacity", "Timing"]


@dataclass(frozen=True, slots=True)
class Timing:
    """The time of one step, in which every running sequence gets a token and waiting prompts are read in chunks.

    A roofline over what grows with the batch: reading the weights costs the same for one token and for a hundred, until
    computing them takes longer (Williams et al., Roofline, CACM 2009). A step takes

        step_s + max(weights_s, token_s x tokens) + sequence_s x sequences + context_token_s x context + request_s x new

    where `tokens` are those of the step, one for each decoding sequence and the prompts' chunks.

    Attributes:
        step_s: seconds that every step takes: scheduling, launching kernels, waiting for other GPUs.
        weights_s: seconds to read the weights once; below it more tokens cost nothing.
        token_s: seconds to compute one token, of a prompt or of an answer.
        sequence_s: seconds that each decoding sequence adds: sampling, text, sending.
        context_token_s: seconds to read the keys and values of one token of a decoding sequence's context.
        request_s: seconds that each request adds to the step in which its prompt is begun.
    """

    step_s: float = 0.0
    weights_s: float = 0.0
    token_s: float = 0.0
    sequence_s: float = 0.0
    context_token_s: float = 0.0
    request_s: float = 0.0

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if getattr(self, name) < 0:
                raise ParameterError(f"timing.{name} is {getattr(self, name)}: give seconds, 0 or more.")

    def duration_s(self, *, decoding: int, prompt_tokens: int, context_tokens: int, begun: int) -> float:
        """Seconds of one step.

        Args:
            decoding: sequences that get a token.
            prompt_tokens: tokens of prompts that are read.
            context_tokens: tokens that the decoding sequences look back on, all together.
            begun: requests whose prompt is begun.
        """
        return (
            self.step_s
            + max(self.weights_s, self.token_s * (decoding + prompt_tokens))
            + self.sequence_s * decoding
            + self.context_token_s * context_tokens
            + self.request_s * begun
        )


@dataclass(frozen=True, slots=True)
class Capacity:
    """What an engine can hold; names and defaults are close to vLLM's.

    Attributes:
        kv_tokens: tokens whose keys and values fit into the cache (vLLM: `num_gpu_blocks x block_size`).
        max_model_tokens: the longest prompt with its answer (`max_model_len`).
        max_sequences: sequences that run at a time (`max_num_seqs`).
        max_step_tokens: tokens of one step; longer prompts are read in chunks (`max_num_batched_tokens`).
        max_waiting: sequences that may wait; more are refused with 503. None: any number, as vLLM does.
    """

    kv_tokens: int = 1_000_000
    max_model_tokens: int = 131_072
    max_sequences: int = 256
    max_step_tokens: int = 8192
    max_waiting: int | None = None

    def __post_init__(self) -> None:
        for name in ("kv_tokens", "max_model_tokens", "max_sequences", "max_step_tokens"):
            if getattr(self, name) < 1:
                raise ParameterError(f"capacity.{name} is {getattr(self, name)}: give at least 1.")
        if self.max_waiting is not None and self.max_waiting < 0:
            raise ParameterError(f"capacity.max_waiting is {self.max_waiting}: give 0 or more, or leave it out.")
        if self.max_model_tokens > self.kv_tokens:
            raise ParameterError(
                f"capacity.max_model_tokens ({self.max_model_tokens:,}) is above capacity.kv_tokens "
                f"({self.kv_tokens:,}), so that the longest request could never run: lower it, or raise kv_tokens."
            )
        if self.max_step_tokens < self.max_sequences:
            raise ParameterError(
                f"capacity.max_step_tokens ({self.max_step_tokens:,}) is below capacity.max_sequences "
                f"({self.max_sequences:,}), so that not every running sequence could get a token: raise it."
            )
