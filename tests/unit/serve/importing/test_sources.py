from pathlib import Path

import pytest

from routers import DataError, ParameterError
from serve.config import PriceSettings
from serve.importing import SOURCES, Choice, import_data


@pytest.mark.parametrize("source", sorted(set(SOURCES) - {"csv", "jsonl"}))
def test_every_source_gives_routing_data(folder: Path, source: str) -> None:
    imported = import_data(source, folder, Choice(incomplete=True))
    assert (imported.data.frame["cost"] >= 0).all()
    assert set(imported.data.prompts) >= {"prompt_id", "prompt", "domain", "split", "fold"}
    assert imported.notes[-1].startswith("cost: ")


def test_incomplete_experts_are_left_out_unless_asked_for(folder: Path) -> None:
    imported = import_data("zeroeval", folder)
    assert imported.data.experts == ("gpt-4o-2024-08-06", "gpt-4o-mini-2024-07-18")
    assert imported.left_out == {"grok-2-1212": 1}
    assert not (imported.data.quality() != imported.data.quality()).any()
    everyone = import_data("zeroeval", folder, Choice(incomplete=True))
    assert everyone.left_out == {}
    assert "grok-2-1212" in everyone.data.experts


def test_dropping_rows_may_complete_an_expert(folder: Path) -> None:
    imported = import_data("zeroeval", folder, Choice(drop=("in_gsm8k_test",)))
    assert imported.dropped == {"in_gsm8k_test": 1}
    assert imported.data.prompts["domain"].tolist() == ["crux"]
    assert "grok-2-1212" in imported.data.experts
    both = import_data("routellm-mmlu", folder, Choice(drop=("contaminated", "suspect")))
    assert both.dropped == {"contaminated": 1, "suspect": 1}
    assert both.data.texts == ["A bone?\nAnswer:"]


def test_chosen_experts(folder: Path) -> None:
    imported = import_data("mmlu-pro", folder, Choice(experts=("mathstral-7B",)))
    assert imported.data.experts == ("mathstral-7B",)
    assert imported.left_out == {}
    with pytest.raises(DataError, match="'Yi-6B' has no answer to 1 of 2 prompts: add --incomplete"):
        import_data("mmlu-pro", folder, Choice(experts=("Yi-6B",)))
    assert len(import_data("mmlu-pro", folder, Choice(experts=("Yi-6B",), incomplete=True)).data) == 1
    with pytest.raises(DataError, match="no expert 'x': it has Yi-6B, mathstral-7B"):
        import_data("mmlu-pro", folder, Choice(experts=("x",)))


def test_costs_by_hand(folder: Path) -> None:
    prices = {"mathstral-7B": PriceSettings(input_per_million=1e6, output_per_million=100e6)}
    rows = import_data("mmlu-pro", folder, Choice(experts=("mathstral-7B",), prices=prices)).data.frame
    # 41 and 4 characters of prompt, 0 and 41 of answer.
    assert rows["cost"].tolist() == pytest.approx([10 + 0, 1 + 1100])


def test_own_data_needs_a_price_or_a_cost(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("prompt,expert,quality,response\nabcd,mine,1,efgh\n")
    with pytest.raises(DataError, match="No price is known for 'mine'"):
        import_data("csv", path)
    prices = {"mine": PriceSettings(input_per_million=1, output_per_million=2)}
    assert import_data("csv", path, Choice(prices=prices)).data.frame["cost"].tolist() == pytest.approx([3e-6])
    path.write_text("prompt,expert,quality,cost\nabcd,mine,1,7\n")
    imported = import_data("csv", path)
    assert imported.data.frame["cost"].tolist() == [7]
    assert not any(note.startswith("cost") for note in imported.notes)


def test_wrong_choices(folder: Path) -> None:
    with pytest.raises(ParameterError, match="no source 'mmlu': use one of routellm-mmlu"):
        import_data("mmlu", folder)
    with pytest.raises(DataError, match=r"--drop domain: .* but contaminated, suspect"):
        import_data("routellm-mmlu", folder, Choice(drop=("domain",)))
    path = folder / "own.csv"
    path.write_text("prompt,expert,quality,cost\nabcd,mine,1,7\n")
    with pytest.raises(DataError, match="no such column of true and false, but none"):
        import_data("csv", path, Choice(drop=("in_mmlu_test",)))
    path.write_text("prompt,expert,quality,cost,seen\nabcd,mine,1,7,true\n")
    with pytest.raises(DataError, match="--drop seen leaves no row"):
        import_data("csv", path, Choice(drop=("seen",)))


def test_nobody_complete(folder: Path) -> None:
    path = folder / "mmlu_pro" / "mmlu_pro_scores.csv"
    path.write_text(path.read_text().replace("Why?,0,", "Why?,,"))
    with pytest.raises(DataError, match="No expert has answered every prompt: add --incomplete"):
        import_data("mmlu-pro", folder)
