"""The published sets themselves: what their authors state must come out of the import."""

import os
from pathlib import Path

import pytest

from routers import RoutingData
from serve.importing import Choice, import_data

ROOT = Path(__file__).resolve().parents[4]
SMALL, LARGE = "Mixtral-8x7B-Instruct-v0.1", "gpt-4-1106-preview"


@pytest.fixture(scope="module")
def real() -> Path:
    path = Path(os.environ.get("POINTSMAN_DATA", ROOT.parent / "shared" / "data"))
    if not (path / "routellm").is_dir():
        pytest.skip(f"{path} does not hold the published sets: name their folder in POINTSMAN_DATA")
    return path


def accuracy(data: RoutingData) -> dict[str, float]:
    """Mean quality of each expert in percent, to one digit."""
    return dict(zip(data.experts, (100 * data.quality().mean(axis=0)).round(1).tolist(), strict=True))


def test_routellm_mmlu(real: Path) -> None:
    data = import_data("routellm-mmlu", real).data
    assert len(data.texts) == 14_042
    assert accuracy(data) == {SMALL: 68.1, LARGE: 80.6}
    assert round(100 * data.quality().max(axis=1).mean(), 1) == 85.9
    assert data.prompts["domain"].nunique() == 57
    by_text = data.prompts.groupby("prompt")
    assert len(data.texts) - by_text.ngroups == 105
    assert by_text["split"].nunique().max() == 1
    rows = data.frame
    assert rows["contaminated"].sum() == 2 * 5
    suspect = rows[rows["suspect"] & (rows["expert"] == LARGE)]["quality"]
    assert (len(suspect), round(suspect.mean(), 3)) == (270, 0.030)


def test_routellm_gsm8k(real: Path) -> None:
    data = import_data("routellm-gsm8k", real).data
    assert len(data.texts) == 1_319
    assert accuracy(data) == {SMALL: 63.8, LARGE: 85.7}
    assert round(100 * data.quality().max(axis=1).mean(), 1) == 92.9
    assert data.frame["contaminated"].sum() == 2 * 12
    assert data.frame["response"].notna().all()


def test_routellm_mtbench(real: Path) -> None:
    data = import_data("routellm-mtbench", real).data
    assert len(data.texts) == 80
    assert data.frame["contaminated"].sum() == 2 * 8
    small, large = data.quality().mean(axis=0)
    assert 0.8 < small < large < 1


def test_mmlu_pro(real: Path) -> None:
    imported = import_data("mmlu-pro", real, Choice(incomplete=True))
    data = imported.data
    assert data.quality().shape == (12_032, 29)
    assert len(data) == 12_032 * 29 - 1_681 - 20 - 12
    assert data.prompts["domain"].nunique() == 14
    assert sorted(data.prompts["fold"].unique()) == list(range(10))
    assert data.prompts.groupby("prompt")["fold"].nunique().max() == 1
    complete = import_data("mmlu-pro", real, Choice(drop=("in_mmlu_test",)))
    assert complete.dropped == {"in_mmlu_test": 6_809}
    assert len(complete.data.texts) == 12_032 - 6_809
    assert set(complete.left_out) == {"DeepSeek-Coder-V2", "gemini-1.5-flash-002", "gemini-1.5-pro-002"}


def test_zeroeval(real: Path) -> None:
    imported = import_data("zeroeval", real)
    data = imported.data
    assert data.quality().shape == (2_840, 29)
    assert len(imported.left_out) == 53 - 29
    assert data.prompts["domain"].value_counts().to_dict() == {"gsm": 1_319, "crux": 800, "math-l5": 721}
    answered = data.frame.groupby("expert")["response"].count()
    assert answered[answered > 0].to_dict() == {
        "Meta-Llama-3.1-70B-Instruct": 2_840,
        "Meta-Llama-3.1-8B-Instruct": 2_840,
        "gpt-4o-mini-2024-07-18": 2_840,
    }
    gsm8k = set(import_data("routellm-gsm8k", real).data.texts)
    flagged = data.frame[data.frame["in_gsm8k_test"]]["prompt"]
    assert set(flagged) == gsm8k
    everyone = import_data("zeroeval", real, Choice(incomplete=True)).data
    assert everyone.quality().shape == (2_840, 53)
