from pathlib import Path

import pytest

from routers import ParameterError
from serve.reporting.tables_in_docs import replace_part, table


def test_only_the_part_changes(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "before\n\n<!-- begin: one -->\nold\n\nold\n<!-- end: one -->\nafter\n<!-- begin: two -->\n<!-- end: two -->\n"
    )
    replace_part(page, "one", r"new \1" + "\n")
    replace_part(page, "two", "more")
    assert page.read_text() == (
        "before\n\n<!-- begin: one -->\nnew \\1\n<!-- end: one -->\n"
        "after\n<!-- begin: two -->\nmore\n<!-- end: two -->\n"
    )


def test_a_page_without_the_marks_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    with pytest.raises(ParameterError, match="cannot be written"):
        replace_part(page, "one", "new")
    page.write_text("nothing")
    with pytest.raises(ParameterError, match="must have the lines"):
        replace_part(page, "one", "new")


def test_a_table() -> None:
    assert table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | ---: |\n| 1 | 2 |"
