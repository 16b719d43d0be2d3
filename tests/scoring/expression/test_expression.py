r"""The expected values in `expressions.txt` are a person's; the reports come from ../shared where
that is present.
"""

import json
import time
from pathlib import Path

import pytest

from g2rpo.scoring.expression import (
    read_quantity,
    readable_expression,
    same_expression,
    same_number,
)

CASES = Path(__file__).parents[4] / "shared" / "cases" / "reward.jsonl"


def _rows() -> list[tuple[str, str, bool]]:
    rows, gold = [], ""
    for line in (Path(__file__).parent / "expressions.txt").read_text().splitlines():
        if line.startswith("  "):
            rows.append((gold, line[4:], line[2] == "="))
        elif not line.startswith("#"):
            gold = line
    return rows


@pytest.mark.parametrize(("gold", "answer", "right"), _rows())
def test_an_answer_is_judged_as_a_person_would(gold: str, answer: str, right: bool) -> None:
    assert same_expression(answer, gold) == right


@pytest.mark.skipif(not CASES.is_file(), reason="needs ../shared")
@pytest.mark.parametrize(("kind", "judge"), [("math", same_expression), ("numerical", same_number)])
def test_public_reports_are_judged_as_a_person_would(kind, judge) -> None:
    rows = [
        row for row in map(json.loads, CASES.read_text().splitlines()) if row["answer_type"] == kind
    ]
    assert rows
    assert [
        row["id"] for row in rows if judge(row["completion"], row["gold"]) != row["expected"]
    ] == []


@pytest.mark.parametrize("gold", sorted({gold for gold, _, _ in _rows()}))
def test_a_gold_answer_is_its_own_right_answer_in_each_dress(gold: str) -> None:
    bare = gold.replace("$", "")
    dresses = (
        gold,
        f"${bare}$",
        rf"\boxed{{{bare}}}",
        rf"The answer is \boxed{{{bare}}}.",
        f"**{gold}**",
        f" {gold}. ",
        f"Answer: ${bare}$",
    )
    assert [dress for dress in dresses if not same_expression(dress, gold)] == []


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        (r"2 \sqrt { 221 }", True),
        (r"\frac { 13 } { 2 }", True),
        ("x = 3 or x = 8", True),
        ("12 cm", True),
        ("No solution", True),
        ("between 2 and 80", False),
        (r"\int_0^1 x dx", False),
        (r"\frac{1}{", False),
        ("5 because 2 + 3", True),
        ("5 beside 2 + 3", False),
        ("1/0 + (", False),
        ("", False),
    ],
)
def test_what_is_read_as_a_whole(text: str, whole: bool) -> None:
    assert readable_expression(text) == whole


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("5", 5),
        ("$5$", 5),
        (r"\boxed{5}", 5),
        ("[5]", 5),
        ("five", 5),
        ("5 objects", 5),
        ("５", 5),
        ("−5", -5),
        ("1/2", 0.5),
        ("1,234", 1234),
        ("1,234.5 km", 1234.5),
        ("1,23", None),
        ("3,5", None),
        ("0,123", None),
        ("1,2,3", None),
        ("1_000", None),
        ("1,234,56", None),
        ("nan", None),
        ("1e400", None),
        ("-inf", None),
        ("", None),
        ("5 or 6", None),
        ("5x", None),
        ("2i", None),
        ("1e3", 1000),
        ("85.5%", 85.5),
        ("twenty-one", 21),
        ("minus five", -5),
        ("about 5.5 m", 5.5),
        ("5-", None),
        (r"\frac{3}{4}", 0.75),
        ("9" * 500, None),
        ("1.2.3", None),
        ("10:30", None),
        ("x = 7", 7),
        ("12.5 million", 12.5e6),
        ("There are 5 cats.", 5),
    ],
)
def test_one_number_and_nothing_else(text: str, number: float | None) -> None:
    assert read_quantity(text) == number


@pytest.mark.parametrize(
    ("answer", "gold", "right"),
    [
        ("3.0", "3", True),
        ("3.004", "3", True),
        ("3.006", "3", False),
        ("0.004", "0.001", False),
        ("0.0010", "0.001", True),
        ("0.00", "0.004", False),
        ("0", "0.001", False),
        ("0", "0.0", True),
        ("1e-3", "0.001", True),
        ("1/3", "0.33", True),
        ("80%", "0.8", True),
        ("8%", "0.8", False),
        ("1,000", "1000", True),
        ("1000 km", "1,000", True),
        ("3", "many", False),
        ("-3", "3", False),
        ("5", "5,6", False),
    ],
)
def test_numbers_agree_to_two_decimals_and_small_ones_relatively(
    answer: str, gold: str, right: bool
) -> None:
    assert same_number(answer, gold) == right


HOSTILE = {
    "open braces": "{" * 100_000,
    "brackets": "(" * 50_000 + "5" + ")" * 50_000,
    "a tower of powers": "9^" * 50_000 + "9",
    "factorials": "((9!)!)!",
    "digits": "9" * 100_000,
    "a list": "1," * 50_000,
    "roots": ",".join(rf"\sqrt{{{k}}}" for k in range(99)),
    "spaces inside": "5" + " " * 100_000 + "5",
    "boxes": r"\boxed{" * 14_000,
    "words": "so the answer is " * 6_000,
    "plus or minus": r"\pm " * 900,
    "exponentials": "exp(exp(exp(exp(9))))",
    "a large product": "10^400*" * 15 + "1",
    "nested pairs": "(" * 240 + "1" + ",2)" * 240,
    "lines": "\n" * 3990 + "5",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_answers_are_refused_quickly(name: str) -> None:
    begin = time.process_time()
    assert not same_expression(HOSTILE[name], r"\sqrt{7}")
    assert not same_number(HOSTILE[name], "7.5")
    assert time.process_time() - begin < 1
