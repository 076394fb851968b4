"""The exam's results: every expert answers the same held-out prompts, and the answers are graded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table
from transformers import AutoTokenizer

from demo.exam import sample_exam
from demo.export import load_expert
from demo.families import FAMILIES, Task
from demo.sampling import sample_answers

__all__ = ["grade", "print_table", "run_exam", "summarise"]

_ORDER = [family.name for family in FAMILIES]

Summary = dict[str, dict[str, dict[str, float]]]


Qualities = dict[str, NDArray[np.float64]]


def grade(folder: Path, tasks: Sequence[Task], samples: int, temperature: float, seed: int) -> NDArray[np.float64]:
    """Return the share of right answers, (tasks,), that the checkpoint in `folder` gives in `samples` tries.

    An answer is right if it is the accepted one but for surrounding white space.
    """
    model, tokenizer = load_expert(folder), AutoTokenizer.from_pretrained(folder)
    prompts = [task.prompt for task in tasks]
    answers = sample_answers(model, tokenizer, prompts, samples, temperature, seed)
    right = [[text.strip() == task.answer for text in texts] for task, texts in zip(tasks, answers, strict=True)]
    shares: NDArray[np.float64] = np.asarray(right, dtype=np.float64).mean(axis=1)
    return shares


def summarise(tasks: Sequence[Task], clusters: Sequence[str], quality: Qualities) -> Summary:
    """Average `quality` (expert -> (tasks,)) over all prompts, clusters, levels and families.

    `clusters` names the cluster of each task. Where small and large both sat the exam, "small as good" is the
    share of prompts on which small is right at least as often as large.
    """
    groups: dict[str, list[str]] = {
        "overall": ["all"] * len(tasks),
        "cluster": list(clusters),
        "level": [str(task.level) for task in tasks],
        "family": [task.family for task in tasks],
    }
    summary: Summary = {}
    columns = dict(quality)
    if {"small", "large"} <= set(quality):
        columns["small as good"] = (quality["small"] >= quality["large"]).astype(np.float64)
    for group, keys in groups.items():
        labels = np.asarray(keys)
        for key in sorted(set(keys), key=_ORDER.index if group == "family" else str):
            row = {name: float(values[labels == key].mean()) for name, values in columns.items()}
            summary.setdefault(group, {})[key] = row
    return summary


def print_table(summary: Summary, console: Console) -> None:
    """Print `summary` in percent as a Markdown table, one column per expert."""
    columns = list(next(iter(summary["overall"].values())))
    table = Table(title="Right answers (%)", title_justify="left", box=box.MARKDOWN)
    table.add_column("prompts", no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for group, rows in summary.items():
        for key, row in rows.items():
            label = key if group == "overall" else f"{group} {key}"
            table.add_row(label, *(f"{100 * row[column]:.1f}" for column in columns))
    console.print(table)


def run_exam(
    folder: Path,
    experts: Sequence[str],
    count: int,
    samples: int,
    temperature: float,
    seed: int,
    told: Callable[[str], None],
) -> tuple[list[Task], Qualities]:
    """Grade `experts` on `count` held-out tasks, calling `told(expert)` after each."""
    tasks = sample_exam("test", count, seed)
    quality = {}
    for expert in experts:
        quality[expert] = grade(folder / expert, tasks, samples, temperature, seed)
        told(expert)
    return tasks, quality
