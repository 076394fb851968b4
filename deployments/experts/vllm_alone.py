"""A vLLM engine without a server, driven step by step, on the processor's clock.

The processor's time of one process with one thread is what a request waits for on a CPU, and other programs of the
machine disturb it little. On a GPU the processor waits for results, so the wall's time is taken there.
"""

from __future__ import annotations

import os
import random
import time
from typing import Any, NamedTuple

from deployments.experts.simulation.engine import Sequence
from deployments.experts.simulation.timing import Capacity

__all__ = ["EngineAlone"]

_TOKEN_IDS = range(10, 300)
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "HF_HUB_OFFLINE": "1",
}


class _Step(NamedTuple):
    duration_s: float
    outputs: list[Any]


class EngineAlone:
    """An engine that the same users can be put on as on a simulated one.

    It sets environment variables of vLLM, so make it in a process of its own.

    Args:
        model: a checkpoint's directory.
        device: `cpu` or `gpu`.
        max_sequences: sequences that run at a time.
        max_step_tokens: tokens of one step.
    """

    def __init__(self, model: str, *, device: str, max_sequences: int, max_step_tokens: int) -> None:
        os.environ.update(_ENVIRONMENT)
        from vllm import EngineArgs
        from vllm.v1.engine.llm_engine import LLMEngine

        arguments = EngineArgs(
            model=model,
            max_num_seqs=max_sequences,
            max_num_batched_tokens=max_step_tokens,
            # The simulation shares no prefixes either.
            enable_prefix_caching=False,
            disable_log_stats=True,
            **(
                {"enforce_eager": True, "dtype": "bfloat16", "distributed_executor_backend": "uni"}
                if device == "cpu"
                else {}
            ),
        )
        self._engine = LLMEngine.from_engine_args(arguments)
        cache, longest = self._engine.vllm_config.cache_config, self._engine.model_config.max_model_len
        self.capacity = Capacity(cache.num_gpu_blocks * cache.block_size, longest, max_sequences, max_step_tokens)
        self._clock = time.process_time if device == "cpu" else time.perf_counter
        self._chooser = random.Random(0)
        self._under_way: dict[str, Sequence] = {}
        self._submitted = 0
        self._submitting_s = 0.0

    def submit(self, sequence: Sequence, now_s: float) -> None:
        """Queue a sequence of random tokens; the time that this takes counts for the next step."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        from_s = self._clock()
        sequence.submitted_s = now_s
        self._submitted += 1
        name = str(self._submitted)
        self._under_way[name] = sequence
        prompt = {"prompt_token_ids": self._chooser.choices(_TOKEN_IDS, k=sequence.prompt_tokens)}
        parameters = SamplingParams(
            temperature=0, max_tokens=sequence.output_tokens, ignore_eos=True, output_kind=RequestOutputKind.DELTA
        )
        self._engine.add_request(name, prompt, parameters)
        self._submitting_s += self._clock() - from_s

    def start_step(self) -> _Step | None:
        """Take a step, and measure it."""
        if not self._under_way:
            return None
        from_s = self._clock()
        outputs = self._engine.step()
        duration_s = self._clock() - from_s + self._submitting_s
        self._submitting_s = 0.0
        return _Step(duration_s, outputs)

    def finish_step(self, step: _Step, now_s: float) -> list[Sequence]:
        """Note the times of first and last tokens; returns the sequences that have got their last one."""
        ended = []
        for output in step.outputs:
            sequence = self._under_way[output.request_id]
            if sequence.first_token_s is None:
                sequence.first_token_s = now_s
            if output.finished:
                sequence.finished_s = now_s
                ended.append(self._under_way.pop(output.request_id))
        return ended

    def clear(self) -> None:
        """Forget what is under way."""
        self._engine.abort_request(list(self._under_way))
        self._under_way.clear()
        self._submitting_s = 0.0
