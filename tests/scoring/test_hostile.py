"""No text of 1 MB takes a reader longer than a second, and none raises."""

import importlib
import inspect
import pkgutil
import resource
import time
from collections.abc import Callable, Iterator

import pytest

import g2rpo.scoring

LENGTH = 1_000_000
MOST_MB = 200
LONGEST_S = 1.0
PIECES = {
    "brackets": "(",
    "square brackets": "[",
    "braces": "{",
    "nested fractions": "\\frac{",
    "boxes": "\\boxed{",
    "tags": "<answer>",
    "closing tags": "</think>",
    "thoughts": "<think>",
    "digits": "9",
    "grouped digits": "1,",
    "digits apart": "1 ",
    "powers": "9**",
    "towers": "9^",
    "combining marks": "e\u0301\u0327",
    "letters": "A. ",
    "letters in brackets": "(B) ",
    "letters and": "A or ",
    "denials": "not ",
    "contractions": "isn't ",
    "is": "is ",
    "statements": "the answer is ",
    "conclusions": "so it is ",
    "yes": "yes no ",
    "numbers": "one hundred and ",
    "points": "[1, 2], ",
    "keys": '{"point_2d": [',
    "quotes": '"',
    "dollars": "$",
    "backslashes": "\\",
    "spaces": " ",
    "lines": "\n",
    "stars": "**",
    "minus": "-",
    "equals": "= ",
    "words": "word ",
    "one word": "a",
    "percent": "50% ",
    "fences": "```",
    "options": "A. teddy bear\nB. rabbit\n",
    "markup": "<|box_start|>",
    "Molmo": '<point x="1" y="2">',
    "years": "in 2015 ",
    "commas": "a, ",
    "roots": "\\sqrt",
    "deep fractions": "\\frac{1}{",
    "left brackets": "\\left(",
    "rows of a table": "| A | B |\n",
    "arrays": "\\begin{array}",
    "Chinese": "答案是",
    "corrections": "wait, no, 5 ",
    "extremes": "highest in 1999 in ",
}
VALUES = {"options": {"A": "teddy bear", "B": "rabbit", "C": "12"}, "golds": ["a b"]}
ARGUMENTS = {int: 640, float: 0.5, str: "12 a"}


def _readers() -> Iterator[tuple[str, Callable[..., object]]]:
    """Yield the public functions of a text; of the package `expression` those that it exports."""
    for module in pkgutil.iter_modules(g2rpo.scoring.__path__, "g2rpo.scoring."):
        loaded = importlib.import_module(module.name)
        for name, function in vars(loaded).items():
            home = getattr(function, "__module__", "") or ""
            if name.startswith("_") or not f"{home}.".startswith(f"{module.name}."):
                continue
            if not inspect.isroutine(inspect.unwrap(function)):
                continue
            parameters = list(inspect.signature(function).parameters.values())
            if parameters and parameters[0].annotation is str:
                yield f"{module.name.removeprefix('g2rpo.scoring.')}.{name}", function


READERS = dict(_readers())


def _others(function: Callable[..., object]) -> list[object] | None:
    """Return the arguments behind the text; None if they cannot be guessed from their types."""
    found = []
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        if parameter.default is not parameter.empty or parameter.kind is parameter.KEYWORD_ONLY:
            continue
        value = VALUES.get(parameter.name, ARGUMENTS.get(parameter.annotation))
        if value is None:
            return None
        found.append(value)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_no_text_of_1_mb_takes_a_second_or_200_mb(name: str) -> None:
    others = _others(READERS[name])
    assert others is not None, "give its arguments a value in ARGUMENTS"
    slow = {}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for kind, piece in PIECES.items():
        text = piece * (LENGTH // len(piece))
        start = time.process_time()
        READERS[name](text, *others)
        seconds = time.process_time() - start
        if seconds > LONGEST_S:
            slow[kind] = seconds
    assert slow == {}
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_MB * 1000


def test_all_readers_are_found() -> None:
    assert len(READERS) >= 60
    assert {"option.read_option", "statement.answer_tail", "points.first_point"} <= set(READERS)
