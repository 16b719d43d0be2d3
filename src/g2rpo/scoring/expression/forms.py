"""The forms of an answer: one expression, lists, sets, points, intervals, equations."""

from dataclasses import dataclass
from fractions import Fraction

from g2rpo.scoring.expression.node import Node, symbols
from g2rpo.scoring.expression.units import Unit


@dataclass(frozen=True, slots=True)
class Quantity:
    """One expression.

    Attributes:
        node: the expression.
        unit: what it counts, if a unit follows.
        half_width: half of the last decimal place of a decimal literal with two decimals or more,
            which may have been rounded.
        face: `%` or `°` where one follows; the node is the number before it.
        decimal: whether it is one decimal literal.
    """

    node: Node
    unit: Unit | None = None
    half_width: Fraction | None = None
    face: str = ""
    decimal: bool = False

    @property
    def closed(self) -> bool:
        """Whether the expression has no symbols."""
        return not symbols(self.node)


@dataclass(frozen=True, slots=True)
class Infinite:
    """Plus or minus infinity."""

    sign: int


@dataclass(frozen=True, slots=True)
class Dots:
    """The dots of a sequence."""


@dataclass(frozen=True, slots=True)
class Words:
    """An answer without mathematics, in lower case."""

    text: str


@dataclass(frozen=True, slots=True)
class Several:
    """Several items: a list, a set, or a point, an interval or a vector in brackets.

    Attributes:
        kind: `list`, `set`, `ratio`, or the two brackets, `(]`.
        items: what it holds.
    """

    kind: str
    items: tuple["Form", ...]


@dataclass(frozen=True, slots=True)
class Named:
    """A name and what it equals: `x = 5`, `f(x) = 2x`, `AB = 7`."""

    name: str
    form: "Form"


@dataclass(frozen=True, slots=True)
class Relation:
    """An equation or inequality, as the difference of its sides and `=`, `<`, `<=` or `!=` zero."""

    sign: str
    difference: Node


@dataclass(frozen=True, slots=True)
class Stretch:
    """An interval of the real line."""

    low: "Form"
    high: "Form"
    low_closed: bool
    high_closed: bool


@dataclass(frozen=True, slots=True)
class Region:
    """A union of intervals, and the name of what lies in it (empty if the text has none)."""

    name: str
    stretches: tuple[Stretch, ...]


Form = Quantity | Infinite | Dots | Words | Several | Named | Relation | Region
EVERYTHING = Region("", (Stretch(Infinite(-1), Infinite(1), False, False),))
"""The real line."""
