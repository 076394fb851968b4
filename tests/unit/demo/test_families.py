"""Every family's answers against a second, independent way to work them out."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from random import Random

import pytest

from demo.families import DOMAINS, FAMILIES, LEVELS, Family, Task
from demo.families.calendar import DAYS, MONTHS
from demo.families.conversion import ELEMENTS, to_roman

SAMPLES = 60
OPERATORS = {"addition": int.__add__, "multiplication": int.__mul__}
FACTORS = {
    "cm mm": 10,
    "m cm": 100,
    "km m": 1000,
    "kg g": 1000,
    "pairs pieces": 2,
    "yards feet": 3,
    "gallons quarts": 4,
    "hands fingers": 5,
    "stars points": 6,
    "fathoms feet": 6,
    "spiders legs": 8,
    "miles furlongs": 8,
    "cats lives": 9,
    "feet inches": 12,
    "stones pounds": 14,
    "pounds ounces": 16,
}


def numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]


def capitals(text: str) -> str:
    found = re.search(r"\b[A-Z]+\b", text)
    assert found, text
    return found.group()


def calculated(task: Task) -> str:
    first, second = numbers(task.prompt)
    return str(OPERATORS[task.family](first, second))


def continued(task: Task) -> str:
    first, second, third = numbers(task.prompt)
    assert second - first == third - second
    return str(2 * third - second)


def reversed_letters(task: Task) -> str:
    letters = list(capitals(task.prompt))
    letters.reverse()
    return "".join(letters)


def sorted_letters(task: Task) -> str:
    word = capitals(task.prompt)
    return "".join(chr(code) * word.count(chr(code)) for code in range(ord("A"), ord("Z") + 1))


def shifted_letters(task: Task) -> str:
    (places,) = numbers(task.prompt)
    return "".join(chr((ord(letter) - ord("A") + places) % 26 + ord("A")) for letter in capitals(task.prompt))


def signed_count(task: Task) -> int:
    (count,) = numbers(task.prompt)
    return count if "after" in task.prompt else -count


def later_day(task: Task) -> str:
    start = next(day for day in DAYS if day in task.prompt)
    monday = dt.date(2024, 1, 1)
    date = monday + dt.timedelta(days=DAYS.index(start) + signed_count(task))
    return DAYS[date.weekday()]


def later_month(task: Task) -> str:
    start = next(month for month in MONTHS if re.search(rf"\b{month}\b", task.prompt))
    position, step = MONTHS.index(start), 1 if signed_count(task) > 0 else -1
    for _ in range(abs(signed_count(task))):
        position = (position + step + 12) % 12
    return MONTHS[position]


def later_time(task: Task) -> str:
    minutes, hour, minute = numbers(task.prompt)
    way = 1 if "after" in task.prompt else -1
    moment = dt.datetime(2024, 1, 1, hour, minute, tzinfo=dt.UTC) + way * dt.timedelta(minutes=minutes)
    return f"{moment:%H:%M}"


def converted_unit(task: Task) -> str:
    (amount,) = numbers(task.prompt)
    words = [word for word in re.findall(r"[a-z]+", task.prompt) if word not in {"convert", "please", "to", "into"}]
    if task.prompt.startswith("convert to"):
        words.reverse()
    return str(amount * FACTORS[" ".join(words)])


def read_roman(letters: str) -> int:
    values = [{"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}[letter] for letter in letters]
    following = [*values[1:], 0]
    return sum(-value if value < after else value for value, after in zip(values, following, strict=True))


def converted_roman(task: Task) -> str:
    if number := numbers(task.prompt):
        assert str(read_roman(task.answer)) == str(number[0])
        return task.answer
    return str(read_roman(capitals(task.prompt)))


def looked_up(task: Task) -> str:
    _, symbol, number, weight = next(entry for entry in ELEMENTS if re.search(rf"\b{entry[0]}\b", task.prompt))
    asked = next(word for word in ("symbol", "number", "weight") if word in task.prompt)
    return {"symbol": symbol, "number": str(number), "weight": str(weight)}[asked]


SOLVERS: dict[str, Callable[[Task], str]] = {
    "addition": calculated,
    "multiplication": calculated,
    "sequence": continued,
    "reverse": reversed_letters,
    "sort": sorted_letters,
    "shift": shifted_letters,
    "weekday": later_day,
    "month": later_month,
    "clock": later_time,
    "unit": converted_unit,
    "roman": converted_roman,
    "element": looked_up,
}


def test_twelve_families_in_four_domains_of_three() -> None:
    assert len({family.name for family in FAMILIES}) == len(FAMILIES) == 12
    assert [sum(family.domain == domain for family in FAMILIES) for domain in DOMAINS] == [3, 3, 3, 3]
    assert set(SOLVERS) == {family.name for family in FAMILIES}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_answers_are_right(family: Family, level: int) -> None:
    rng = Random(f"{family.name}{level}")
    for _ in range(SAMPLES):
        task = family.sample(rng, level)
        assert task.answer == SOLVERS[family.name](task), task
        assert task.answer == task.answer.strip() != ""
        assert (task.family, task.domain, task.level) == (family.name, family.domain, level)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_prompts_are_lower_case_but_for_their_arguments(family: Family) -> None:
    rng = Random(1)
    for _ in range(SAMPLES):
        prompt = family.sample(rng, 3).prompt
        assert re.fullmatch(r"[a-z0-9:*+, -]+", re.sub(r"\b[A-Z]+\b", "", prompt)), prompt


def test_every_phrasing_of_a_family_is_used() -> None:
    rng = Random(2)
    for family in FAMILIES:
        openings = {re.sub(r"\d+|[A-Z]+", "#", family.sample(rng, 1).prompt) for _ in range(400)}
        assert len(openings) >= 4, family.name


def test_roman_numerals_are_invertible() -> None:
    assert [to_roman(number) for number in (1, 4, 9, 40, 1994)] == ["I", "IV", "IX", "XL", "MCMXCIV"]
    assert all(read_roman(to_roman(number)) == number for number in range(1, 4000))


def test_elements_are_distinct() -> None:
    names, symbols, counts, weights = zip(*ELEMENTS, strict=True)
    assert len(set(names)) == len(set(symbols)) == len(set(counts)) == len(ELEMENTS) == 60
    # An atom weighs at least as many units as it has protons, and less than three times that.
    assert all(count <= weight < 3 * count for count, weight in zip(counts, weights, strict=True))
