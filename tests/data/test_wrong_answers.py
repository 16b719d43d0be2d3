"""Wrong answers are wrong for sure: compared with the gold answer by numbers worked out another
way.
"""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g2rpo.data.wrong_answers import changed_parts, far_number, option_letters, wrong_answers
from g2rpo.prompt import Prompt
from g2rpo.scoring.boxes import box_iou


def prompt(answer: str, kind: str, **meta: Any) -> Prompt:
    return Prompt(
        id="1", task="math", text="?", images=(), answer=answer, answer_type=kind, meta=meta
    )


def wrong(answer: str, kind: str, **meta: Any) -> list[str]:
    return wrong_answers(prompt(answer, kind, **meta), meta.get("alternatives") or [answer])


@pytest.mark.parametrize(
    ("gold", "options", "expected"),
    [
        ("B", {"A": "red", "B": "blue"}, "A"),
        ("A", {"A": "red", "B": "blue"}, "B"),
        ("A", {}, "B"),
        ("A, C", {"A": "1", "B": "2", "C": "3"}, "B"),
        ("AB", {"A": "1", "B": "2"}, "A"),
        ("red", {"A": "red", "B": "blue"}, "B"),
    ],
)
def test_another_option_is_one_that_the_gold_answer_does_not_name(
    gold: str, options: dict[str, str], expected: str
) -> None:
    assert wrong(gold, "multiple choice", options=options) == [expected]


def test_another_option_is_wrong_for_every_alternative() -> None:
    found = wrong(
        "A", "multiple choice", options={"A": "1", "B": "1", "C": "2"}, alternatives=["A", "B"]
    )
    assert found == ["C"]


@given(st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=4))
def test_a_far_number_is_beyond_any_tolerance_of_all_gold_numbers(golds: list[float]) -> None:
    found = float(far_number([f"{gold:f}" for gold in golds]))
    assert all(abs(found - gold) > 0.9 * abs(gold) + 1 for gold in golds)


@given(st.integers(0, 400), st.integers(1, 400))
def test_roots_and_fractions_without_a_part_have_another_value(above: int, below: int) -> None:
    root, fraction = rf"{below}\sqrt{{{above}}}", rf"\frac{{{above}}}{{{below}}}"
    for value, gold in ((below * math.sqrt(above), root), (above / below, fraction)):
        plain = [float(found) for found in changed_parts(gold) if found.isdigit()]
        assert all(abs(found - value) > 1e-6 * max(1.0, value) for found in plain)


@pytest.mark.parametrize(
    "gold",
    [
        r"5 \text{ cm}",  # a unit may hold numbers that do not count
        "x_1",
        "x^2",
        "x^{2}",
        "x_{1}",
        "x^{-2}",
        "8",
        "-5.1",
        r"\pi",
        "no solution",
        "",  # nothing to change, or changed as a whole
        r"\sin(2\pi)",  # 13 pi has the same sine
        r"0 \cdot 5",
        r"\frac{0}{5x}",
        "0(x+5)",  # nothing changes
        r"2\sqrt{2} \approx 2.83",  # one side is enough
    ],
)
def test_a_part_whose_change_may_leave_the_value_is_left_alone(gold: str) -> None:
    assert changed_parts(gold) == []


@pytest.mark.parametrize(
    ("gold", "expected"),
    [
        ("f(3)=5", ["f(3)=22"]),  # only the value counts
        ("1, 2, 3", ["10, 2, 3", "1, 2, 16"]),
        ("x_1 + 4", ["x_1 + 19"]),
        (
            r"\frac{4}{2}",
            [r"\frac{19}{2}", r"\frac{4}{13}"],
        ),  # 4/2 = 2: the lower number alone is right
        (r"2\sqrt{4}", [r"13\sqrt{4}", r"2\sqrt{19}"]),  # 2 sqrt(4) = 4
        ("$60\\pi$", [r"187\pi", "60"]),
    ],
)
def test_one_part_is_changed_at_a_time(gold: str, expected: list[str]) -> None:
    assert changed_parts(gold) == expected


def test_boxes_points_and_times_move_out_of_reach() -> None:
    gold = {"boxes": [100, 200, 500, 800], "positive_points": [[1, 2]], "time": 3.5}
    (found,) = wrong(json.dumps(gold), "segmentation")
    moved = json.loads(found)
    assert box_iou(moved["boxes"], [100.0, 200.0, 500.0, 800.0]) == 0
    assert (moved["positive_points"], moved["time"]) == ([[5001, 5002]], 5003.5)


@given(st.tuples(*[st.integers(0, 998)] * 2), st.tuples(*[st.integers(1, 1000)] * 2))
def test_a_moved_box_overlaps_the_gold_box_hardly(
    corner: tuple[int, int], size: tuple[int, int]
) -> None:
    box = [
        *corner,
        *(min(1000, start + length) for start, length in zip(corner, size, strict=True)),
    ]
    (found,) = wrong(json.dumps({"boxes": box}), "bbox")
    assert box_iou(json.loads(found)["boxes"], [float(value) for value in box]) < 0.9 or box == [
        0,
        0,
        60,
        60,
    ]


def test_a_long_text_is_also_tried_by_half() -> None:
    found = wrong("one two three four five six seven eight", "OCR")
    assert found[1:] == ["one two three four"]
    assert wrong("one two", "OCR")[1:] == wrong("Yes", "relaxed")[1:] == []


@pytest.mark.parametrize(
    ("gold", "letters"),
    [("b", "B"), ("A and C", "AC"), ("E. coli", "E"), ("and", ""), ("I do", ""), ("AA", "")],
)
def test_option_letters_of_a_gold_answer(gold: str, letters: str) -> None:
    assert option_letters(gold) == letters
