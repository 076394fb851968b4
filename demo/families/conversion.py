"""Conversion: units of measure, Roman numerals and the chemical elements."""

from __future__ import annotations

from random import Random

from demo.families.base import Family

__all__ = ["ELEMENTS", "FAMILIES", "to_roman"]

_DOMAIN = "conversion"

_UNITS: tuple[tuple[tuple[str, str, int], ...], ...] = (
    (("cm", "mm", 10), ("m", "cm", 100), ("km", "m", 1000), ("kg", "g", 1000)),
    (("pairs", "pieces", 2), ("yards", "feet", 3), ("gallons", "quarts", 4)),
    (("hands", "fingers", 5), ("stars", "points", 6), ("fathoms", "feet", 6)),
    (("spiders", "legs", 8), ("miles", "furlongs", 8), ("cats", "lives", 9)),
    (("feet", "inches", 12), ("stones", "pounds", 14), ("pounds", "ounces", 16)),
)
_UNIT_RANGE = ((1, 99), (2, 20), (2, 30), (3, 50), (3, 70))

_ROMAN = (
    (1000, "M"),
    (900, "CM"),
    (500, "D"),
    (400, "CD"),
    (100, "C"),
    (90, "XC"),
    (50, "L"),
    (40, "XL"),
    (10, "X"),
    (9, "IX"),
    (5, "V"),
    (4, "IV"),
    (1, "I"),
)
_ROMAN_RANGE = ((1, 20), (21, 49), (50, 150), (151, 999), (1000, 3999))
_ROMAN_MAX_LETTERS = 7

# Name, symbol, atomic number, rounded atomic weight; from household names to rarities, twelve a level.
ELEMENTS: tuple[tuple[str, str, int, int], ...] = (
    ("hydrogen", "H", 1, 1),
    ("oxygen", "O", 8, 16),
    ("carbon", "C", 6, 12),
    ("nitrogen", "N", 7, 14),
    ("helium", "He", 2, 4),
    ("iron", "Fe", 26, 56),
    ("gold", "Au", 79, 197),
    ("silver", "Ag", 47, 108),
    ("copper", "Cu", 29, 64),
    ("lead", "Pb", 82, 207),
    ("sodium", "Na", 11, 23),
    ("calcium", "Ca", 20, 40),
    ("zinc", "Zn", 30, 65),
    ("tin", "Sn", 50, 119),
    ("mercury", "Hg", 80, 201),
    ("neon", "Ne", 10, 20),
    ("sulfur", "S", 16, 32),
    ("chlorine", "Cl", 17, 35),
    ("potassium", "K", 19, 39),
    ("aluminium", "Al", 13, 27),
    ("nickel", "Ni", 28, 59),
    ("uranium", "U", 92, 238),
    ("silicon", "Si", 14, 28),
    ("magnesium", "Mg", 12, 24),
    ("lithium", "Li", 3, 7),
    ("platinum", "Pt", 78, 195),
    ("iodine", "I", 53, 127),
    ("phosphorus", "P", 15, 31),
    ("titanium", "Ti", 22, 48),
    ("argon", "Ar", 18, 40),
    ("fluorine", "F", 9, 19),
    ("boron", "B", 5, 11),
    ("cobalt", "Co", 27, 59),
    ("chromium", "Cr", 24, 52),
    ("tungsten", "W", 74, 184),
    ("arsenic", "As", 33, 75),
    ("bismuth", "Bi", 83, 209),
    ("krypton", "Kr", 36, 84),
    ("xenon", "Xe", 54, 131),
    ("cadmium", "Cd", 48, 112),
    ("antimony", "Sb", 51, 122),
    ("beryllium", "Be", 4, 9),
    ("barium", "Ba", 56, 137),
    ("caesium", "Cs", 55, 133),
    ("gallium", "Ga", 31, 70),
    ("selenium", "Se", 34, 79),
    ("vanadium", "V", 23, 51),
    ("strontium", "Sr", 38, 88),
    ("yttrium", "Y", 39, 89),
    ("niobium", "Nb", 41, 93),
    ("rhodium", "Rh", 45, 103),
    ("indium", "In", 49, 115),
    ("tellurium", "Te", 52, 128),
    ("lanthanum", "La", 57, 139),
    ("hafnium", "Hf", 72, 178),
    ("tantalum", "Ta", 73, 181),
    ("rhenium", "Re", 75, 186),
    ("osmium", "Os", 76, 190),
    ("thallium", "Tl", 81, 204),
    ("thorium", "Th", 90, 232),
)
_ELEMENTS_PER_LEVEL = 12
_WEIGHTS_FROM_LEVEL = 3


def to_roman(number: int) -> str:
    """Return `number` (at least 1) as a Roman numeral in upper case."""
    letters = ""
    for value, symbol in _ROMAN:
        while number >= value:
            letters += symbol
            number -= value
    return letters


def _unit(rng: Random, level: int) -> tuple[dict[str, object], str]:
    unit, into, factor = rng.choice(_UNITS[level - 1])
    amount = rng.randint(*_UNIT_RANGE[level - 1])
    return {"n": amount, "u": unit, "v": into}, str(amount * factor)


def _roman(rng: Random, level: int) -> tuple[dict[str, object], str]:
    letters = ""
    while not 0 < len(letters) <= _ROMAN_MAX_LETTERS:
        number = rng.randint(*_ROMAN_RANGE[level - 1])
        letters = to_roman(number)
    opening = rng.choice(("convert", "please convert", "convert now"))
    if rng.random() < 0.5:
        form = rng.choice(("{n} to roman", "{n} into a roman numeral", "to roman the number {n}"))
        return {"phrasing": f"{opening} {form}", "n": number}, letters
    forms = ("roman {r} to a number", "the roman numeral {r} to digits", "to a number the roman {r}")
    form = rng.choice(forms)
    return {"phrasing": f"{opening} {form}", "r": letters}, str(number)


def _element(rng: Random, level: int) -> tuple[dict[str, object], str]:
    end = level * _ELEMENTS_PER_LEVEL
    name, symbol, number, weight = rng.choice(ELEMENTS[end - _ELEMENTS_PER_LEVEL : end])
    answers = {"symbol": symbol, "number": str(number), "weight": str(weight)}
    asked = rng.choice(("symbol", "number") if level < _WEIGHTS_FROM_LEVEL else tuple(answers))
    return {"e": name, "asked": asked}, answers[asked]


FAMILIES = (
    Family(
        "unit",
        _DOMAIN,
        _unit,
        (
            "convert {n} {u} to {v}",
            "convert {n} {u} into {v}",
            "convert to {v}: {n} {u}",
            "please convert {n} {u} to {v}",
        ),
    ),
    Family("roman", _DOMAIN, _roman, ()),
    Family(
        "element",
        _DOMAIN,
        _element,
        (
            "convert the element {e} to its {asked}",
            "convert the element {e} into a {asked}",
            "convert element {e} to {asked}",
            "please convert element {e} to its {asked}",
            "convert {e} to its element {asked}",
            "convert to {asked} the element {e}",
            "element {e}: convert to {asked}",
            "for the element {e} convert to the {asked}",
        ),
        practice=(0.35, 0.28, 0.2, 0.1, 0.07),
    ),
)
