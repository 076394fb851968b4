"""Everything that a user can set in ``config.yaml``, checked before anything starts. Unknown keys are refused."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from deployments.experts.simulation.profiles import GPUS, MODELS, GPUSpec, ModelSpec, profile
from deployments.experts.simulation.timing import Capacity, Timing
from routers import Policy

__all__ = [
    "ExpertSettings",
    "LimitSettings",
    "PointsmanSettings",
    "PriceSettings",
    "ProfileSettings",
    "RecordedSettings",
    "RouteSettings",
    "SimulatedSettings",
    "VLLMSettings",
]

RESERVED_CHARACTERS = "@/"


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PriceSettings(_Settings):
    """What an expert's tokens cost, in the user's currency per million tokens."""

    input_per_million: float = Field(ge=0)
    output_per_million: float = Field(ge=0)


class ExpertSettings(_Settings):
    """One expert. Without a ``url`` it is the Serve application at ``/experts/<id>``."""

    price: PriceSettings
    url: str | None = Field(None, description="Base URL of an OpenAI-compatible endpoint, ending in /v1.")
    model: str | None = Field(None, description="What the endpoint calls the model, if not the expert's id.")
    api_key_env: str | None = Field(None, description="Environment variable that holds the endpoint's key.")
    probe: bool = Field(
        True, description="Whether /health waits for this expert; false where it may sleep at zero replicas."
    )

    @field_validator("url")
    @classmethod
    def _url_is_http(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("http://", "https://")):
            raise ValueError("url must start with http:// or https://, and usually ends in /v1")
        return None if url is None else url.rstrip("/")

    @model_validator(mode="after")
    def _key_needs_url(self) -> Self:
        if self.url is None and (self.api_key_env or self.model):
            raise ValueError("api_key_env and model belong to an expert with a url: give the url, or remove them")
        return self

    def api_key(self) -> str | None:
        """The endpoint's key.

        Raises:
            ValueError: the environment variable is not set.
        """
        if self.api_key_env is None:
            return None
        key = os.environ.get(self.api_key_env)
        if not key:
            raise ValueError(
                f"the environment variable {self.api_key_env} is not set: export it, or remove api_key_env"
            )
        return key


class RouteSettings(_Settings):
    """A route: a router's artifact, and the policy that turns its scores into a choice."""

    router: str = Field(description="Directory of a trained router, relative to where `serve run` starts.")
    policy: Policy = Field(default_factory=Policy)


class LimitSettings(_Settings):
    """Bounds on one Router replica's work."""

    request_timeout_s: float = Field(600.0, gt=0)
    connect_timeout_s: float = Field(5.0, gt=0)
    max_body_bytes: int = Field(32 * 1024 * 1024, gt=0)
    max_open_requests: int = Field(4096, gt=0)
    decision_timeout_s: float = Field(1.0, gt=0)


class PointsmanSettings(_Settings):
    """The ``args`` of ``serve.app:build``."""

    experts: dict[str, ExpertSettings] = Field(min_length=1)
    routes: dict[str, RouteSettings] = Field(default_factory=dict)
    default_route: str | None = None
    limits: LimitSettings = Field(default_factory=LimitSettings)
    serve_url: str | None = Field(
        None, description="Where Routers reach Serve's own HTTP proxy; found out by itself where not given."
    )

    @field_validator("experts", "routes")
    @classmethod
    def _names_are_usable(cls, named: dict[str, Any]) -> dict[str, Any]:
        for name in named:
            if not name or any(character in name for character in RESERVED_CHARACTERS):
                raise ValueError(f"{name!r} cannot be a name: leave out {' and '.join(RESERVED_CHARACTERS)}")
        return named

    @model_validator(mode="after")
    def _names_are_consistent(self) -> Self:
        both = set(self.experts) & set(self.routes)
        if both:
            raise ValueError(f"{both.pop()!r} is both a route and an expert: rename one of them")
        if self.default_route is not None and self.default_route not in self.routes:
            raise ValueError(
                f"default_route {self.default_route!r} is not one of the routes: "
                f"use one of {', '.join(self.routes) or '(none are configured)'}"
            )
        return self


