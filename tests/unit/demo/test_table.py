"""The table: shares are averaged over the right prompts, and it prints."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from demo.exam import sample_exam
from demo.table import print_table, summarise


def test_summary_and_print() -> None:
    tasks = sample_exam("test", 120, 0)
    clusters = [task.domain for task in tasks]
    easy = np.array([1.0 if task.level <= 2 else 0.5 for task in tasks])
    summary = summarise(tasks, clusters, {"small": easy, "large": np.full(len(tasks), 0.8)})
    share = float((easy == 1.0).mean())
    assert summary["overall"]["all"]["small"] == pytest.approx(share + 0.5 * (1 - share))
    assert summary["overall"]["all"]["small as good"] == pytest.approx(share)
    assert summary["level"]["1"] == pytest.approx({"small": 1.0, "large": 0.8, "small as good": 1.0})
    assert summary["level"]["5"]["small"] == pytest.approx(0.5)
    assert set(summary["cluster"]) == set(clusters)
    assert len(summary["family"]) == 12
    output = io.StringIO()
    print_table(summary, Console(file=output, width=120))
    assert "cluster calendar" in output.getvalue()
    assert "80.0" in output.getvalue()


def test_one_expert_alone_has_nothing_to_compare_with() -> None:
    tasks = sample_exam("test", 24, 0)
    summary = summarise(tasks, ["all"] * 24, {"small": np.ones(24)})
    assert summary["overall"]["all"] == {"small": 1.0}
