"""Everything that a user can set in ``config.yaml``, checked before anything starts. Unknown keys are refused."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from deployments.experts.simulation.profiles import GPUS, MODELS, GPUSpec, ModelSpec, profile
from deployments.experts.simulation.timing import Capacity, Timing
from routers import Policy

__all__ = [
    "ArmSettings",
    "BlendSettings",
    "ExpertSettings",
    "LimitSettings",
    "PointsmanSettings",
    "PriceSettings",
    "ProfileSettings",
    "RecordedSettings",
    "RouteSettings",
    "SelfVerifySettings",
    "SimulatedSettings",
    "VLLMSettings",
]

RESERVED_CHARACTERS = "@/"
ROUTE_KINDS = ("router", "cascade", "self_verify", "blend")
VERIFY_PROMPT = """Question:
{question}

Proposed answer:
{answer}

Is the proposed answer correct? Reply with one word, Correct or Incorrect."""
FUSE_PROMPT = """Several assistants answered the request above:

{answers}

Write the best answer to it, taking what is right from theirs. Reply with that answer alone."""


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


class SelfVerifySettings(_Settings):
    """A cascade in which every expert but the last says itself whether its answer is right (AutoMix)."""

    experts: tuple[str, ...] = Field(min_length=2, description="In the order in which they are asked.")
    samples: int = Field(8, ge=1, le=64, description="How often an expert is asked whether its answer is right.")
    threshold: float = Field(0.5, ge=0, le=1, description="Least share of the replies that must say so.")
    prompt: str = Field(VERIFY_PROMPT, description="What it is asked; {question} and {answer} are replaced.")
    accept: str = Field(
        r"(?i)^\W*correct\b", description="Regular expression of a reply that says so; {answer} is replaced."
    )
    temperature: float = Field(1.0, ge=0)
    max_tokens: int = Field(16, ge=1)

    @model_validator(mode="after")
    def _answer_is_looked_at(self) -> Self:
        if "{answer}" not in self.prompt + self.accept:
            raise ValueError("prompt (or accept, to ask again and compare) must hold {answer}")
        return self

    @field_validator("accept")
    @classmethod
    def _accept_is_a_pattern(cls, accept: str) -> str:
        try:
            re.compile(accept.replace("{answer}", "answer"))
        except re.error as error:
            raise ValueError(f"accept is no regular expression ({error})") from None
        return accept


class BlendSettings(_Settings):
    """An ensemble: several experts answer at once, a ranker keeps the best, and a fuser may make one of the best."""

    ranker: str = Field(description="Directory of a trained pair ranker or answer scorer.")
    experts: tuple[str, ...] = Field(min_length=2, description="Who is asked; the first wins where nobody can rank.")
    router: str | None = Field(None, description="Directory of a trained router that chooses among the experts.")
    members: int | None = Field(None, ge=2, description="How many experts the router chooses.")
    member_timeout_s: float = Field(30.0, gt=0, description="How long to wait for slow members.")
    fuser: str | None = Field(None, description="Expert that writes the final answer from the best ones.")
    top_k: int = Field(3, ge=2, description="How many answers the fuser is shown.")
    fuse_prompt: str = Field(FUSE_PROMPT, description="What the fuser is told; {answers} is replaced.")

    @model_validator(mode="after")
    def _router_and_members_go_together(self) -> Self:
        if (self.router is None) != (self.members is None):
            raise ValueError("router and members go together: give both, or neither to ask all experts")
        return self


class RouteSettings(_Settings):
    """A route: a trained router with a policy, or a plan that asks several experts."""

    router: str | None = Field(None, description="Directory of a trained router, relative to where Serve starts.")
    light: str | None = Field(None, description="A quick router that decides while a slow one is not heard.")
    cascade: str | None = Field(None, description="Directory of a trained cascade (`pointsman train frugal`).")
    self_verify: SelfVerifySettings | None = None
    blend: BlendSettings | None = None
    policy: Policy = Field(default_factory=Policy)

    @model_validator(mode="after")
    def _is_one_kind(self) -> Self:
        kinds = [kind for kind in ROUTE_KINDS if getattr(self, kind) is not None]
        if len(kinds) != 1:
            given = " and ".join(kinds) or "none of them"
            raise ValueError(f"a route has one of {', '.join(ROUTE_KINDS)}, but this one has {given}")
        if self.light is not None and self.router is None:
            raise ValueError("light belongs to a route with a router: remove it")
        return self


class ArmSettings(_Settings):
    """Best of n: several answers of one expert, of which a ranker keeps the best. Routers choose arms like experts."""

    expert: str
    n: int = Field(ge=2, le=64, description="How many answers are asked for.")
    ranker: str = Field(description="Directory of a trained pair ranker or answer scorer.")


class LimitSettings(_Settings):
    """Bounds on one Router replica's work."""

    request_timeout_s: float = Field(600.0, gt=0)
    connect_timeout_s: float = Field(5.0, gt=0)
    max_body_bytes: int = Field(32 * 1024 * 1024, gt=0)
    max_open_requests: int = Field(4096, gt=0)
    decision_timeout_s: float = Field(1.0, gt=0)
    max_attempts: int = Field(3, ge=1)
    breaker_failures: int = Field(5, ge=0)
    breaker_cooldown_s: float = Field(10.0, gt=0)


class PointsmanSettings(_Settings):
    """The ``args`` of ``serve.app:build``."""

    experts: dict[str, ExpertSettings] = Field(min_length=1)
    routes: dict[str, RouteSettings] = Field(default_factory=dict)
    arms: dict[str, ArmSettings] = Field(default_factory=dict)
    default_route: str | None = None
    limits: LimitSettings = Field(default_factory=LimitSettings)
    serve_url: str | None = Field(
        None, description="Where Routers reach Serve's own HTTP proxy; found out by itself where not given."
    )

    @field_validator("experts", "routes", "arms")
    @classmethod
    def _names_are_usable(cls, named: dict[str, Any]) -> dict[str, Any]:
        for name in named:
            if not name or any(character in name for character in RESERVED_CHARACTERS):
                raise ValueError(f"{name!r} cannot be a name: leave out {' and '.join(RESERVED_CHARACTERS)}")
        return named

    @model_validator(mode="after")
    def _names_are_consistent(self) -> Self:
        kinds: dict[str, dict[str, Any]] = {"a route": self.routes, "an arm": self.arms, "an expert": self.experts}
        for (one, names), (other, others) in itertools.combinations(kinds.items(), 2):
            for name in names.keys() & others.keys():
                raise ValueError(f"{name!r} is both {one} and {other}: rename one of them")
        for name, arm in self.arms.items():
            if arm.expert not in self.experts:
                known = ", ".join(self.experts)
                raise ValueError(f"the arm {name!r} asks {arm.expert!r}, which is not an expert: use one of {known}")
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
