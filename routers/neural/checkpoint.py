"""Transformers from checkpoints, and their saved form: a configuration as JSON and plain tensors.

Weights are only ever read from safetensors, and only the library's own classes are built: code that comes with a
checkpoint is never run, and a configuration that asks for code or kernels from elsewhere is refused or stripped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from routers.errors import ArtifactError, ParameterError

__all__ = [
    "Task",
    "best_device",
    "build_config",
    "build_model",
    "config_fields",
    "load_checkpoint",
    "model_tensors",
    "needed",
    "restore_model",
    "seeded",
    "settle_weights",
]

Task = Literal["encoder", "causal"]
"""Which kind of model: one that classifies a text, or one that predicts the next token."""

_NOT_KEPT = {
    "architectures",
    "dtype",
    "id2label",
    "label2id",
    "problem_type",
    "torch_dtype",
    "transformers_version",
}
_FOREIGN = {"attn_implementation", "auto_map", "experts_implementation", "quantization_config"}
_DROPOUTS = (
    "attention_dropout",
    "attention_probs_dropout_prob",
    "attn_pdrop",
    "classifier_dropout",
    "classifier_dropout_prob",
    "cls_dropout",
    "dropout",
    "embd_pdrop",
    "embedding_dropout",
    "hidden_dropout_prob",
    "mlp_dropout",
    "pooler_dropout",
    "resid_pdrop",
    "seq_classif_dropout",
)
_LARGEST_HALF = 65504.0
_MOST_LAYERS = 1000


def needed() -> tuple[Any, Any]:
    """The modules torch and transformers.

    Raises:
        ParameterError: they are not installed.
    """
    try:
        import torch
        import transformers
    except ImportError:
        raise ParameterError(
            "Reading with a transformer needs torch and transformers: install `pointsman[encoders]`."
        ) from None
    return torch, transformers


def best_device() -> str:
    """The accelerator where there is one, else the CPU."""
    torch, _ = needed()
    return "cuda" if torch.cuda.is_available() else "cpu"


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch inside; leave its random state outside as it was."""
    torch, _ = needed()
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield


