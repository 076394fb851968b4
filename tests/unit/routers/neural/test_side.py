from routers.neural.side import with_side
from routers.prompt import Prompt


def test_values_become_lines_in_the_order_asked_for() -> None:
    prompt = Prompt("What is 1 + 1?", {"domain": "sums", "images": 2, "secret": "x"})
    assert with_side([prompt], ("images", "domain")) == ["images: 2\ndomain: sums\nWhat is 1 + 1?"]


def test_unknown_values_make_no_line() -> None:
    assert with_side(["plain", Prompt("text", {"domain": None, "hard": False})], ("domain", "hard")) == [
        "plain",
        "hard: False\ntext",
    ]


def test_a_value_cannot_pose_as_another_line() -> None:
    assert with_side([Prompt("text", {"domain": "a\nhard: True"})], ("domain",)) == ["domain: a hard: True\ntext"]


def test_nothing_asked_for_nothing_written() -> None:
    assert with_side([Prompt("text", {"domain": "sums"})], ()) == ["text"]
