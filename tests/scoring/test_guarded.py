"""The words that a pattern needs occur in whatever it matches, so that no match is lost."""

import importlib
import pkgutil
import re
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import g2rpo.scoring
from g2rpo.scoring.guarded import Guarded

SIGNS = string.printable + "’…∠△答案是为选所以：✓"
PATTERNS = {
    f"{module.name.rpartition('.')[2]}.{name}": pattern
    for module in pkgutil.iter_modules(g2rpo.scoring.__path__, "g2rpo.scoring.")
    for name, pattern in vars(importlib.import_module(module.name)).items()
    if isinstance(pattern, Guarded)
}


def test_a_pattern_is_searched_only_in_a_text_with_one_of_its_words() -> None:
    pattern = Guarded(r"\b(?:red|blue)\s(cats?)\b", "red blue")
    for text in ("A RED cat.", "blue\ncats", "red", "a green cat", ""):
        same = re.compile(pattern.pattern.pattern, re.IGNORECASE)
        assert bool(pattern.search(text)) == bool(same.search(text))
        assert [found[0] for found in pattern.finditer(text)] == [
            found[0] for found in same.finditer(text)
        ]
        assert pattern.sub("x", text) == same.sub("x", text)
        assert pattern.split(text) == same.split(text)
        assert bool(pattern.match(text)) == bool(same.match(text))
        assert bool(pattern.fullmatch(text)) == bool(same.fullmatch(text))


def test_an_underscore_stands_for_a_space() -> None:
    pattern = Guarded(r"going\swith", "going_with")
    assert pattern.may_match("GOING with it")
    assert not pattern.may_match("going_with it")


@pytest.mark.parametrize("name", PATTERNS)
def test_every_match_has_one_of_the_words(name: str) -> None:
    pattern = PATTERNS[name]
    # hypothesis does not know possessive quantifiers, and only guesses what a lookbehind wants
    simpler = pattern.pattern.pattern.replace("*+", "*").replace("++", "+").replace(r"(?<=\S)", "x")
    simpler = re.compile(simpler, pattern.pattern.flags)

    @settings(max_examples=30, deadline=None)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        text = data.draw(st.from_regex(simpler, alphabet=SIGNS))
        assert pattern.may_match(text), text

    check()


def test_patterns_are_found() -> None:
    assert len(PATTERNS) >= 10
