"""Calendar: counting days of the week, months of the year and times of the day."""

from __future__ import annotations

from random import Random

from demo.families.base import Family

__all__ = ["DAYS", "FAMILIES", "MONTHS"]

_DOMAIN = "calendar"
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
MONTHS = (
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
)


def _count(rng: Random, names: tuple[str, ...], low: int, high: int) -> tuple[dict[str, object], str]:
    start, steps = rng.randrange(len(names)), rng.randint(low, high)
    way = rng.choice(("after", "before"))
    end = start + steps if way == "after" else start - steps
    return {"n": steps, "way": way, "from": names[start]}, names[end % len(names)]


def _weekday(rng: Random, level: int) -> tuple[dict[str, object], str]:
    low, high = ((1, 1), (2, 3), (4, 7), (8, 14), (15, 35))[level - 1]
    return _count(rng, DAYS, low, high)


def _month(rng: Random, level: int) -> tuple[dict[str, object], str]:
    low, high = ((1, 1), (2, 3), (4, 7), (8, 14), (15, 30))[level - 1]
    return _count(rng, MONTHS, low, high)


def _clock(rng: Random, level: int) -> tuple[dict[str, object], str]:
    way = "after"
    hour, minute = rng.randint(3, 20), 0
    if level == 1:
        steps = rng.randint(1, 59)
    elif level == 2:
        minute = 10 * rng.randint(1, 5)
        steps = rng.randint(1, 59 - minute)
    elif level == 3:
        minute, steps = 5 * rng.randint(6, 11), 5 * rng.randint(6, 11)
    elif level == 4:
        minute, steps = rng.randint(1, 59), rng.randint(11, 59)
    else:
        minute, steps = rng.randint(1, 59), rng.randint(61, 150)
        way = rng.choice(("after", "before"))
    total = 60 * hour + minute + (steps if way == "after" else -steps)
    fields: dict[str, object] = {"n": steps, "way": way, "t": f"{hour:02d}:{minute:02d}"}
    return fields, f"{total // 60:02d}:{total % 60:02d}"


FAMILIES = (
    Family(
        "weekday",
        _DOMAIN,
        _weekday,
        (
            "calendar day {n} days {way} {from}",
            "which calendar day is {n} days {way} {from}",
            "what calendar day comes {n} days {way} {from}",
            "name the calendar day {n} days {way} {from}",
            "find the calendar day {n} days {way} {from}",
            "in the calendar, which day is {n} days {way} {from}",
            "on the calendar, what day comes {n} days {way} {from}",
            "{n} days {way} {from} is which calendar day",
        ),
    ),
    Family(
        "month",
        _DOMAIN,
        _month,
        (
            "calendar month {n} months {way} {from}",
            "which calendar month is {n} months {way} {from}",
            "what calendar month comes {n} months {way} {from}",
            "name the calendar month {n} months {way} {from}",
            "find the calendar month {n} months {way} {from}",
            "in the calendar, which month is {n} months {way} {from}",
            "on the calendar, what month comes {n} months {way} {from}",
            "{n} months {way} {from} is which calendar month",
        ),
    ),
    Family(
        "clock",
        _DOMAIN,
        _clock,
        (
            "calendar time {n} minutes {way} {t}",
            "which calendar time is {n} minutes {way} {t}",
            "what calendar time comes {n} minutes {way} {t}",
            "find the calendar time {n} minutes {way} {t}",
        ),
    ),
)
