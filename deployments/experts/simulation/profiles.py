"""Timing models of real GPUs from their data sheets: assumptions, not measurements.

    python -m deployments.experts.simulation.profiles        prints every model on every GPU that holds it

The formulas, for a dense decoder with P parameters of b bytes on n GPUs (tensor parallel):

    weights_s        P x b / (n x bandwidth x BANDWIDTH_SHARE)
    token_s          2 x P / (n x flops x FLOPS_SHARE), and sending its hidden state in each all-reduce
    context_token_s  bytes of its keys and values / (n x bandwidth x BANDWIDTH_SHARE)
    step_s           STEP_S, and for n > 1 two all-reduces a layer of ALL_REDUCE_S each
    sequence_s       SEQUENCE_S
    kv_tokens        (n x memory x MEMORY_SHARE - P x b) / bytes of keys and values of a token

A token's keys and values are 2 x layers x KV heads x head size x 2 bytes. The shares are guesses of what engines reach
of a data sheet in practice, the times guesses of what the host and the network need. A configuration can override
whatever follows from them; fit them to your own hardware where you have it: `python -m serve.engine_curve`.
"""

from __future__ import annotations

from dataclasses import dataclass

from deployments.experts.simulation.timing import Capacity, Timing
from routers.errors import ParameterError

__all__ = ["GPUS", "MODELS", "GPUSpec", "ModelSpec", "profile"]

BANDWIDTH_SHARE = 0.75
FLOPS_SHARE = 0.5
MEMORY_SHARE = 0.9
STEP_S = 1.5e-3
ALL_REDUCE_S = 12e-6
SEQUENCE_S = 10e-6
_KV_BYTES = 2
_HIDDEN_BYTES = 2


@dataclass(frozen=True, slots=True)
class GPUSpec:
    """A GPU's data sheet.

    Attributes:
        tflops: dense bfloat16 operations a second, in 10^12, without sparsity.
        bandwidth_gb_per_s: of its memory.
        memory_gb: of its memory, in 10^9 bytes.
        link_gb_per_s: to another GPU of the same node, one direction.
    """

    tflops: float
    bandwidth_gb_per_s: float
    memory_gb: float
    link_gb_per_s: float


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A dense decoder's published configuration.

    Attributes:
        parameters_b: parameters in 10^9.
        layers: transformer layers.
        hidden: width of the hidden state.
        kv_heads: heads of keys and values.
        head_size: of one head.
        context_tokens: the longest context.
    """

    parameters_b: float
    layers: int
    hidden: int
    kv_heads: int
    head_size: int
    context_tokens: int

    @property
    def kv_bytes(self) -> int:
        """Bytes of one token's keys and values."""
        return 2 * self.layers * self.kv_heads * self.head_size * _KV_BYTES


GPUS = {
    "l4": GPUSpec(121, 300, 24, 32),
    "a10g": GPUSpec(70, 600, 24, 32),
    "l40s": GPUSpec(362, 864, 48, 32),
    "a100-80gb": GPUSpec(312, 2039, 80, 300),
    "h100": GPUSpec(989, 3350, 80, 450),
    "h200": GPUSpec(989, 4800, 141, 450),
}
"""By the vendor's data sheets (SXM where there is one); L4, A10G and L40S are linked by PCIe 4."""

MODELS = {
    "llama-3.2-1b": ModelSpec(1.24, 16, 2048, 8, 64, 131_072),
    "llama-3.2-3b": ModelSpec(3.21, 28, 3072, 8, 128, 131_072),
    "qwen2.5-7b": ModelSpec(7.62, 28, 3584, 4, 128, 32_768),
    "llama-3.1-8b": ModelSpec(8.03, 32, 4096, 8, 128, 131_072),
    "qwen2.5-32b": ModelSpec(32.8, 64, 5120, 8, 128, 32_768),
    "llama-3.1-70b": ModelSpec(70.6, 80, 8192, 8, 128, 131_072),
}
"""By the configurations that were published with the weights."""


def profile(
    model: ModelSpec, gpu: GPUSpec, *, tensor_parallel: int = 1, weight_bytes: float = 2.0
) -> tuple[Timing, Capacity]:
    """The timing and the capacity that follow from data sheets.

    Args:
        model: the model.
        gpu: the GPU.
        tensor_parallel: GPUs that hold it together.
        weight_bytes: bytes of a parameter: 2 for bfloat16, 1 for FP8, about 0.56 for four bits with their scales.
            Weights of fewer bytes are read faster, but computed with as before.

    Raises:
        ParameterError: the weights do not fit.
    """
    weights = model.parameters_b * 1e9 * weight_bytes
    memory = tensor_parallel * gpu.memory_gb * 1e9 * MEMORY_SHARE
    bandwidth = tensor_parallel * gpu.bandwidth_gb_per_s * 1e9 * BANDWIDTH_SHARE
    kv_tokens = int((memory - weights) / model.kv_bytes)
    if kv_tokens < 1024:
        raise ParameterError(
            f"{weights / 1e9:.0f} GB of weights leave no room for the cache in {memory / 1e9:.0f} GB of memory "
            f"({tensor_parallel} GPUs): raise tensor_parallel, or take a larger GPU or fewer weight_bytes."
        )
    flops = tensor_parallel * gpu.tflops * 1e12 * FLOPS_SHARE
    timing = Timing(
        step_s=STEP_S + (2 * model.layers * ALL_REDUCE_S if tensor_parallel > 1 else 0.0),
        weights_s=weights / bandwidth,
        token_s=2 * model.parameters_b * 1e9 / flops + _sending_s(model, gpu, tensor_parallel),
        sequence_s=SEQUENCE_S,
        context_token_s=model.kv_bytes / bandwidth,
    )
    return timing, Capacity(kv_tokens=kv_tokens, max_model_tokens=min(model.context_tokens, kv_tokens))


def _sending_s(model: ModelSpec, gpu: GPUSpec, tensor_parallel: int) -> float:
    """Seconds to send one token's hidden state in all of a pass's ring all-reduces."""
    sent = 2 * (tensor_parallel - 1) / tensor_parallel * model.hidden * _HIDDEN_BYTES
    return 2 * model.layers * sent / (gpu.link_gb_per_s * 1e9)


def _print_all() -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("model", "GPUs")
    for name in ("weights ms", "token µs", "step ms", "KV tokens", "tokens/s alone", "tokens/s, 64 × 1,000 context"):
        table.add_column(name, justify="right")
    for (model, of_model), (gpu, of_gpu) in ((m, g) for m in MODELS.items() for g in GPUS.items()):
        for count in (1, 2, 4, 8):
            try:
                timing, capacity = profile(of_model, of_gpu, tensor_parallel=count)
            except ParameterError:
                continue
            alone_s = timing.duration_s(decoding=1, prompt_tokens=0, context_tokens=1000, begun=0)
            full_s = timing.duration_s(decoding=64, prompt_tokens=0, context_tokens=64_000, begun=0)
            cells = (1e3 * timing.weights_s, 1e6 * timing.token_s, 1e3 * timing.step_s)
            fits = capacity.kv_tokens >= 64_000
            table.add_row(
                model, f"{count} × {gpu}", *(f"{cell:.2f}" for cell in cells), f"{capacity.kv_tokens:,}",
                f"{1 / alone_s:.0f}", f"{64 / full_s:,.0f}" if fits else "–",
            )  # fmt: skip
            break
    Console(width=120).print(table)


if __name__ == "__main__":
    _print_all()
