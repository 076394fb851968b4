"""What ``pointsman train`` and ``pointsman evaluate`` share of arms: several answers asked for at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from routers import AnswerJudge, ParameterError, RoutingData, load_judge
from routers.answers import parse_arms, with_arms

__all__ = ["ArmOption", "BlendOption", "DrawsOption", "RankerOption", "data_with_arms", "ranker_for"]

ArmOption = Annotated[
    list[str] | None,
    typer.Option(
        help="Take best-of-n or a blend for a further expert, as name=expert:4 or name=expert,expert: derived from the "
        "recorded answers, --ranker picking among them; may be repeated."
    ),
]
BlendOption = Annotated[
    list[str] | None,
    typer.Option(help="Also judge a plan that asks for all of these and gives what --ranker picks; as --arm."),
]
DrawsOption = Annotated[int, typer.Option(min=1, help="Most draws of recorded samples for each prompt and arm.")]
RankerOption = Annotated[
    Path | None, typer.Option(help="Directory of the judge that picks among several answers, such as a pair-ranker.")
]


def ranker_for(asked: Sequence[str], ranker: Path | None) -> AnswerJudge | None:
    """The judge that picks among the answers of what is asked for; None where nothing is.

    Raises:
        ParameterError: one is needed and not given, or given and not needed.
        ArtifactError: it cannot be loaded.
    """
    if bool(asked) != (ranker is not None):
        raise ParameterError(
            "Arms and blends need a judge that picks among their answers: name it with --ranker."
            if asked
            else "--ranker picks among the answers of arms and blends: name one, or leave it out."
        )
    return None if ranker is None else load_judge(ranker)


def data_with_arms(
    path: str | Path,
    arms: list[str] | None,
    judge: AnswerJudge | None,
    draws: int,
    experts: str | None,
    report: Callable[[str, float], None],
) -> RoutingData:
    """Data of a file with the arms as further experts, and then only the named experts, separated by commas."""
    data = RoutingData.read(path)
    if arms and judge is not None:
        data = with_arms(data, parse_arms(arms), judge, draws=draws, progress=report)
    return data if experts is None else data.select(expert.strip() for expert in experts.split(","))
