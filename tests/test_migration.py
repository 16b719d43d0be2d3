"""docs/migration.md: our words compose, and the program suggests the keys that the tables name."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from g2rpo.cli.keys import known_keys, nearest

ROOT = Path(__file__).parents[1]
SECTIONS = ("TRL", "verl", "EasyR1")
BASE = {"model": "folder", "data": "onethinker"}
"""Choices with the keys that rows name; rows replace them."""
GIVEN = {"data=hub": {"data.path": "p"}, "reward=functions": {"reward.functions": "[f.py:f]"}}
"""Keys without a default of a choice."""


def _rows() -> Iterator[tuple[str, str, list[str]]]:
    """Yield (section, their key, our words) for every row."""
    text = (ROOT / "docs" / "migration.md").read_text()
    for section in text.split("\n## ")[1:]:
        for line in section.splitlines():
            cells = [cell.strip() for cell in line.split(" | ")]
            if line.startswith("| `"):
                assert len(cells) == 3, line
                theirs = re.findall(r"`([^`]+)`", cells[0])[0]
                yield section.split()[0].strip(":,"), theirs, re.findall(r"`([^`]+)`", cells[1])


ROWS = list(_rows())


@pytest.fixture(scope="module")
def known() -> list[str]:
    return known_keys("config")


def _lines(all_words: Iterable[Iterable[str]]) -> list[dict[str, str]]:
    """Pack words of many rows into few command lines, none of which gives a key two values."""
    lines: list[dict[str, str]] = []
    for words in all_words:
        row = dict(word.partition("=")[::2] for word in words if not word.startswith("hydra."))
        for choice in words:
            row = GIVEN.get(choice, {}) | row
        fitting = (line for line in lines if all(line.get(k, v) == v for k, v in row.items()))
        line = next(fitting, None)
        if line is None:
            lines.append(line := {})
        line |= row
    return lines


def _composes(line: dict[str, str]) -> None:
    """Compose a command line; groups that it does not choose are chosen so that none is unset."""
    words = {key: value for key, value in BASE.items() if key.partition(".")[0] not in line} | line
    ordered = sorted(words, key=lambda key: "." in key)
    assert "seed" in compose("config", [f"{key}={words[key]}" for key in ordered])


def test_our_words_of_every_row_compose() -> None:
    assert [sum(row[0] == section for row in ROWS) > 25 for section in SECTIONS] == [True] * 3
    assert [theirs for _, theirs, words in ROWS if not words] == []
    lines = _lines(words for _, _, words in ROWS)
    assert len(lines) < 20
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        for line in lines:
            _composes(line)


def test_the_program_suggests_the_key_of_the_table(known: list[str]) -> None:
    """Typed as the command line has it: the whole key, and for TRL the name alone."""
    wrong = {}
    for _, theirs, words in ROWS:
        suggested = nearest(theirs, known)[0].partition("=")[0]
        ours = [word.partition("=")[0] for word in words]
        exists = theirs in known and suggested == theirs
        if suggested not in ours and not exists:
            wrong[theirs] = (suggested, ours)
    assert wrong == {}