class VLLMSettings(BaseModel):
    """The ``args`` of ``serve.app:vllm``. Beside these, every key of ``ray.serve.llm.LLMConfig`` can be given."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    model: str = Field(description="A checkpoint's directory, or the name of a model on the Hugging Face hub.")
    id: str | None = Field(None, description="The expert's id, if not the name of its Serve application.")
    device: Literal["gpu", "cpu"] = "gpu"
    engine_kwargs: dict[str, Any] = Field(default_factory=dict, description="Arguments of the vLLM engine.")
    deployment_config: dict[str, Any] = Field(default_factory=dict, description="Ray Serve's deployment options.")

    @field_validator("model")
    @classmethod
    def _model_can_be_found(cls, model: str) -> str:
        if model.startswith("~"):
            model = str(Path(model).expanduser())
        looks_like_a_path = model.startswith((".", "/")) or model.count("/") > 1
        if looks_like_a_path and not Path(model).is_dir():
            raise ValueError(
                f"there is no directory {model!r} (relative paths start at {Path.cwd()}): "
                "give a checkpoint's directory or the name of a model on the hub"
            )
        return model

    @property
    def llm_config_keys(self) -> dict[str, Any]:
        """The keys that go to ``LLMConfig`` as they are."""
        return dict(self.model_extra or {})


class RecordedSettings(_Settings):
    """Recorded answers for a simulated expert."""

    file: Path = Field(description="Routing data with responses, JSON lines, or ZeroEval's responses_<model>.jsonl.")
    expert: str | None = Field(None, description="Whose answers to take, where the file has those of several.")


class ProfileSettings(_Settings):
    """A timing model from data sheets: docs/simulation.md lists models and GPUs."""

    model: str | ModelSpec = Field(description="A known model, or its dimensions.")
    gpu: str | GPUSpec = Field(description="A known GPU, or its data sheet.")
    tensor_parallel: int = Field(1, ge=1, description="GPUs that hold the model together.")
    weight_bytes: float = Field(2.0, gt=0, description="Bytes of a parameter.")

    @field_validator("model", "gpu")
    @classmethod
    def _is_known(cls, given: Any, info: ValidationInfo) -> Any:
        known: Mapping[str, Any] = MODELS if info.field_name == "model" else GPUS
        if isinstance(given, str) and given not in known:
            raise ValueError(f"there is no {given!r}: use one of {', '.join(known)}, or give its figures")
        return known[given] if isinstance(given, str) else given


class SimulatedSettings(_Settings):
    """The ``args`` of ``serve.app:simulated``: what a pretended expert says, how long it takes, how much it holds."""

    answer: str = Field("simulated answer to: {prompt}", description="Template; {prompt} is the last message.")
    recorded: RecordedSettings | None = Field(None, description="Recorded answers instead of the template.")
    profile: ProfileSettings | None = Field(
        None, description="Where timing and capacity come from; else no time at all."
    )
    timing: dict[str, float] = Field(default_factory=dict, description="Seconds that replace those of the profile.")
    capacity: dict[str, int | None] = Field(default_factory=dict, description="Limits that replace the profile's.")
    stream_interval: int = Field(1, ge=1, description="Tokens of a stream that are sent together.")

    @model_validator(mode="after")
    def _model_is_possible(self) -> Self:
        for name, given, of in (("timing", self.timing, Timing), ("capacity", self.capacity, Capacity)):
            known = [field.name for field in fields(of)]
            unknown = [key for key in given if key not in known]
            if unknown:
                raise ValueError(f"{name}.{unknown[0]} is unknown: use {', '.join(known)}")
        self.engine()
        return self

    def engine(self) -> tuple[Timing, Capacity]:
        """The timing and the capacity that follow.

        Raises:
            ParameterError: a value is out of its range, or the weights do not fit.
        """
        timing, capacity = Timing(), Capacity()
        if self.profile is not None:
            settings = self.profile
            assert isinstance(settings.model, ModelSpec)  # noqa: S101 (the validator has looked names up)
            assert isinstance(settings.gpu, GPUSpec)  # noqa: S101
            timing, capacity = profile(
                settings.model,
                settings.gpu,
                tensor_parallel=settings.tensor_parallel,
                weight_bytes=settings.weight_bytes,
            )
        return replace(timing, **self.timing), replace(capacity, **self.capacity)  # type: ignore[arg-type]
