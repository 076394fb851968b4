"""The part of ``pointsman train`` that makes judges of answers and the plans that use them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from routers import AnswerJudge, RoutingData, make_judge, save_judge
from routers.answers import FrugalCascade, outcome_of

__all__ = ["learn_judge", "show_judge"]

_ROWS: dict[str, tuple[str, str]] = {
    "n_prompts": ("prompts", "{}"),
    "n_answers": ("different answers", "{}"),
    "auc": ("AUC of good against bad answers", "{:.4f}"),
    "calibration_error": ("calibration error", "{:.4f}"),
    "picked": ("quality of the answer put first", "{:.4f}"),
    "picked_blindly": ("… of one at random", "{:.4f}"),
    "picked_best": ("… of the best", "{:.4f}"),
    "quality": ("quality", "{:.4f}"),
    "cost": ("mean cost of an answer, all attempts", "{:.3g}"),
    "attempts": ("mean number of attempts", "{:.2f}"),
}


def learn_judge(
    name: str,
    parameters: dict[str, Any],
    training: RoutingData,
    calibration: RoutingData,
    out: Path,
    report: Callable[[str, float], None],
) -> AnswerJudge:
    """Train a judge or plan, note in its summary how it does on the calibration split, and save it."""
    judge = make_judge(name, **parameters).fit(training, report)
    judge.summary_["calibration"] = outcome_of(judge, calibration)
    save_judge(judge, out)
    return judge


def show_judge(judge: AnswerJudge, out: Path) -> None:
    """Print what is known of a freshly trained judge or plan."""
    noted = judge.summary_["calibration"]
    table = Table("On the calibration split", "", title=escape(f"{judge.name}, saved at {out}"))
    for key, (text, form) in _ROWS.items():
        if noted.get(key) is not None:
            table.add_row(text, form.format(noted[key]))
    if "reference" in noted:
        reference = escape(noted["reference"])
        table.add_row(f"quality drop against {reference}", f"{noted['quality_drop']:.2%}")
        table.add_row(f"cost in % of {reference}'s", f"{noted['cost'] / noted['reference_cost']:.1%}")
        for expert, share in noted["shares"].items():
            table.add_row(f"answered by {escape(expert)}", f"{share:.1%}")
    if isinstance(judge, FrugalCascade):
        asked = [f"{expert} (from {at:.3f} on)" for expert, at in zip(judge.experts_, judge.thresholds_, strict=False)]
        table.add_row("asks", escape(", then ".join([*asked, judge.experts_[-1]])))
    Console().print(table)
