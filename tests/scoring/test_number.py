import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from g2rpo.scoring.number import (
    equal_to_two_decimals,
    mean_relative_accuracy,
    read_number,
    relaxed_match,
)

singles = st.floats(-1e6, 1e6, width=32)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12.50", 12.5),
        ("-7", -7.0),
        ("1,234,567", 1234567.0),
        ("1e3", 1000.0),
        ("+3", 3.0),
        (".5", 0.5),
        ("7.", 7.0),
        (" 3\n", 3.0),
    ],
)
def test_numbers_are_read(text: str, value: float) -> None:
    assert read_number(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "seven",
        "7 cm",
        "50%",
        "1/2",
        "\u22127",
        "$7",
        "nan",
        "inf",
        "-Infinity",
        "1e999",
        "3 4",
        "0x10",
        "\x00",
    ],
)
def test_what_is_more_than_a_number_is_none(text: str) -> None:
    assert read_number(text) is None


def test_numbers_agree_to_two_decimals() -> None:
    assert equal_to_two_decimals(0.33, 0.333)
    assert equal_to_two_decimals(-7.004, -7.0)
    assert not equal_to_two_decimals(0.34, 0.333)
    assert not equal_to_two_decimals(7.0, -7.0)


@pytest.mark.parametrize(
    ("answer", "gold", "share"),
    [
        (10.0, 10.0, 1.0),
        (14.0, 10.0, 0.2),  # relative error .4 < .5, .45, but not < .4
        (2.6, 2.5, 1.0),  # .04 < .05
        (-5.0, -4.0, 0.5),  # .25 < .5, .45, .4, .35, .3
        (1050.0, 1000.0, 1.0),  # a tie that float32 decides for the answer
        (900.0, 1000.0, 0.9),
        (4.0, -4.0, 0.0),
        (0.0, 0.0, 1.0),
        (0.001, 0.0, 0.0),
        (1e300, 1.0, 0.0),
    ],
)
def test_mean_relative_accuracy_by_hand(answer: float, gold: float, share: float) -> None:
    assert mean_relative_accuracy(answer, gold) == pytest.approx(share, abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(singles, singles)
def test_mean_relative_accuracy_equals_its_float32_definition(answer: float, gold: float) -> None:
    wanted = torch.tensor(gold, dtype=torch.float32)
    error = (torch.tensor(answer, dtype=torch.float32) - wanted).abs() / (wanted.abs() + 1e-8)
    expected = (
        (error < 1 - torch.arange(0.5, 0.975, 0.05, dtype=torch.float32)).double().mean().item()
    )
    assert mean_relative_accuracy(answer, gold) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("answer", "gold", "hit"),
    [
        ("14.7", "14", True),
        ("13.3", "14", True),
        ("14.71", "14", False),
        ("-14", "14", False),
        (" 14 ", "14", True),
        ("12%", "0.12", True),
        ("0.12", "12%", True),
        ("12%", "12", False),
        ("1995", "2015", True),
        ("0", "0", True),
        ("0.0", "0", False),
        ("1,000", "1000", False),
        ("yes ", "Yes", True),
        ("Yes.", "Yes", False),
        ("nan", "NaN", True),
        ("nan", "14", False),
        ("inf", "14", False),
        ("%", "14", False),
    ],
)
def test_relaxed_match_follows_chartqa(answer: str, gold: str, hit: bool) -> None:
    assert relaxed_match(answer, gold) is hit


def test_the_tolerance_of_a_relaxed_match_is_relative_to_the_gold_number() -> None:
    assert relaxed_match("110", "100", 0.1)
    assert not relaxed_match(
        "100", "110", 0.09
    )  # 10 / 110 = .0909; relative to the answer it would be .1
    assert not relaxed_match("14.1", "14", 0.0)