def load_checkpoint(source: str, task: Task, n_outputs: int, dropout: float | None) -> tuple[Any, Any]:
    """A model in float32 and its fast tokenizer, from a folder or from the model hub.

    Args:
        source: the folder or the hub's name of a checkpoint with safetensors weights.
        task: the kind of model.
        n_outputs: outputs of an encoder's new classification head.
        dropout: replaces every dropout probability of the configuration; None: as the configuration says.

    Raises:
        ParameterError: it is not there, or is not a checkpoint of a kind that can be used.
    """
    _, transformers = needed()
    try:
        with _quiet():
            config = _source_config(source, task, n_outputs)
            _set_dropout(config, dropout)
            tokenizer = transformers.AutoTokenizer.from_pretrained(source, use_fast=True, trust_remote_code=False)
            if not tokenizer.is_fast:
                raise ValueError("it has no fast tokenizer")
            if config.pad_token_id is None:
                config.pad_token_id = tokenizer.pad_token_id or 0
            model = _source_model(source, config, task)
    except (OSError, ValueError, KeyError, ImportError, ArtifactError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise ParameterError(
            f"The checkpoint {source!r} cannot be used ({reason}): give the folder or the hub's name of a "
            "Hugging Face checkpoint with safetensors weights and a tokenizer.json."
        ) from None
    return model, tokenizer


def config_fields(config: Any) -> dict[str, Any]:
    """What a configuration says, as JSON values that `build_config` takes."""
    stored: dict[str, Any] = json.loads(config.to_json_string(use_diff=False))
    left_out = _FOREIGN | _NOT_KEPT
    return {key: value for key, value in stored.items() if key not in left_out and key[0] != "_"}


def build_config(fields: Mapping[str, Any], task: Task, n_outputs: int) -> Any:
    """A configuration of one of the library's own classes.

    Raises:
        ArtifactError: the type of the model is unknown, or the fields ask for code or kernels from elsewhere or
            are wrong.
    """
    _, transformers = needed()
    foreign = sorted(key for key in fields if key in _FOREIGN or key[:1] == "_")
    if foreign:
        raise ArtifactError(f"The model's configuration has {foreign[0]!r}, which is not allowed: remove it.")
    kind = fields.get("model_type")
    if not isinstance(kind, str) or kind not in _known_types(task):
        raise ArtifactError(f"The model type {kind!r} is not one that reads text here: use another checkpoint.")
    layers = fields.get("num_hidden_layers", 1)
    if not isinstance(layers, int) or not 0 < layers <= _MOST_LAYERS:
        raise ArtifactError(f"A model of {layers!r} layers is not loaded: use one of at most {_MOST_LAYERS}.")
    kept = {key: value for key, value in fields.items() if key not in _NOT_KEPT and key != "model_type"}
    labels = {"num_labels": n_outputs} if task == "encoder" else {}
    try:
        config = transformers.AutoConfig.for_model(kind, **kept, **labels)
    except Exception as error:  # noqa: BLE001 - the classes check their fields each in its own way
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise ArtifactError(
            f"The model's configuration is wrong ({reason}): train and save the router again."
        ) from None
    if getattr(config, "sub_configs", None):
        raise ArtifactError(f"A model of type {kind!r} is made of several: use one that reads text only.")
    return config


def build_model(config: Any, task: Task) -> Any:
    """A model with random weights in float32, of the class that the library has for this configuration.

    Raises:
        ArtifactError: the configuration makes no model.
    """
    torch, _ = needed()
    try:
        with _quiet(), torch.random.fork_rng(devices=[]):
            return _auto_class(task).from_config(config, dtype=torch.float32, trust_remote_code=False)
    except Exception as error:  # noqa: BLE001 - a wrong size shows up anywhere in the model's own code
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise ArtifactError(f"The saved model cannot be built ({reason}): train and save the router again.") from None


def settle_weights(model: Any) -> None:
    """Round the weights to what `model_tensors` saves, so that a saved model predicts the same."""
    torch, _ = needed()
    with torch.no_grad():
        for tensor in model.state_dict(keep_vars=True).values():
            if tensor.is_floating_point() and _fits_half(tensor):
                tensor.copy_(tensor.half())


def model_tensors(model: Any, prefix: str) -> dict[str, NDArray[Any]]:
    """The weights by name, each name after `prefix`; tied weights once.

    Floating-point tensors are float16, which is as exact as bfloat16 training and half as large, or float32 where
    a value would overflow.
    """
    tensors = {}
    for name, first in _names(model).items():
        if name != first:
            continue
        tensor = model.get_parameter_or_buffer(name).detach().cpu()
        if tensor.is_floating_point():
            tensor = tensor.half() if _fits_half(tensor) else tensor.float()
        tensors[prefix + name] = tensor.numpy().copy()
    return tensors


def restore_model(config: Any, task: Task, tensors: Mapping[str, NDArray[Any]], prefix: str) -> Any:
    """The model that `model_tensors` saved, in float32 on the CPU.

    Every tensor is checked against a model without memory first, so that a false configuration cannot ask for more
    memory than the tensors take.

    Raises:
        ArtifactError: a tensor is missing, unknown, or of the wrong type or shape, or not finite.
    """
    torch, _ = needed()
    with torch.device("meta"):
        outline = build_model(config, task)
    names = _names(outline)
    wanted = {prefix + name for name, first in names.items() if name == first}
    there = {name for name in tensors if name.startswith(prefix)}
    for name in sorted(wanted ^ there):
        said = "lacks the tensor" if name in wanted else "has an unknown tensor"
        raise ArtifactError(f"The router file {said} {name!r}: train and save the router again.")
    for name in names:
        if names[name] == name:
            _check_tensor(prefix + name, tensors[prefix + name], outline.get_parameter_or_buffer(name))
    model = build_model(config, task)
    weights = {name: torch.from_numpy(tensors[prefix + first].copy()) for name, first in names.items()}
    model.load_state_dict(weights, strict=True)
    return model


def _source_config(source: str, task: Task, n_outputs: int) -> Any:
    _, transformers = needed()
    stored, _ = transformers.PretrainedConfig.get_config_dict(source)
    if "quantization_config" in stored:
        raise ValueError("its weights are quantised")
    fields = {key: value for key, value in stored.items() if key not in _FOREIGN and key[0] != "_"}
    return build_config(fields, task, n_outputs)


def _source_model(source: str, config: Any, task: Task) -> Any:
    """The checkpoint's model; only an encoder's head may be missing from it or be of another size."""
    torch, _ = needed()
    model, found = _auto_class(task).from_pretrained(
        source,
        config=config,
        use_safetensors=True,
        trust_remote_code=False,
        dtype=torch.float32,
        ignore_mismatched_sizes=task == "encoder",
        output_loading_info=True,
    )
    lacking = {*found["missing_keys"], *(one[0] for one in found["mismatched_keys"])}
    if task == "encoder":
        lacking = {name for name in lacking if name.startswith(f"{model.base_model_prefix}.") and "pooler" not in name}
    if lacking:
        raise ValueError(f"it lacks the weights {sorted(lacking)[0]!r}, or they are of another size")
    return model


def _set_dropout(config: Any, dropout: float | None) -> None:
    """Replace the dropout probabilities that a configuration has; None leaves them."""
    for name in _DROPOUTS:
        if dropout is not None and hasattr(config, name):
            setattr(config, name, dropout)


def _check_tensor(name: str, tensor: NDArray[Any], like: Any) -> None:
    floating = like.is_floating_point()
    allowed = ("float16", "float32") if floating else (str(like.dtype).removeprefix("torch."),)
    if tensor.dtype.name not in allowed or tensor.shape != tuple(like.shape):
        raise ArtifactError(
            f"The tensor {name!r} of the router file is {tensor.dtype}{list(tensor.shape)}, not "
            f"{' or '.join(allowed)}{list(like.shape)}: train and save the router again."
        )
    if floating and not np.isfinite(tensor).all():
        raise ArtifactError(f"The tensor {name!r} of the router file is not finite: train and save the router again.")


def _names(model: Any) -> dict[str, str]:
    """For each tensor of the model the name under which it comes first: tied weights share one."""
    first: dict[int, str] = {}
    state = model.state_dict(keep_vars=True)
    return {name: first.setdefault(id(tensor), name) for name, tensor in state.items()}


def _fits_half(tensor: Any) -> bool:
    return tensor.numel() == 0 or float(tensor.detach().abs().max()) <= _LARGEST_HALF


def _known_types(task: Task) -> Any:
    from transformers.models.auto import modeling_auto

    if task == "encoder":
        return modeling_auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES
    return modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES


def _auto_class(task: Task) -> Any:
    _, transformers = needed()
    if task == "encoder":
        return transformers.AutoModelForSequenceClassification
    return transformers.AutoModelForCausalLM


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the library's notes on untrained heads and its progress bars to itself."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
