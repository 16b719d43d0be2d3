"""Units behind a number, and their sizes in base units."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from g2rpo.scoring.expression.signs import table
from g2rpo.scoring.expression.tokens import Token

_LENGTH = {
    "mm": "1/1000",
    "cm": "1/100",
    "dm": "1/10",
    "m": "1",
    "km": "1000",
    "in": "0.0254",
    "ft": "0.3048",
    "yd": "0.9144",
}
_LENGTH |= {"mi": "1609.344", "nm": "1e-9"}
_TABLE = {
    "length": _LENGTH,
    "mass": {
        "mg": "1e-6",
        "g": "1e-3",
        "kg": "1",
        "t": "1000",
        "lb": "0.45359237",
        "oz": "0.028349523125",
    },
    "time": {
        "ms": "1e-3",
        "s": "1",
        "min": "60",
        "h": "3600",
        "day": "86400",
        "week": "604800",
        "month": "2629746",
        "year": "31556952",
    },
    "volume": {
        "ml": "1e-6",
        "L": "1e-3",
        "cl": "1e-5",
        "dl": "1e-4",
        "cc": "1e-6",
        "gal": "0.003785411784",
    },
    "money": {"dollar": "1", "cent": "0.01", "usd": "1"},
    "euro": {"euro": "1", "eur": "1"},
    "angle": {"rad": "1"},
    "force": {"N": "1", "kN": "1000"},
    "energy": {"J": "1", "kJ": "1000", "eV": "1.602176634e-19", "kWh": "3600000"},
    "power": {"W": "1", "kW": "1000"},
    "voltage": {"V": "1"},
    "resistance": {"ohm": "1", "Omega": "1"},
    "current": {"A": "1", "mA": "0.001"},
    "charge": {"C": "1"},
    "pressure": {"Pa": "1", "kPa": "1000", "atm": "101325"},
    "frequency": {"Hz": "1", "kHz": "1000", "MHz": "1e6"},
    "amount": {"mol": "1"},
    "temperature": {"K": "1"},
    "celsius": {"°C": "1"},
    "fahrenheit": {"°F": "1"},
    "speed": {"mph": "0.44704", "kph": "5/18"},
    "": {
        "unit": "1",
        "piece": "1",
        "item": "1",
        "object": "1",
        "people": "1",
        "person": "1",
        "time": "1",
        "way": "1",
    },
}
_SPELLED = table("""
    millimeter mm | millimetre mm | centimeter cm | centimetre cm | decimeter dm | meter m | metre m
    kilometer km | kilometre km | inch in | inche in | feet ft | foot ft | yard yd | mile mi
    gram g | kilogram kg
    milligram mg | ton t | tonne t | pound lb | ounce oz | second s | sec s | minute min | hour h
    hr h | yr year
    l L | liter L | litre L | mL ml | milliliter ml
    millilitre ml | gallon gal | newton N | joule J
    watt W | volt V
    ampere A | amp A | coulomb C | pascal Pa | hertz Hz | mole mol | kelvin K | radian rad
    厘米 cm | 米 m | 千米 km | 毫米 mm | 个 unit
    """)
_KNOWN = {
    name: (dimension, Fraction(size))
    for dimension, names in _TABLE.items()
    for name, size in names.items()
}
_AREA = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}


@dataclass(frozen=True, slots=True)
class Unit:
    """What a number counts.

    Attributes:
        dimension: the powers of the base quantities, `(("length", 2),)` for an area; empty for
            `units` or `objects`.
        size: one of it in the base unit of its dimension.
    """

    dimension: tuple[tuple[str, int], ...]
    size: Fraction


def is_unit(word: str) -> bool:
    """Return whether a word names a unit, or says that a unit is squared or cubed.

    >>> is_unit("cm"), is_unit("Hours"), is_unit("square"), is_unit("cats")
    (True, True, True, False)
    """
    return word.lower() in _AREA or _find(word) is not None


def split_unit(tokens: Sequence[Token]) -> tuple[Sequence[Token], Unit | None]:
    """A piece without the unit it ends on, and the unit.

    A single letter is a unit behind white space only: `5 m` are meters, `5m` is a product.
    """
    for start in range(1, len(tokens)):
        if _may_begin(tokens, start):
            unit = _read(tokens[start:])
            if unit is not None:
                return tokens[:start], unit
    return tokens, None


def _may_begin(tokens: Sequence[Token], start: int) -> bool:
    token = tokens[start]
    if token.kind == "symbol":
        return token.spaced and token.text in _KNOWN
    if token.text == "°":
        return start + 2 == len(tokens) and tokens[start + 1].text in ("C", "F")
    return token.kind == "word" and is_unit(token.text)


def _find(word: str) -> tuple[str, Fraction] | None:
    for name in (word, word.lower(), word.lower().removesuffix("s")):
        name = _SPELLED.get(name, name)
        if name in _KNOWN and (
            len(name) > 1 or len(word) == 1 or name != word.lower().removesuffix("s")
        ):
            return _KNOWN[name]
    return None


def _read(tokens: Sequence[Token]) -> Unit | None:
    """Return the unit that the tokens are, such as `cm^2`, `m/s`, `square feet`; else None."""
    if tokens[0].text == "°":
        return Unit(((f"°{tokens[1].text}", 1),), Fraction(1))
    powers: dict[str, int] = {}
    size, sign, place, raised = Fraction(1), 1, 0, 1
    last = False
    while place < len(tokens):
        text = tokens[place].text
        if text in ("/", "per") and last:
            sign, last = -1, False
        elif text == "*" and last:
            last = False
        elif text.lower() in _AREA and tokens[place].kind == "word":
            raised = _AREA[text.lower()]
        else:
            found = _find(text) if tokens[place].kind in ("word", "symbol") else None
            if found is None:
                return None
            power, length = _exponent(tokens, place + 1)
            power = sign * raised * power
            dimension, factor = found
            place, raised, last = place + length, 1, True
            base, scale = ("length", 3) if dimension == "volume" else (dimension, 1)
            powers[base] = powers.get(base, 0) + power * scale
            if abs(power) > 9:
                return None
            size *= factor**power
        place += 1
    kept = tuple(sorted((name, power) for name, power in powers.items() if power and name))
    return Unit(kept, size) if last else None


def _exponent(tokens: Sequence[Token], place: int) -> tuple[int, int]:
    """Return the power behind a unit, and the number of its tokens."""
    texts = [token.text for token in tokens[place : place + 5]]
    if texts[:2] == ["^", "{"] and "}" in texts:
        inner = "".join(texts[2 : texts.index("}")])
        return (
            (int(inner), texts.index("}") + 1)
            if inner.lstrip("-").isdigit() and len(inner) < 4
            else (1, 0)
        )
    if texts[:1] == ["^"] and len(texts) > 1 and texts[1].isdigit() and len(texts[1]) == 1:
        return int(texts[1]), 2
    if texts and texts[0] in ("2", "3") and not tokens[place].spaced:  # `cm2`
        return int(texts[0]), 1
    return 1, 0
