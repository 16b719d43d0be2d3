"""Bugs in how mathematics and numbers are read: values, units, words, lists, intervals."""

from mutant import Mutant

TOKENS, PARSER, VALUE, READER = (f"scoring/expression_{name}.py" for name in ("tokens", "parser", "value", "reader"))
PIECES, COMPARE, WORDS, SPAN = (
    "scoring/expression_pieces.py",
    "scoring/expression_compare.py",
    "scoring/expression_words.py",
    "scoring/answer_span.py",
)
EXPRESSION, UNITS, IN_WORDS = "scoring/expression.py", "scoring/units.py", "scoring/number_words.py"
TESTS = "scoring/test_expression.py"

MATHEMATICS_MUTANTS = (
    Mutant("mathematics: read in part", PARSER, "if parser.peek() is not _END:", "if False:", TESTS),
    Mutant("mathematics: a mixed number is a product", PARSER, "mixed or self.atom()", "self.atom()", TESTS),
    Mutant("mathematics: 0,123 groups digits", TOKENS, r"(?:[1-9]\d{0,2}(?:,\d{3})++(?![\d,])", r"(?:\d{1,3}(?:,\d{3})++(?![\d,])", TESTS),
    Mutant("mathematics: any comma groups digits", TOKENS, r"(?:[1-9]\d{0,2}(?:,\d{3})++(?![\d,])", r"(?:\d++(?:,\d++)++", TESTS),
    Mutant("mathematics: typographic range is a minus", TOKENS, 'replace("\\3", "\u2013")', 'replace("\\3", "-")', TESTS),
    Mutant("mathematics: absolute tolerance", VALUE, "<= tolerance * max(abs(a.value), abs(b.value)) +", "<= tolerance +", TESTS),
    Mutant("mathematics: fractions are rounded", VALUE, "        return left == right", "        return abs(left - right) < 1e-6", TESTS),
    Mutant("mathematics: towers of powers are computed", VALUE, "if size * abs(exponent) > MOST_BITS", "if False", TESTS),
    Mutant("mathematics: one decimal is enough", PIECES, "if len(written[2]) < 2 or digits < 2:", "if digits < 2:", TESTS),
    Mutant("mathematics: zeros are significant", PIECES, "if len(written[2]) < 2 or digits < 2:", "if len(written[2]) < 2:", TESTS),
    Mutant("mathematics: other units are equal", COMPARE, "units[0].dimension == units[1].dimension and", "", TESTS),
    Mutant("mathematics: units are not converted", COMPARE, "Fraction(units[0].size) / units[1].size", "Fraction(1)", TESTS),
    Mutant("mathematics: brackets do not count", COMPARE, "if len(brackets) > 1 and", "if False and", TESTS),
    Mutant("mathematics: sets have an order", COMPARE, 'kinds <= {"list", "set"} and', 'kinds <= {"set"} and', TESTS),
    Mutant(
        "mathematics: a list is met by its first item",
        COMPARE,
        "return len(several.items) == 1 and",
        "return len(several.items) > 0 and",
        TESTS,
    ),
    Mutant("mathematics: inequalities may be turned", COMPARE, "inexact(factor).value.real > 0", "True", TESTS),
    Mutant("mathematics: ends of intervals do not count", COMPARE, "return closed and same(", "return same(", TESTS),
    Mutant("mathematics: names do not count", COMPARE, "not clash and same(", "same(", TESTS),
    Mutant(
        "mathematics: a percent is its number only",
        COMPARE,
        'if marked.face == "%" else _DEGREE',
        'if marked.face == "" else _DEGREE',
        TESTS,
    ),
    Mutant("mathematics: words do not change a number", WORDS, "word in _CHANGES or", "False or", TESTS),
    Mutant("mathematics: up to 5 is 5", WORDS, "or _changed(tokens, found[0])", "", TESTS),
    Mutant("mathematics: one of several numbers", WORDS, "    if len(found) != 1:", "    if False:", TESTS),
    Mutant(
        "mathematics: the first box counts",
        SPAN,
        "start = [match.end() for match in _OPEN_BOX.finditer(text)][-1]",
        "return last_box(text[: text.find('}') + 1])\n    start = 1",
        TESTS,
    ),
    Mutant("mathematics: what is taken back counts", SPAN, "or _DOUBT.search(text, len(first))", "", TESTS),
    Mutant("mathematics: chains of different values", READER, "if not _alike(side, last,", "if False and not _alike(side, last,", TESTS),
    Mutant("mathematics: half of plus or minus", READER, '(("+", "-"), ("-", "+"))', '(("+", "-"), ("+", "-"))', TESTS),
    Mutant("mathematics: white space between digits goes", EXPRESSION, r"(?<![\w.,])\s++|\s++(?![\w.,])", r"\s++", TESTS),
    Mutant("numbers: small golds to two decimals", EXPRESSION, "_SMALL = 0.1", "_SMALL = 0.0", TESTS),
    Mutant("numbers: two three is a number", IN_WORDS, "return None  # ", "pass  # ", "scoring/test_number_words.py"),
    Mutant(
        "numbers: 5m are meters",
        UNITS,
        "return token.spaced and token.text in _KNOWN",
        "return token.text in _KNOWN",
        "scoring/test_units.py",
    ),
)
