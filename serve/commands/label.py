"""``pointsman label``: routing data from a running endpoint."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from routers.errors import ParameterError

__all__ = ["label"]


def label(
    prompts: Annotated[Path, typer.Argument(help="JSON lines: prompt_id, prompt, answer, domain, split, metadata.")],
    out: Annotated[Path, typer.Option(help="Parquet file; one that is there is continued.")],
    experts: Annotated[str, typer.Option(help="Experts, or other models of the endpoint, separated by commas.")],
    endpoint: Annotated[str, typer.Option(help="Base URL.")] = "http://127.0.0.1:8000/v1",
    samples: Annotated[int, typer.Option(min=1, help="Answers per prompt and expert.")] = 10,
    temperature: Annotated[float, typer.Option(min=0.0)] = 0.7,
    max_tokens: Annotated[int, typer.Option(min=1, help="The longest answer.")] = 64,
    grader: Annotated[str, typer.Option(help="exact: the answer itself; contains: the answer somewhere.")] = "exact",
    concurrency: Annotated[int, typer.Option(min=1, help="Requests under way at a time.")] = 32,
    api_key: Annotated[str, typer.Option(envvar="OPENAI_API_KEY", help="The endpoint's key.")] = "none",
) -> None:
    """Ask every expert every prompt, grade the answers, and write routing data; interrupted, go on where it was."""
    from serve.labelling import GRADERS, AskSettings, Journal, read_prompts
    from serve.labelling import label as label_all

    if grader not in GRADERS:
        raise ParameterError(f"There is no grader {grader!r}: use one of {', '.join(GRADERS)}.")
    models = [name.strip() for name in experts.split(",") if name.strip()]
    exam = read_prompts(prompts)
    out.parent.mkdir(parents=True, exist_ok=True)
    settings = AskSettings(
        endpoint,
        api_key,
        samples=samples,
        temperature=temperature,
        max_tokens=max_tokens,
        concurrency=concurrency,
    )
    journal = Journal(out)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("Asking", total=len(exam) * len(models))
        try:
            asyncio.run(label_all(exam, models, settings, GRADERS[grader], journal, lambda: progress.advance(task)))
        except BaseExceptionGroup as group:
            raise ParameterError(
                f"The endpoint stopped answering ({group.exceptions[0]}): start the command again to go on."
            ) from group
    data = journal.close()
    Console(stderr=True).print(f"{out}: {len(data)} answers to {len(data.texts)} prompts.")
