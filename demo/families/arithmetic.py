"""Arithmetic: sums, products and number sequences."""

from __future__ import annotations

from random import Random

from demo.families.base import Family

__all__ = ["FAMILIES"]

_DOMAIN = "arithmetic"


def _addition(rng: Random, level: int) -> tuple[dict[str, object], str]:
    if level == 1:
        a, b = rng.randint(0, 9), rng.randint(0, 9)
    elif level == 2:
        a, b = rng.randint(10, 99), rng.randint(1, 9)
    elif level == 3:
        a, b = rng.randint(10, 99), rng.randint(10, 99)
    elif level == 4:
        a, b = rng.randint(100, 999), rng.randint(10, 99)
    else:
        a, b = rng.randint(100, 999), rng.randint(100, 999)
    return {"a": a, "b": b}, str(a + b)


def _multiplication(rng: Random, level: int) -> tuple[dict[str, object], str]:
    if level == 1:
        a, b = rng.randint(1, 40), rng.choice((1, 10))
    elif level == 2:
        a, b = rng.randint(2, 9), rng.randint(2, 9)
    elif level == 3:
        a, b = rng.randint(10, 49), 2
    elif level == 4:
        a, b = rng.randint(11, 40), rng.randint(3, 9)
    else:
        a, b = rng.randint(41, 99), rng.randint(3, 9)
    return {"a": a, "b": b}, str(a * b)


def _sequence(rng: Random, level: int) -> tuple[dict[str, object], str]:
    start = rng.randint(1, 70)
    if level == 1:
        step = 1
    elif level == 2:
        step = rng.choice((2, 10))
    elif level == 3:
        step = rng.randint(3, 9)
    elif level == 4:
        start, step = rng.randint(40, 99), -rng.randint(2, 9)
    else:
        start, step = rng.randint(100, 600), rng.randint(11, 99)
    terms = [start + i * step for i in range(4)]
    return {"s": " ".join(str(term) for term in terms[:3])}, str(terms[3])


FAMILIES = (
    Family(
        "addition",
        _DOMAIN,
        _addition,
        (
            "calculate {a} plus {b}",
            "calculate {a} + {b}",
            "calculate the sum of {a} and {b}",
            "calculate the total of {a} and {b}",
        ),
    ),
    Family(
        "multiplication",
        _DOMAIN,
        _multiplication,
        (
            "calculate {a} times {b}",
            "calculate {a} * {b}",
            "calculate the product of {a} and {b}",
            "calculate {a} multiplied by {b}",
        ),
    ),
    Family(
        "sequence",
        _DOMAIN,
        _sequence,
        (
            "calculate the next number: {s}",
            "calculate what number follows {s}",
            "calculate the number after {s}",
            "calculate how the numbers {s} continue",
        ),
    ),
)
