"""Mathematics and numbers, read whole or not at all: "is this answer the gold answer?"

Two texts go in, in LaTeX, plain text or both, with words and a unit around one expression; a
verdict comes out. Start with `answer.py`; a text passes through these modules in order:

    span.py              Finds the part of the text that is the answer.
    tokens.py            Splits it into tokens; `signs.py` and `number_words.py` list spellings.
    words.py             Takes the one expression out of the words around it.
    reader.py            Reads lists, sets, points and equations; `intervals.py` inequalities.
    pieces.py            Cuts tokens at signs, and reads one expression with its unit (`units.py`).
    parser.py            Parses one expression into a tree (`node.py`).
    forms.py             Defines what an answer can be.
    compare.py           Compares two forms; `value.py` and `math_functions.py` hold the arithmetic.
"""

from g2rpo.scoring.expression.answer import (
    read_quantity,
    readable_expression,
    same_expression,
    same_number,
)

__all__ = ["read_quantity", "readable_expression", "same_expression", "same_number"]
