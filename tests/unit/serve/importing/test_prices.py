from pathlib import Path

import pytest

from routers import DataError, ParameterError
from serve.importing.prices import LIST_PRICES, prices_for, read_prices


def test_given_prices_go_before_list_prices(tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(
        "gpt-4-0314: {input_per_million: 1, output_per_million: 2}\nmine: {input_per_million: 3, output_per_million: 4}"
    )
    found = prices_for(["gpt-4-0314", "mine", "command-r"], read_prices(path))
    assert [(price.input_per_million, price.output_per_million) for price in found.values()] == [
        (1, 2),
        (3, 4),
        (0.5, 1.5),
    ]
    assert LIST_PRICES["gpt-4-0314"].output_per_million == 60


def test_json_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    path.write_text('{"mine": {"input_per_million": 0.25, "output_per_million": 1}}')
    assert read_prices(path)["mine"].input_per_million == 0.25


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{a: [", "cannot be read as a file of prices"),
        ("", "the file: .*dictionary"),
        ("a: 3", "a: .*input_per_million: …"),
        ("a: {input_per_million: 1}", "a.output_per_million: Field required"),
        ("a: {input_per_million: -1, output_per_million: 1}", "greater than or equal to 0"),
        ("a: {input_per_million: 1, output_per_million: 1, per: 2}", "a.per: Extra inputs"),
    ],
)
def test_wrong_files(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(text)
    with pytest.raises(ParameterError, match=message):
        read_prices(path)


def test_missing_file_and_unknown_expert(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="No such file"):
        read_prices(tmp_path / "none.yaml")
    with pytest.raises(DataError, match="No price is known for 'x', 'y': give one in a file of --prices"):
        prices_for(["gpt-4-0314", "x", "y"], {})
